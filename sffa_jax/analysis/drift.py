"""Changes of a layer's units from one task to the next, on the same probe samples."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from sffa_jax.analysis.specialization import NO_CLASS


class Turnover(NamedTuple):
    """Fractions of all units, which add up to 1.

    Attributes:
      kept: same class before and after.
      reused: different classes before and after (overwritten).
      lost: a class before, none after.
      gained: no class before, one after.
      free: no class before and after.
    """

    kept: Float[Array, ""]
    reused: Float[Array, ""]
    lost: Float[Array, ""]
    gained: Float[Array, ""]
    free: Float[Array, ""]


def turnover(before: Int[Array, " units"], after: Int[Array, " units"]) -> Turnover:
    """Compares two measurements of `specialization.owners`."""
    was, now = before != NO_CLASS, after != NO_CLASS
    kinds = (
        was & (before == after),
        was & now & (before != after),
        was & ~now,
        ~was & now,
        ~was & ~now,
    )
    return Turnover(*(jnp.mean(kind, dtype=jnp.float32) for kind in kinds))


def linear_cka(
    a: Float[Array, "samples units_a"], b: Float[Array, "samples units_b"]
) -> Float[Array, ""]:
    """Similarity of two representations of the same samples: 1 if they are equal up to rotation and
    scale, 0 if they are linearly unrelated.

    Reference: Kornblith et al. 2019, arXiv:1905.00414, equation 4 in its form for features.
    """
    a, b = (x - jnp.mean(x, axis=0, keepdims=True) for x in (a, b))

    def common(x: Array, y: Array) -> Array:
        return jnp.sum(jnp.square(x.T @ y))

    return common(a, b) / jnp.sqrt(common(a, a) * common(b, b))
