"""Assignment of units to classes by their activity."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

NO_CLASS = -1
"""Owner of a unit that belongs to no class."""


def class_means(
    h: Float[Array, "samples units"], labels: Int[Array, " samples"], num_classes: int
) -> Float[Array, "classes units"]:
    """Mean activity of each unit over the samples of each class; 0 for a class without samples."""
    member = jax.nn.one_hot(labels, num_classes, dtype=h.dtype)
    counts = jnp.sum(member, axis=0)
    return member.T @ h / jnp.maximum(counts, 1)[:, None]


def selectivity(means: Float[Array, "classes units"]) -> Float[Array, " units"]:
    """(m - o) / (m + o) of each unit: m is its highest class mean, o the mean of the others.

    Activity >= 0. It is 0 for a unit with equal responses to all classes or none, and 1 for a unit
    that responds to a single class.

    Reference: Morcos et al. 2018, arXiv:1803.06959, section 2.3.
    """
    highest = jnp.max(means, axis=0)
    others = (jnp.sum(means, axis=0) - highest) / (means.shape[0] - 1)
    total = highest + others
    return jnp.where(total > 0, (highest - others) / jnp.where(total > 0, total, 1), 0.0)


def owners(
    means: Float[Array, "classes units"], *, fraction: float | Array = 0.5
) -> Int[Array, " units"]:
    """Returns the class of each unit: the one with more than `fraction` of the sum of its class
    means; `NO_CLASS` if there is none. Activity >= 0."""
    total = jnp.sum(means, axis=0)
    owner = jnp.argmax(means, axis=0).astype(jnp.int32)
    return jnp.where((jnp.max(means, axis=0) > fraction * total) & (total > 0), owner, NO_CLASS)


def owned_share(owner: Int[Array, " units"]) -> Float[Array, ""]:
    """Fraction of units that belong to a class."""
    return jnp.mean(owner != NO_CLASS, dtype=jnp.float32)


def owned_counts(owner: Int[Array, " units"], num_classes: int) -> Int[Array, " classes"]:
    """Number of units that belong to each class."""
    return jnp.sum(owner[None] == jnp.arange(num_classes)[:, None], axis=-1, dtype=jnp.int32)


def overlap(
    means: Float[Array, "classes units"], *, top: float = 0.1
) -> Float[Array, "classes classes"]:
    """Jaccard overlap of the most active units of each pair of classes.

    Args:
      means: from `class_means`. Activity >= 0.
      top: fraction of units, those with the highest means, that count as used by a class; units
        that are silent for it do not.

    Returns:
      1 on the diagonal, 0 for a class without activity; random units would give about
      top / (2 - top) off the diagonal.
    """
    units = means.shape[1]
    used = max(1, round(top * units))
    # By rank, so that classes use the same number of units despite ties.
    rank = jnp.argsort(jnp.argsort(-means, axis=-1), axis=-1)
    chosen = ((rank < used) & (means > 0)).astype(jnp.float32)
    number, common = jnp.sum(chosen, axis=-1), chosen @ chosen.T
    return common / jnp.maximum(number[:, None] + number[None] - common, 1)


def mean_overlap(overlaps: Float[Array, "classes classes"]) -> Float[Array, ""]:
    """Mean over all pairs of different classes."""
    classes = overlaps.shape[0]
    return (jnp.sum(overlaps) - jnp.trace(overlaps)) / (classes * (classes - 1))
