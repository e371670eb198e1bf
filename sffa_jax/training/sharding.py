"""Splitting a batch over the devices that train one run together."""

from typing import Any

import jax
from jax.sharding import PartitionSpec

PyTree = Any

DATA = "data"
"""The mesh axis over which a batch is split."""


def split_batch(batch: PyTree) -> PyTree:
    """Splits the leading axis of a batch over the `data` axis of the current mesh, if it has one.

    Means over the batch differ only in rounding, because XLA adds partial sums of the devices.
    Scalars and arrays with a length that the axis does not divide are replicated.
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
