"""What a method keeps from one task to the next, in bytes."""

from typing import NamedTuple

import jax
import numpy as np

from sffa_jax.continual.model import Modules
from sffa_jax.continual.scenarios import TaskData
from sffa_jax.continual.strategy import State, Strategy


class StoredBytes(NamedTuple):
    """Bytes that a method keeps.

    Attributes:
      images: capacity for training images, also if not filled, in the type of the data set (uint8:
        one byte a pixel).
      statistics: everything else that the strategy keeps, e.g. class means, covariances, copies of
        parameters, or outputs at storage time.
      parameters: the network's parameters.
    """

    images: int
    statistics: int
    parameters: int

    @property
    def total(self) -> int:
        """Bytes in all."""
        return sum(self)


def stored_bytes(strategy: Strategy, modules: Modules, state: State, data: TaskData) -> StoredBytes:
    """Returns what a method keeps.

    Args:
      strategy: the strategy.
      modules: parameters of one run, as arrays or as shapes.
      state: the strategy's state of the same run; a leaf called `image` contains indices of
        training images and counts as those images.
      data: the data of that run.

    >>> import jax.numpy as jnp
    >>> from sffa_jax import make_samples
    >>> from sffa_jax.continual import split_tasks
    >>> samples = make_samples(np.zeros((6, 2, 2), np.uint8), [0, 1] * 3, mean=0.0, std=1.0)
    >>> _, data = split_tasks(samples, samples, num_tasks=1)
    >>> stored_bytes(Strategy(), ({"w": jnp.zeros((4, 2))},), {"mean": jnp.zeros((2, 4))}, data)
    StoredBytes(images=0, statistics=32, parameters=32)
    """
    pixels = data.train.images
    each = int(np.prod(pixels.shape[1:])) * pixels.dtype.itemsize
    images, statistics = 0, 0
    for path, leaf in jax.tree_util.tree_leaves_with_path(state):
        if any(getattr(entry, "name", None) == "image" for entry in path):
            images += leaf.size * each
        else:
            statistics += _bytes(leaf)
    if strategy.keeps_all_images:
        images = int(data.stream.num_train.sum()) * each
    return StoredBytes(images, statistics, sum(map(_bytes, jax.tree.leaves(modules))))


def _bytes(leaf: jax.Array | jax.ShapeDtypeStruct) -> int:
    return leaf.size * leaf.dtype.itemsize
