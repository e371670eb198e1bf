"""Which neurons belong to which class."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

NOBODY = -1
"""Owner of a unit that no class has for itself."""


def class_means(
    h: Float[Array, "samples units"], labels: Int[Array, " samples"], num_classes: int
) -> Float[Array, "classes units"]:
    """Mean activity of each unit over the samples of each class; 0 for a class without samples."""
    member = jax.nn.one_hot(labels, num_classes, dtype=h.dtype)
    counts = jnp.sum(member, axis=0)
    return member.T @ h / jnp.maximum(counts, 1)[:, None]


def selectivity(means: Float[Array, "classes units"]) -> Float[Array, " units"]:
    """(m - o) / (m + o) of each unit: m is its greatest class mean, o the mean of the others.

    Activity >= 0. 0 for a unit that answers all classes alike or none, 1 for one that answers a
    single class.

    Reference: Morcos et al. 2018, arXiv:1803.06959, section 2.3.
    """
    highest = jnp.max(means, axis=0)
    others = (jnp.sum(means, axis=0) - highest) / (means.shape[0] - 1)
    total = highest + others
    return jnp.where(total > 0, (highest - others) / jnp.where(total > 0, total, 1), 0.0)


def owners(
    means: Float[Array, "classes units"], *, share: float | Array = 0.5
) -> Int[Array, " units"]:
    """The class that a unit belongs to: the one with more than `share` of the sum of its class
    means; `NOBODY` where there is none. Activity >= 0."""
    total = jnp.sum(means, axis=0)
    owner = jnp.argmax(means, axis=0).astype(jnp.int32)
    return jnp.where((jnp.max(means, axis=0) > share * total) & (total > 0), owner, NOBODY)


def owned_share(owner: Int[Array, " units"]) -> Float[Array, ""]:
    """Share of the units that belong to one class."""
    return jnp.mean(owner != NOBODY, dtype=jnp.float32)


def owned_counts(owner: Int[Array, " units"], num_classes: int) -> Int[Array, " classes"]:
    """How many units belong to each class."""
    return jnp.sum(owner[None] == jnp.arange(num_classes)[:, None], axis=-1, dtype=jnp.int32)


def overlap(
    means: Float[Array, "classes units"], *, top: float = 0.1
) -> Float[Array, "classes classes"]:
    """Jaccard overlap of the units that two classes use most.

    Args:
      means: from `class_means`.
      top: share of the units that a class is said to use: those with its highest means.

    Returns:
      1 on the diagonal; units chosen at random would give about top / (2 - top) beside it.
    """
    units = means.shape[1]
    used = max(1, round(top * units))
    # By rank, so that ties cannot make a class use more units than another.
    rank = jnp.argsort(jnp.argsort(-means, axis=-1), axis=-1)
    chosen = (rank < used).astype(jnp.float32)
    common = chosen @ chosen.T
    return common / (2 * used - common)


def mean_overlap(overlaps: Float[Array, "classes classes"]) -> Float[Array, ""]:
    """Mean over all pairs of different classes."""
    classes = overlaps.shape[0]
    return (jnp.sum(overlaps) - jnp.trace(overlaps)) / (classes * (classes - 1))
