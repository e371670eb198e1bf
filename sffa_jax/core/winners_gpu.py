"""The k-th largest value of each row on an NVIDIA GPU: a Pallas kernel, lowered through Triton.

XLA's reductions read a row once for each step of a bisection. Here one warp reads a row once, keeps
it in registers and finds the answer's bits from the highest down. On an H100 this is 20 times as
fast as `lax.top_k` (docs/performance_h100.md). JAX 0.11 deprecates the Triton backend of Pallas;
without it `winners.kth_by_top_k` gives the same result.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas
from jax.experimental.pallas import triton
from jaxtyping import Array, Float

from sffa_jax.data.arrays import next_power_of_two

LONGEST_ROW = 2**16
"""Values that the registers of one block hold; the kernel spills longer rows to memory."""

VALUES_PER_WARP = 2048
"""Values of a row that one warp holds; longer rows are shared by several warps."""


def kth_in_registers(
    h: Float[Array, "*samples units"], k: int, *, interpret: bool = False
) -> Float[Array, "*samples 1"]:
    """The k-th largest value of each row, exact on ties and infinities; without NaN.

    Args:
      h: rows of float16, bfloat16, float32 or float64.
      k: from 1 to the number of values in a row; the caller checks it.
      interpret: runs the kernel as plain JAX, on any device.
    """
    *samples, units = h.shape
    bits = 8 * h.dtype.itemsize
    integer = {16: jnp.int16, 32: jnp.int32, 64: jnp.int64}[bits]
    pieces = _pieces(units)
    keys = pallas.pallas_call(
        functools.partial(_kth_of_row, k, units, pieces, bits),
        out_shape=jax.ShapeDtypeStruct((h.size // units,), integer),
        grid=(h.size // units,),
        in_specs=[pallas.BlockSpec((None, sum(pieces)), lambda row: (row, 0))],
        out_specs=pallas.BlockSpec((None,), lambda row: (row,)),
        compiler_params=triton.CompilerParams(num_warps=_num_warps(sum(pieces))),
        interpret=interpret,
        name="kth_in_registers",
    )(jax.lax.bitcast_convert_type(h, integer).reshape(-1, units))
    return jax.lax.bitcast_convert_type(keys, h.dtype).reshape(*samples, 1)


def _num_warps(values: int) -> int:
    return min(32, max(1, next_power_of_two(values) // VALUES_PER_WARP))


def _pieces(units: int) -> tuple[int, ...]:
    """Lengths of the pieces of a padded row: powers of two, as Triton's arrays are.

    700 values are 512 + 256 instead of 1024.
    """
    power = next_power_of_two(units)
    half, rest = power // 2, units - power // 2
    if units < 64 or next_power_of_two(rest) == half:
        return (power,)
    return (half, max(32, next_power_of_two(rest)))


def _kth_of_row(k: int, units: int, pieces: tuple[int, ...], bits: int, row: Any, out: Any) -> None:
    """One program of the grid: the k-th largest of `row` [units] goes to the scalar `out`.

    Floats read as integers are in order once the negative ones are turned around. A bound is
    raised by one bit at a time while at least k values reach it. When exactly k do, the least of
    them is the answer and the lower bits need not be found.
    """
    integer = jnp.int64 if bits == 64 else jnp.int32
    least, most = (jnp.array(edge, integer) for edge in (-(1 << (bits - 1)), (1 << (bits - 1)) - 1))
    zero = jnp.zeros((), integer)

    def turned(x: Array) -> Array:
        return jnp.where(x < 0, x ^ most, x)

    keys, start = [], 0
    for length in pieces:
        inside = start + jnp.arange(length, dtype=jnp.int32) < units
        piece = triton.load(row.at[pallas.ds(start, length)], mask=inside, other=0)
        # No number has the least key, so that padding never counts.
        keys.append(jnp.where(inside, turned(piece.astype(integer)), least))
        start += length

    def count(bound: Array) -> Array:
        return functools.reduce(
            jnp.add, [jnp.sum(piece >= bound, dtype=jnp.int32) for piece in keys]
        )

    def undecided(state: tuple[Array, Array, Array]) -> Array:
        bit, _, number = state
        return (bit > 0) & (number != k)

    def raise_bound(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        bit, bound, number = state
        reached = count(bound + bit)
        holds = reached >= k
        return bit >> 1, jnp.where(holds, bound + bit, bound), jnp.where(holds, reached, number)

    reached = count(zero)
    holds = reached >= k
    state = (
        jnp.array(1 << (bits - 2), integer),
        jnp.where(holds, zero, least),
        jnp.where(holds, reached, start),
    )
    _, bound, _ = jax.lax.while_loop(undecided, raise_bound, state)
    above = [jnp.min(jnp.where(piece >= bound, piece, most)) for piece in keys]
    out[...] = turned(functools.reduce(jnp.minimum, above)).astype(out.dtype)
