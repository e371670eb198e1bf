"""k-winners-take-all: only the strongest units of a group stay active.

A winners mask needs only the k-th largest value of each row, so no row is sorted. `KERNELS`
contains exact algorithms for it; `kth_largest` uses the fastest one on the compiled backend, as
measured by `experiments.benchmark`.
"""

import math
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sffa_jax.checks import check_integer, choose, reject, reject_type
from sffa_jax.core.goodness import MEASURES, Measure, split_polarity

FEW = 32
"""On CPU, up to this many winners are selected one by one; more are selected by bisection."""


LONGEST = 64
"""Largest group in which `kth_by_groups` finds two candidates: more would compile for seconds."""


def _max(h: Array) -> Array:
    return jnp.max(h, axis=-1, keepdims=True)


def _count(condition: Array) -> Array:
    # XLA vectorizes a sum of floats but not a count of booleans.
    return jnp.sum(condition, axis=-1, keepdims=True, dtype=jnp.float32)


def kth_by_groups(h: Float[Array, "*samples units"], k: int) -> Float[Array, "*samples 1"]:
    """Finds a lower bound from a short list of candidates, then raises the bound to the result.

    Units are divided into about 7 k groups, more in very long rows. The two largest of each group
    include the k winners of nearly every row, so the k-th largest *different* value among them is a
    lower bound and usually the result. It is the result if fewer than k units are above it;
    otherwise the bound is raised to the next value of the row until that holds.
    """
    units = h.shape[-1]
    size = min(max(1, round(units / (7 * k))), LONGEST)  # a loop of so many steps is unrolled
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
    """Finds the bits of the result from the highest down: one pass per bit of a float, for any k.

    The bit patterns of floats, read as integers, are ordered after the negative ones are reversed.
    """
    bits = 8 * h.dtype.itemsize
    integer = {16: jnp.int16, 32: jnp.int32, 64: jnp.int64}[bits]
    most = jnp.iinfo(integer).max

    def ordered(x: Array) -> Array:
        return jnp.where(x < 0, x ^ most, x)

    keys = ordered(jax.lax.bitcast_convert_type(h, integer))

    def reached(bound: Array) -> Array:
        return _count(keys >= bound) >= k

    def refine(i: Array, bound: Array) -> Array:
        higher = bound + (jnp.ones((), integer) << (bits - 2 - i).astype(integer))
        return jnp.where(reached(higher), higher, bound)

    zero = jnp.zeros((*h.shape[:-1], 1), integer)
    bound = jnp.where(reached(zero), zero, jnp.iinfo(integer).min)
    bound = jax.lax.fori_loop(0, bits - 1, refine, bound)
    return jax.lax.bitcast_convert_type(ordered(bound), h.dtype)


def kth_by_top_k(h: Float[Array, "*samples units"], k: int) -> Float[Array, "*samples 1"]:
    """Returns the last value of XLA's top k: a selection on accelerators, a full sort on CPU."""
    return jax.lax.top_k(h, k)[0][..., -1:]


KERNELS: dict[str, Callable[[Array, int], Array]] = {
    "groups": kth_by_groups,
    "bisection": kth_by_bisection,
    "top_k": kth_by_top_k,
}
"""Exact algorithms for the k-th largest value of each row, by name."""


def kth_largest(h: Float[Array, "*samples units"], k: int) -> Float[Array, "*samples 1"]:
    """The k-th largest value of each row, duplicates counted: exact on ties and infinities.

    Args:
      h: rows of floats; without NaN. Subnormal numbers may count as 0, as everywhere in XLA.
      k: from 1 to the number of values in a row.

    Raises:
      TypeError: for values that are no floats.
      ValueError: for rows without values, or a k out of range.
    """
    check_integer("kth_largest", "k", k, 1)
    if not jnp.issubdtype(h.dtype, jnp.floating):
        raise reject_type("kth_largest", "h", "be floats", h.dtype, "Convert it by `astype`.")
    if not h.ndim or not h.shape[-1]:
        raise reject("kth_largest", "h", "have at least one value in a row", f"shape {h.shape}")
    if k > h.shape[-1]:
        raise reject("kth_largest", "k", f"be at most the {h.shape[-1]} units", k)
    if not h.size:  # no rows
        return jnp.zeros((*h.shape[:-1], 1), h.dtype)
    on_cpu = KERNELS["groups" if k <= FEW else "bisection"]
    kernels: dict[str, Callable[..., Array]] = {"cpu": on_cpu, "default": kth_by_top_k}
    if jax.default_backend() == "gpu":
        # Imported here because Pallas takes up to a second to import and needs a GPU.
        from sffa_jax.core import winners_gpu

        if h.shape[-1] <= winners_gpu.LONGEST_ROW:
            kernels["cuda"] = winners_gpu.kth_in_registers
    return jax.lax.platform_dependent(
        h, **{platform: partial(kernel, k=k) for platform, kernel in kernels.items()}
    )


