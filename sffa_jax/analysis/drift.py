"""What becomes of a layer's neurons from one task to the next, on the same probe samples."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from sffa_jax.analysis.specialization import NOBODY


class Turnover(NamedTuple):
    """Shares of all units, which add up to 1.

    Attributes:
      kept: belong to the class they belonged to.
      reused: belong to another class than before: overwritten.
      lost: belonged to a class and belong to none now.
      gained: belong to a class and belonged to none.
      free: belonged to none and still do.
    """

    kept: Float[Array, ""]
    reused: Float[Array, ""]
    lost: Float[Array, ""]
    gained: Float[Array, ""]
    free: Float[Array, ""]


def turnover(before: Int[Array, " units"], after: Int[Array, " units"]) -> Turnover:
    """What became of the units between two measurements of `specialization.owners`."""
    was, now = before != NOBODY, after != NOBODY
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
    """Similarity of two representations of the same samples: 1 if one is the other rotated and
    scaled, 0 if nothing in one can be read off the other linearly.

    Reference: Kornblith et al. 2019, arXiv:1905.00414, equation 4 in its form for features.
    """
    a, b = (x - jnp.mean(x, axis=0, keepdims=True) for x in (a, b))

    def common(x: Array, y: Array) -> Array:
        return jnp.sum(jnp.square(x.T @ y))

    return common(a, b) / jnp.sqrt(common(a, a) * common(b, b))
