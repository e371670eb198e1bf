"""Records of continual-learning runs, and tuning of a setting's strength and learning rate."""

import itertools
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from experiments.config.continual_methods import METHODS
from experiments.config.continual_options import Options, Setting
from experiments.config.search_space import FIRST_SEED
from experiments.harness.continual_runs import RunResult, load_data, run_seeds
from experiments.harness.continual_stages import Tuned
from experiments.harness.queries import where
from experiments.harness.records import TRIALS, read_lines
from experiments.harness.run_folder import RunFolder
from experiments.harness.schema import NUMBER, TEXT, Maybe
from sffa_jax import data
from sffa_jax.analysis import unit_turnover
from sffa_jax.continual import metrics
from sffa_jax.scale.processes import broadcast_from_main

TUNING_RANGE = 100.0
"""`--tune` tries strengths up to so many times smaller and larger than the default."""

TUNED = dict.fromkeys(Setting._fields, TEXT) | {
    "strength": Maybe(NUMBER),
    "learning_rate": NUMBER,
}
"""Fields of a line of `tuning.jsonl`."""

TUNING_SEEDS = (FIRST_SEED, FIRST_SEED + 1)
"""Seeds of weights and class order in tuning runs; no reported run uses them."""


def _learned(matrix: np.ndarray) -> list[list[float | None]]:
    """Returns a matrix [tasks, tasks] with None for tasks not learned so far."""
    return [
        [float(x) if j <= i else None for j, x in enumerate(row)] for i, row in enumerate(matrix)
    ]


def record_of(options: Options, setting: Setting, run: RunResult) -> dict[str, Any]:
    """Returns the record of one run, without the names of setting and seed."""
    accuracy, losses = run.accuracy, run.losses
    matrix, untrained = accuracy[1:, 0], accuracy[0, 0]
    finite = run.finite and bool(np.isfinite(losses).all())
    diverged = {}
    if not np.isfinite(losses).all():
        first = np.argwhere(~np.isfinite(losses))[0]
        diverged = {"diverged": dict(zip(("task", "step", "layer"), map(int, first), strict=True))}
    # In the class scenario unseen classes have no score, so there is no forward transfer.
    in_classes = setting.scenario == "class"
    forward = None if in_classes else metrics.forward_transfer(matrix, untrained)
    return {
        "status": "done" if finite else "diverged",
        "test_accuracy": metrics.average_accuracy(matrix) if finite else None,
        "validation_accuracy": None,
        "layer_accuracies": accuracy[-1, 1:].mean(axis=-1).tolist(),
        "epochs": options.epochs,
        "accuracy_matrix": _learned(matrix),
        "layer_matrices": [_learned(rows) for rows in np.moveaxis(accuracy[1:, 1:], 1, 0)],
        "untrained_accuracies": None if in_classes else untrained.tolist(),
        "learning_curve": metrics.learning_curve(matrix).tolist(),
        "average_accuracy": metrics.average_accuracy(matrix) if finite else None,
        "forgetting": metrics.forgetting(matrix) if finite else None,
        "backward_transfer": metrics.backward_transfer(matrix) if finite else None,
        "forward_transfer": forward if finite else None,
        "neurons": unit_turnover.turnover_record(run.units),
        "stored_bytes": run.stored._asdict(),
        "steps": losses.shape[0] * losses.shape[1],
        "task_losses": losses.mean(axis=(1, 2)).tolist(),
        "train_seconds": run.seconds,
        "task_seconds": run.task_seconds.tolist(),
        **diverged,
    }


class Chosen(NamedTuple):
    """Tuned numbers of a setting.

    Attributes:
      strength: of the strategy; None for one without strength.
      learning_rate: of the optimizer.
      at_edge: those of both that are the smallest or largest value that was tried.
    """

    strength: float | None
    learning_rate: float
    at_edge: tuple[str, ...] = ()

    @property
    def numbers(self) -> Tuned:
        """The numbers as runs take them."""
        return Tuned(self.strength or 0.0, self.learning_rate)


def chosen_numbers(
    options: Options, setting: Setting, dataset: data.Dataset, folder: RunFolder, label: str
) -> Chosen:
    """Returns the numbers of a setting: the options' or, with `--tune` or `--tune-rates`, the best
    on held-out training images, stored in `tuning.jsonl`."""
    default = options.default_strength(setting.strategy, setting.algorithm)
    given = options.given_strengths().get(setting.strategy)
    strengths, rates = [default if given is None else given], list(options.tune_rates)
    if not METHODS[setting.strategy].trained:
        rates = []
    if options.tune > 1 and given is None and default is not None:
        places = np.linspace(-1, 1, options.tune)
        strengths = [float(f"{default * TUNING_RANGE**place:.3g}") for place in places]
    trials = list(itertools.product(strengths, rates or [options.learning_rate]))
    if len(trials) == 1:
        return Chosen(*trials[0])
    # The folder may lie on the main process's disk only.
    lines = broadcast_from_main(lambda: read_lines(folder.path / TRIALS, TUNED))
    if found := where(lines, **setting._asdict()):
        return _chosen(found[0])
    groups = run_seeds(
        options,
        setting,
        load_data(options, dataset, held_out=True),
        [seed for _ in trials for seed in TUNING_SEEDS],
        [Chosen(*trial).numbers for trial in trials for _ in TUNING_SEEDS],
        label=f"{label}, tuning",
    )
    of_runs = [
        metrics.average_accuracy(run.accuracy[1:, 0]) if np.isfinite(run.losses).all() else 0.0
        for group in groups
        for run in group
    ]
    accuracies = np.reshape(of_runs, (len(trials), -1)).mean(axis=1).tolist()
    best = Chosen(*trials[int(np.argmax(accuracies))])
    line = setting._asdict() | {"strength": best.strength, "learning_rate": best.learning_rate}
    for name, tried in zip(("strengths", "learning_rates"), zip(*trials, strict=True), strict=True):
        line[name] = list(tried)
    line["validation_accuracies"] = accuracies
    lines.append(line)
    folder.write_rows(TRIALS, lines)
    chosen = _chosen(line)
    for name in chosen.at_edge:
        value = getattr(chosen, name)
        option = f"--strength {setting.strategy}=NUMBER" if name == "strength" else "--tune-rates"
        print(
            f"{label}: the best {name.replace('_', ' ')}, {value:g}, is at the edge of what was "
            f"tried. Try {option} beyond it."
        )
    return chosen


def _chosen(line: Mapping[str, Any]) -> Chosen:
    """Returns the numbers of a line of `tuning.jsonl`."""
    at_edge = []
    for name in ("strength", "learning_rate"):
        tried = set(line[f"{name}s"])
        if len(tried) > 1 and line[name] in (min(tried), max(tried)):
            at_edge.append(name)
    return Chosen(line["strength"], line["learning_rate"], tuple(at_edge))
