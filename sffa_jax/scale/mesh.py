"""Devices as a mesh of two axes: independent runs along `seed`, one run's batches along `data`.

Runs need not talk to each other, so the `seed` axis is free. Along `data` a batch is shared out and
the means of the local losses are those of the whole batch: XLA adds up what the devices hold.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from sffa_jax.checks import check_integer, reject

PyTree = Any
SEED, DATA = "seed", "data"


def make_mesh(runs: int, devices_per_run: int = 1) -> Mesh:
    """The devices of all processes, as far as these runs keep them busy.

    Args:
      runs: that are shared out over the `seed` axis.
      devices_per_run: that share each batch of a run: the size of the `data` axis. Devices of one
        process are neighbors.

    Raises:
      ValueError: for no runs, or if the devices do not divide into such groups.
    """
    check_integer("make_mesh", "runs", runs, 1)
    check_integer("make_mesh", "devices_per_run", devices_per_run, 1)
    devices = jax.devices()
    if len(devices) % devices_per_run:
        raise reject(
            "make_mesh",
            "devices_per_run",
            f"divide the {len(devices)} devices",
            devices_per_run,
        )
    groups = len(devices) // devices_per_run
    if jax.process_count() == 1:
        # As many as share the runs evenly in the fewest rounds. Of several processes none may be
        # left out: they run one program.
        groups = -(-runs // -(-runs // groups))
    return Mesh(
        np.array(devices[: groups * devices_per_run]).reshape(groups, devices_per_run),
        (SEED, DATA),
    )


def over_runs(mesh: Mesh) -> NamedSharding:
    """Of arrays with a leading axis of runs."""
    return NamedSharding(mesh, PartitionSpec(SEED))


def everywhere(mesh: Mesh) -> NamedSharding:
    """Of arrays that every device has whole."""
    return NamedSharding(mesh, PartitionSpec())


def put(tree: PyTree, sharding: NamedSharding) -> PyTree:
    """Places arrays that each process holds whole: on every device its part."""
    if sharding.is_fully_addressable:
        return jax.device_put(tree, sharding)

    def place(leaf: Any) -> jax.Array:
        # `device_put` does not reach the devices of other processes.
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            words = place(jax.random.key_data(leaf))
            return jax.random.wrap_key_data(words, impl=jax.random.key_impl(leaf))
        host = np.asarray(leaf)
        return jax.make_array_from_callback(host.shape, sharding, lambda part: host[part])

    return jax.tree.map(place, tree)


def split_batch(batch: PyTree) -> PyTree:
    """Shares the leading axis of a batch out over the `data` axis, where the program has one.

    Arrays whose length the axis does not divide, and scalars, stay whole on every device.
    """
    mesh = jax.sharding.get_abstract_mesh()
    parts = mesh.shape.get(DATA, 1)
    if parts == 1:
        return batch

    def split(leaf: jax.Array) -> jax.Array:
        if not leaf.ndim or leaf.shape[0] % parts:
            return leaf
        return jax.lax.with_sharding_constraint(leaf, PartitionSpec(DATA))

    return jax.tree.map(split, batch)
