"""Sparsity of activity [samples, units].

`hoyer` and `treves_rolls` are 0 for equal activity of all units and 1 for a single active unit;
they do not depend on the scale.
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def hoyer(h: Float[Array, "*samples units"]) -> Float[Array, "*samples"]:
    """(sqrt(n) - |h|_1 / |h|_2) / (sqrt(n) - 1) of each sample; NaN without activity.

    Reference: Hoyer 2004, JMLR 5, "Non-negative matrix factorization with sparseness constraints".
    """
    root = jnp.sqrt(jnp.float32(h.shape[-1]))
    absolute = jnp.abs(h)
    ratio = jnp.sum(absolute, axis=-1) / jnp.sqrt(jnp.sum(jnp.square(h), axis=-1))
    return (root - ratio) / (root - 1)


def treves_rolls(h: Float[Array, "*samples units"]) -> Float[Array, "*samples"]:
    """(1 - mean(h)^2 / mean(h^2)) / (1 - 1/n) of each sample, activity >= 0; NaN without
    activity. Along the transposed axes it is the lifetime sparseness of each unit.

    Reference: Treves & Rolls 1991, Network 2; in this form Vinje & Gallant 2000, Science 287.
    """
    ratio = jnp.square(jnp.mean(h, axis=-1)) / jnp.mean(jnp.square(h), axis=-1)
    return (1 - ratio) / (1 - 1 / h.shape[-1])


def active_share(
    h: Float[Array, "*samples units"], *, threshold: float | Array = 0.0
) -> Float[Array, "*samples"]:
    """Fraction of units above a threshold, for each sample."""
    return jnp.mean(h > threshold, axis=-1, dtype=jnp.float32)


def dead_units(h: Float[Array, "samples units"]) -> Bool[Array, " units"]:
    """Whether each unit is inactive for all samples."""
    return ~jnp.any(h > 0, axis=0)
