"""Runs that train together."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sffa_jax.scale.checkpoints import Checkpoints
from sffa_jax.scale.placement import MODES, Placement
from sffa_jax.scale.sweep import seed_keys

Choose = Callable[[int, Callable[[], Placement]], Placement]
"""(number of runs, measurement) -> the placement of these runs."""


@dataclass(frozen=True)
class Group:
    """Runs that train together.

    Attributes:
      seeds: one per run.
      varied: numbers of the recipe that differ, one value per run.
      events: folder of each run's TensorBoard events; None: none.
    """

    seeds: Sequence[int]
    varied: Mapping[str, Sequence[float]]
    events: Sequence[Path] | None = None

    def __getitem__(self, part: slice) -> "Group":
        """Some of the runs, by a slice."""
        varied = {name: values[part] for name, values in self.varied.items()}
        return Group(self.seeds[part], varied, self.events and self.events[part])

    def info(self) -> dict[str, Any]:
        """The runs as JSON, which identifies their checkpoints."""
        varied = {name: list(map(float, values)) for name, values in self.varied.items()}
        return {"seeds": list(self.seeds), "varied": varied}

    def keys_and_numbers(self) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Random key and numbers of each run, stacked."""
        numbers = {name: jnp.asarray(v, jnp.float32) for name, v in self.varied.items()}
        return seed_keys(self.seeds), numbers


def saved_group(
    info_of: Callable[[Group, Placement], Mapping[str, Any]],
    group: Group,
    placement: Placement | None,
    checkpoints: Checkpoints | None,
    label: str,
) -> tuple[Placement, int] | None:
    """Returns the placement and the number of the first runs of a group that have a checkpoint.

    Args:
      info_of: (runs, placement) -> JSON that identifies their checkpoints.
      group: runs without records.
      placement: of these runs, or None: that of the checkpoint.
      checkpoints: of the runs; None: none are saved.
      label: name of the runs, for the message about a checkpoint that does not fit.

    Returns:
      None without a checkpoint of these runs for this number of devices.
    """
    if checkpoints is None or (saved := checkpoints.info()) is None:
        return None
    number, mode = len(saved.get("seeds", ())), saved.get("parallel")
    if number and mode in MODES:
        chosen = placement if placement and placement.mode == mode else Placement(mode)
        if saved == info_of(group[:number], chosen):
            return chosen, number
    print_restart(label, checkpoints)
    return None


def print_restart(label: str, checkpoints: Checkpoints) -> None:
    """Says why runs with a checkpoint start again."""
    print(
        f"{label}: the checkpoint in {checkpoints.folder} is of another number of devices, or of "
        "other runs, so these runs start again."
    )


class Programs(NamedTuple):
    """What groups of so many runs execute; a program that is not compiled is at its first use.

    Attributes:
      size: number of runs.
      epoch, assess: compiled programs of `Trainer`.
      test, learned: further ones.
    """

    size: int
    epoch: jax.stages.Compiled
    assess: jax.stages.Compiled
    test: jax.stages.Wrapped
    learned: jax.stages.Wrapped


class Carry(NamedTuple):
    """A group between two epochs: the content of its checkpoints.

    Attributes:
      runs: `Progress` and numbers of each run, stacked.
      history: measurements by name, [epochs, runs, ...]; NaN for epochs to come. "loss" is
        [epochs, runs, layers] in nats.
      seconds: training time so far.
    """

    runs: Any
    history: dict[str, np.ndarray]
    seconds: np.ndarray

    @classmethod
    def untrained(
        cls, runs: Any, shapes: Mapping[str, Sequence[int]], epochs: int, number: int
    ) -> "Carry":
        """Returns the carry of so many runs before the first epoch; `shapes` are those of one run's
        measurements after an epoch."""
        history = {
            name: np.full((epochs, number, *shape), np.nan, np.float32)
            for name, shape in shapes.items()
        }
        return cls(runs, history, np.zeros((), np.float32))