def keep_largest(h: Float[Array, "*samples units"], k: int) -> Float[Array, "*samples units"]:
    """Keeps the k largest values of each row and zeroes the rest.

    All ties at the threshold stay, so the result does not depend on the order of units. Gradients
    flow through the winners only. NaN stays NaN, so a diverged layer remains visible.

    Raises:
      ValueError: for a k out of range.
    """
    compared = _in_memory(jax.lax.stop_gradient(h))
    return jnp.where(compared < kth_largest(compared, k), 0.0, h)


def _in_memory(h: Array) -> Array:
    """Returns its argument as one array in memory.

    XLA computes cheap functions again for each use, and may then round them in another way: the
    k-th largest value would not be among the values that are compared with it.
    """
    if not h.size:
        return h

    def by_loop(h: Array) -> Array:
        # XLA's CPU backend ignores barriers, but a loop that may change its array keeps it. It has
        # one pass, which changes nothing, or three for NaN, of which two negate.
        def body(state: tuple[Array, Array]) -> tuple[Array, Array]:
            i, h = state
            return i + 1, jnp.where(i == 0, h, -h)

        passes = jnp.where(jnp.isnan(h.reshape(-1)[0]), 3, 1)
        return jax.lax.while_loop(lambda state: state[0] < passes, body, (jnp.int32(0), h))[1]

    return jax.lax.platform_dependent(h, cpu=by_loop, default=jax.lax.optimization_barrier)


def keep_winners(
    h: Float[Array, "*samples units"], k: int, unit_axes: int = 1, *, simple: bool = True
) -> Array:
    """Applies `keep_largest` to each half of the units.

    Args:
      h: activity, >= 0.
      k: number of winners in each half (positive and negative neurons).
      unit_axes: number of last axes of `h` that contain units: 3 for maps [h, w, c].
      simple: whether `h` is a product and an activation, which XLA rounds alike each time; False
        (after a normalization) takes a copy.

    Raises:
      ValueError: if k is below 1 or above half of the units, or the units are odd.

    Reference: Terres-Escudero et al. 2024, released code (k = 15 of each 700).
    """
    check_integer("keep_winners", "k", k, 1)
    split_polarity(h)  # refuses an odd number
    units = math.prod(h.shape[-unit_axes:])
    if k > units // 2:
        raise reject(
            "keep_winners",
            "k",
            f"be at most half of the layer's {units} units",
            k,
            "Choose fewer winners or a wider layer.",
        )
    samples = h.shape[:-unit_axes]
    # Places, halves, units; only the search for the threshold needs each half in one row.
    compared = jax.lax.stop_gradient(h)
    if not simple:
        compared = _in_memory(compared)
    by_place = compared.reshape(*samples, -1, 2, h.shape[-1] // 2)
    rows = jnp.moveaxis(by_place, -2, -3).reshape(*samples, 2, units // 2)
    threshold = kth_largest(rows, k)
    lost = by_place < jnp.expand_dims(threshold, -3)
    return jnp.where(lost.reshape(h.shape), 0.0, h)


def measure_of_winners(measure: str | Measure, k: int) -> Measure:
    """Returns a measure of the k largest activities; all others count as 0.

    With it, winners decide the goodness, and the next layer still sees all units (a layer's own
    `winners` hides the others from it).

    Args:
      measure: of the activity, one of `goodness.MEASURES` or a function.
      k: number of winners among the units that are measured: of each half under SFFA.

    Raises:
      ValueError: for an unknown measure or a k below 1.

    Reference: Terres-Escudero et al. 2024, arXiv:2408.09210, released code (k = 15).

    >>> measure_of_winners("sum_square", 1)(jnp.array([1.0, 3.0, 2.0]))
    Array(9., dtype=float32)
    """
    check_integer("measure_of_winners", "k", k, 1)
    chosen = choose("measure_of_winners", "measure", measure, MEASURES)
    return partial(_measure_largest, chosen, k)


def _measure_largest(measure: Measure, k: int, h: Array) -> Array:
    return measure(keep_largest(h, k))
