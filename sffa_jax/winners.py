"""k-winners-take-all: only the strongest units of a group stay active."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sffa_jax.checks import check_integer, reject
from sffa_jax.goodness import split_polarity


def kth_largest(h: Float[Array, "*samples units"], k: int) -> Float[Array, "*samples 1"]:
    """The k-th largest value of each row, duplicates counted: exact on ties and infinities.

    Peels off the maximum until at least k values have been seen. On CPU a top-k or a sort
    inside a compiled program costs tens of times more, and winners need only the threshold.
    """
    check_integer("kth_largest", "k", k, 1)
    if k > h.shape[-1]:
        raise reject("kth_largest", "k", f"be at most the {h.shape[-1]} units", k)

    def peel(_: Array, threshold: Array) -> Array:
        # Rows that have seen k values keep their threshold: equal values are peeled at once.
        seen = jnp.sum(h >= threshold, axis=-1, keepdims=True)
        below = jnp.max(jnp.where(h < threshold, h, -jnp.inf), axis=-1, keepdims=True)
        return jnp.where(seen < k, below, threshold)

    return jax.lax.fori_loop(0, k - 1, peel, jnp.max(h, axis=-1, keepdims=True))


def keep_winners(h: Float[Array, "*samples units"], k: int) -> Float[Array, "*samples units"]:
    """Keeps the k largest values of each half of the units and zeroes the rest.

    Ties at the threshold all stay, so that the result does not depend on the order of units.
    The gradient flows through the winners alone.

    Args:
      h: activity, >= 0.
      k: winners in each half (the positive and the negative neurons).

    Raises:
      ValueError: if k is below 1 or above half of the units, or the units are odd.

    Reference: Terres-Escudero et al. 2024, released code (k = 15 of each 700).
    """
    halves = split_polarity(h)
    if k > halves[0].shape[-1]:
        raise reject(
            "keep_winners",
            "k",
            f"be at most half of the layer's {h.shape[-1]} units",
            k,
            "Choose fewer winners or a wider layer.",
        )
    kept = []
    for half in halves:
        threshold = kth_largest(jax.lax.stop_gradient(half), k)
        kept.append(jnp.where(half >= threshold, half, 0.0))
    return jnp.concatenate(kept, axis=-1)
