"""k-winners-take-all: only the strongest units of a group stay active.

A winners mask needs the k-th largest value of each row and nothing else, so that no row is ever
sorted. `KERNELS` holds the ways to find it, all exact; `kth_largest` takes the one that
`experiments.benchmark` measured to be the fastest on the backend it is compiled for.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sffa_jax.checks import check_integer, reject
from sffa_jax.core.goodness import split_polarity

FEW = 32
"""On CPU, up to this many winners are peeled off one by one; more are found by bisection."""


def _max(h: Array) -> Array:
    return jnp.max(h, axis=-1, keepdims=True)


def _count(condition: Array) -> Array:
    # Summing floats is a vector instruction, counting booleans is not.
    return jnp.sum(condition, axis=-1, keepdims=True, dtype=jnp.float32)


def kth_by_groups(h: Float[Array, "*samples units"], k: int) -> Float[Array, "*samples 1"]:
    """Peels a short list of candidates for a lower bound, then raises the bound to the answer.

    Units are put into about 7 k groups. The two largest of each group hold the k winners of nearly
    every row, so that the k-th largest *different* value among them is a lower bound, and mostly
    the answer. It is the answer when fewer than k units lie above it; a row where more do is moved
    up to its next value until that holds.
    """
    units = h.shape[-1]
    size = max(1, round(units / (7 * k)))
    padded = jnp.pad(
        h, [(0, 0)] * (h.ndim - 1) + [(0, -units % size)], constant_values=-jnp.inf
    ).reshape(*h.shape[:-1], size, -1)
    first, second = padded[..., 0, :], jnp.full_like(padded[..., 0, :], -jnp.inf)
    for i in range(1, size):
        other = padded[..., i, :]
        second = jnp.maximum(second, jnp.minimum(first, other))
        first = jnp.maximum(first, other)
    listed = jnp.concatenate([first, second], axis=-1) if size > 1 else first

    def peel(_: Array, bound: Array) -> Array:
        return _max(jnp.where(listed < bound, listed, -jnp.inf))

    def above(bound: Array) -> Array:
        return _count(h > bound)

    def climb(state: tuple[Array, Array]) -> tuple[Array, Array]:
        bound, number = state
        higher = jnp.min(jnp.where(h > bound, h, jnp.inf), axis=-1, keepdims=True)
        bound = jnp.where(number >= k, higher, bound)
        return bound, above(bound)

    bound = jax.lax.fori_loop(0, k - 1, peel, _max(listed))
    bound, _ = jax.lax.while_loop(lambda s: jnp.any(s[1] >= k), climb, (bound, above(bound)))
    return bound


def kth_by_bisection(h: Float[Array, "*samples units"], k: int) -> Float[Array, "*samples 1"]:
    """Finds the answer's bits from the highest down: as many passes as a float has bits, for any k.

    Floats read as whole numbers are in order once the negative ones are turned around.
    """
    bits = 8 * h.dtype.itemsize
    whole = {16: jnp.int16, 32: jnp.int32, 64: jnp.int64}[bits]
    most = jnp.iinfo(whole).max

    def turned(x: Array) -> Array:
        return jnp.where(x < 0, x ^ most, x)

    keys = turned(jax.lax.bitcast_convert_type(h, whole))

    def reached(bound: Array) -> Array:
        return _count(keys >= bound) >= k

    def refine(i: Array, bound: Array) -> Array:
        higher = bound + (jnp.ones((), whole) << (bits - 2 - i).astype(whole))
        return jnp.where(reached(higher), higher, bound)

    zero = jnp.zeros((*h.shape[:-1], 1), whole)
    bound = jnp.where(reached(zero), zero, jnp.iinfo(whole).min)
    bound = jax.lax.fori_loop(0, bits - 1, refine, bound)
    return jax.lax.bitcast_convert_type(turned(bound), h.dtype)


def kth_by_top_k(h: Float[Array, "*samples units"], k: int) -> Float[Array, "*samples 1"]:
    """The last of XLA's top k: a selection on accelerators, a whole sort in a program on CPU."""
    return jax.lax.top_k(h, k)[0][..., -1:]


KERNELS: dict[str, Callable[[Array, int], Array]] = {
    "groups": kth_by_groups,
    "bisection": kth_by_bisection,
    "top_k": kth_by_top_k,
}
"""Exact ways to the k-th largest value of each row."""


def kth_largest(h: Float[Array, "*samples units"], k: int) -> Float[Array, "*samples 1"]:
    """The k-th largest value of each row, duplicates counted: exact on ties and infinities.

    Args:
      h: rows of values; without NaN. Subnormal numbers may count as 0, as everywhere in XLA.
      k: from 1 to the number of values in a row.

    Raises:
      ValueError: for a k out of range.
    """
    check_integer("kth_largest", "k", k, 1)
    if k > h.shape[-1]:
        raise reject("kth_largest", "k", f"be at most the {h.shape[-1]} units", k)
    on_cpu = KERNELS["groups" if k <= FEW else "bisection"]
    kernels: dict[str, Callable[..., Array]] = {"cpu": on_cpu, "default": kth_by_top_k}
    if jax.default_backend() == "gpu":
        # Imported here, as Pallas takes up to a second that a machine without a GPU need not pay.
        from sffa_jax.core import winners_gpu

        if h.shape[-1] <= winners_gpu.LONGEST_ROW:
            kernels["cuda"] = winners_gpu.kth_in_registers
    return jax.lax.platform_dependent(
        h, **{platform: partial(kernel, k=k) for platform, kernel in kernels.items()}
    )


def keep_largest(h: Float[Array, "*samples units"], k: int) -> Float[Array, "*samples units"]:
    """Keeps the k largest values of each row and zeroes the rest.

    Ties at the threshold all stay, so that the result does not depend on the order of units. The
    gradient flows through the winners alone. NaN stays NaN, so that a diverged layer does not pass
    for a silent one.

    Raises:
      ValueError: for a k out of range.
    """
    threshold = kth_largest(jax.lax.stop_gradient(h), k)
    return jnp.where(h < threshold, 0.0, h)


def keep_winners(h: Float[Array, "*samples units"], k: int) -> Float[Array, "*samples units"]:
    """`keep_largest` of each half of the units.

    Args:
      h: activity, >= 0.
      k: winners in each half (the positive and the negative neurons).

    Raises:
      ValueError: if k is below 1 or above half of the units, or the units are odd.

    Reference: Terres-Escudero et al. 2024, released code (k = 15 of each 700).
    """
    check_integer("keep_winners", "k", k, 1)
    half = split_polarity(h)[0].shape[-1]
    if k > half:
        raise reject(
            "keep_winners",
            "k",
            f"be at most half of the layer's {h.shape[-1]} units",
            k,
            "Choose fewer winners or a wider layer.",
        )
    halves = h.reshape(*h.shape[:-1], 2, half)
    return keep_largest(halves, k).reshape(h.shape)
