"""Devices as a mesh with two axes: independent runs along `runs`, one run's batches along `data`.

Runs do not communicate, so the `runs` axis costs nothing. Along `data` each device holds a part of
every batch; XLA sums the partial means of the losses.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from sffa_jax.checks import check_integer, reject
from sffa_jax.training.sharding import DATA

PyTree = Any

RUNS = "runs"
"""The mesh axis over which independent runs are split."""


def make_mesh(runs: int, devices_per_run: int = 1) -> Mesh:
    """Makes a mesh [runs, data] of the devices that these runs can use, across all processes.

    Args:
      runs: number of runs.
      devices_per_run: size of the `data` axis. Devices of one process are neighbors.

    Raises:
      ValueError: for no runs, or if `devices_per_run` does not divide the number of devices.

    >>> dict(make_mesh(1).shape)
    {'runs': 1, 'data': 1}
    """
    check_integer("make_mesh", "runs", runs, 1)
    check_integer("make_mesh", "devices_per_run", devices_per_run, 1)
    devices = jax.devices()
    if len(devices) % devices_per_run:
        wanted = f"divide the {len(devices)} devices"
        raise reject("make_mesh", "devices_per_run", wanted, devices_per_run)
    groups = len(devices) // devices_per_run
    if jax.process_count() == 1:
        # The smallest number of groups that needs no additional rounds. Several processes use all
        # devices, because they run one program.
        groups = -(-runs // -(-runs // groups))
    return Mesh(
        np.array(devices[: groups * devices_per_run]).reshape(groups, devices_per_run),
        (RUNS, DATA),
    )


def split_over_runs(mesh: Mesh) -> NamedSharding:
    """The sharding of arrays that have a leading axis of runs."""
    return NamedSharding(mesh, PartitionSpec(RUNS))


def replicated(mesh: Mesh) -> NamedSharding:
    """The sharding of arrays that are replicated on every device."""
    return NamedSharding(mesh, PartitionSpec())


def device_put_global(tree: PyTree, sharding: NamedSharding) -> PyTree:
    """Places arrays of which each process has a full copy; the sharding may span processes.

    `jax.device_put` places arrays on devices of the calling process only.
    """
    if sharding.is_fully_addressable:
        return jax.device_put(tree, sharding)

    def place(leaf: Any) -> jax.Array:
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            words = place(jax.random.key_data(leaf))
            return jax.random.wrap_key_data(words, impl=jax.random.key_impl(leaf))
        host = np.asarray(leaf)
        return jax.make_array_from_callback(host.shape, sharding, lambda part: host[part])

    return jax.tree.map(place, tree)
