"""Placement: assignment of the runs of one function to devices."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec

from sffa_jax.checks import check_choice, check_integer, reject
from sffa_jax.scale.mesh import RUNS, device_put_global, make_mesh, replicated, split_over_runs

PyTree = Any
Function = Callable[..., PyTree]

MODES = ("vmap", "map", "devices")


@dataclass(frozen=True)
class Placement:
    """How several runs of one function are executed.

    A placement turns `function(run, *shared)` of one run into a function of many runs, and places
    its arguments. `runs` is a pytree of arrays that have a leading axis of runs; `shared` is a
    pytree of arrays that all runs use.

    Attributes:
      mode: "vmap" (all at once, in batched operations), "map" (one after another, in one program)
        or "devices" (an equal number of runs on each device).
      devices_per_run: number of devices that split each batch of a run, see `sharding.split_batch`;
        more than one only in mode "devices".

    Raises:
      ValueError: for another mode, or several devices per run in a mode other than "devices".

    >>> placement = Placement("map")
    >>> keys = jax.vmap(jax.random.key)(jnp.arange(3))
    >>> draw = jax.jit(placement.lift(lambda key, scale: scale * jax.random.normal(key, (2,))))
    >>> draw(placement.place_runs(keys), placement.place_shared(jnp.float32(2), 3)).shape
    (3, 2)
    """

    mode: str
    devices_per_run: int = 1

    def __post_init__(self) -> None:
        check_choice("Placement", "mode", self.mode, MODES)
        check_integer("Placement", "devices_per_run", self.devices_per_run, 1)
        if self.mode != "devices" and self.devices_per_run > 1:
            wanted = f"be devices for {self.devices_per_run} devices per run"
            raise reject("Placement", "mode", wanted, repr(self.mode))

    def lift(self, function: Function) -> Function:
        """Turns `function(run, *shared)` into `function(runs, *shared)`.

        Args:
          function: pure. Jit the result; pass it arguments from `place_runs` and `place_shared`.
        """
        if self.mode == "vmap":
            return _vmap(function)
        if self.mode == "map":
            return _map(function)
        # The runs of one device: batched operations on an accelerator, a loop on a CPU.
        on_device = (_map if jax.default_backend() == "cpu" else _vmap)(function)

        def on_all_devices(runs: PyTree, *shared: PyTree) -> PyTree:
            each = PartitionSpec(RUNS)
            return jax.shard_map(
                on_device,
                mesh=make_mesh(num_runs(runs), self.devices_per_run),
                in_specs=(each, *[PartitionSpec()] * len(shared)),
                out_specs=each,
                # Within a run, `split_batch` tells XLA how to split the work.
                axis_names={RUNS},
                check_vma=False,
            )(runs, *shared)

        return on_all_devices

    def padded(self, number: int) -> int:
        """The number of runs after padding, which gives every device the same number."""
        if self.mode != "devices":
            return number
        groups = make_mesh(number, self.devices_per_run).shape[RUNS]
        return -(-number // groups) * groups

    def place_runs(self, runs: PyTree) -> PyTree:
        """Places arrays with a leading axis of runs.

        In mode "devices" the last run is repeated up to `padded` runs, and each run's arrays go to
        its device. Other modes return the arrays unchanged. With several processes each must pass
        the same arrays.
        """
        if self.mode != "devices":
            return runs
        number = num_runs(runs)
        # `take_runs` copies, because repeated runs that share memory cannot be donated.
        padded = take_runs(runs, 0, self.padded(number))
        return device_put_global(padded, split_over_runs(make_mesh(number, self.devices_per_run)))

    def place_shared(self, shared: PyTree, number: int) -> PyTree:
        """Places arrays that `number` runs share: on every device in mode "devices"."""
        check_integer("place_shared", "number", number, 1)
        if self.mode != "devices":
            return shared
        return device_put_global(shared, replicated(make_mesh(number, self.devices_per_run)))

    def run_shapes(self, runs: PyTree, number: int) -> PyTree:
        """Shapes and shardings of `place_runs` for the first `number` runs, without computing."""
        devices = self.mode == "devices"
        sharding = split_over_runs(make_mesh(number, self.devices_per_run)) if devices else None
        size = self.padded(number)
        return jax.tree.map(
            lambda x: jax.ShapeDtypeStruct((size, *x.shape[1:]), x.dtype, sharding=sharding), runs
        )

    def shared_shapes(self, shared: PyTree, number: int) -> PyTree:
        """Shapes and shardings of `place_shared`, without computing."""
        devices = self.mode == "devices"
        sharding = replicated(make_mesh(number, self.devices_per_run)) if devices else None
        return jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(jnp.shape(x), x.dtype, sharding=sharding), shared
        )


def _vmap(function: Function) -> Function:
    return lambda runs, *shared: jax.vmap(lambda run: function(run, *shared))(runs)


def _map(function: Function) -> Function:
    return lambda runs, *shared: jax.lax.map(lambda run: function(run, *shared), runs)


def available() -> tuple[Placement, ...]:
    """The placements that differ on this machine, the one that is usually fast first.

    "devices" needs several devices; with several processes it is the only one.
    """
    if jax.process_count() > 1:
        return (Placement("devices"),)
    several = jax.device_count() > 1
    modes = ["map", "vmap"] if jax.default_backend() == "cpu" else ["vmap", "map"]
    return tuple(map(Placement, [*modes, "devices"] if several else modes))


def num_runs(runs: PyTree) -> int:
    """The length of the leading axis."""
    return int(jax.tree.leaves(runs)[0].shape[0])


def take_runs(runs: PyTree, start: int, size: int) -> PyTree:
    """Returns `size` runs beginning with number `start`; past the end the last run is repeated."""
    order = np.minimum(np.arange(start, start + size), num_runs(runs) - 1)
    return _take(runs, order)


@jax.jit
def _take(runs: PyTree, order: jax.Array) -> PyTree:
    return jax.tree.map(lambda leaf: leaf[order], runs)
