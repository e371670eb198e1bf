"""Convolution with gradients that are fast on CPU, also inside loops.

Inside a `scan`, XLA's CPU backend computes both gradients of a convolution by plain loops, up to
tens of times slower than matrix products (docs/performance.md). On CPU, this module computes the
kernel's by one matrix product per kernel row, and the input's, which only backprop needs, by a
forward convolution with the turned kernel. Other backends use XLA's gradients. JAX has no
forward-mode derivative (`jax.jvp`, `jax.jacfwd`) of a function with a gradient of its own.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

DIMENSIONS = ("NHWC", "HWIO", "NHWC")


def convolve(
    x: Float[Array, "samples h w c_in"],
    kernel: Float[Array, "k_h k_w c_group c_out"],
    strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    **options: Any,
) -> Float[Array, "samples h_out w_out c_out"]:
    """Computes `lax.conv_general_dilated` of images with channels last; replaces it in `nn.Conv`.

    Args:
      x: images.
      kernel: weights.
      strides: step along rows and columns.
      padding: "SAME", "VALID", or zeros before and after, rows first.
      options: further arguments of `nn.Conv`. With dilation or groups, the gradient is XLA's.
    """
    plain = (
        all(d == 1 for d in (*options["lhs_dilation"], *options["rhs_dilation"]))
        and options["feature_group_count"] == 1
    )
    if not plain:
        return lax.conv_general_dilated(x, kernel, strides, padding, **options)
    size = kernel.shape[:2]
    if isinstance(padding, str):
        padding = lax.padtype_to_pads(x.shape[1:3], size, strides, padding)
    return _convolve(x, kernel, tuple(strides), tuple(map(tuple, padding)), options["precision"])


def _native(x: Array, kernel: Array, strides: Any, padding: Any, precision: Any) -> Array:
    return lax.conv_general_dilated(
        x, kernel, strides, padding, dimension_numbers=DIMENSIONS, precision=precision
    )


_convolve = jax.custom_vjp(_native, nondiff_argnums=(2, 3, 4))


def _forward(
    x: Array, kernel: Array, strides: Any, padding: Any, precision: Any
) -> tuple[Array, tuple[Array, Array]]:
    return _native(x, kernel, strides, padding, precision), (x, kernel)


def _backward(
    strides: Any, padding: Any, precision: Any, saved: tuple[Array, Array], g: Array
) -> tuple[Array, Array]:
    x, kernel = saved
    native = partial(_native, strides=strides, padding=padding, precision=precision)

    def by_xla(x: Array, kernel: Array, g: Array) -> tuple[Array, Array]:
        return jax.vjp(native, x, kernel)[1](g)

    def on_cpu(x: Array, kernel: Array, g: Array) -> tuple[Array, Array]:
        to_x = _input_gradient(kernel, g, x.shape, strides, padding, precision)
        to_kernel = _kernel_gradient(x, g, kernel.shape, strides, padding, precision)
        return to_x.astype(x.dtype), to_kernel.astype(kernel.dtype)

    return lax.platform_dependent(x, kernel, g, cpu=on_cpu, default=by_xla)


_convolve.defvjp(_forward, _backward)


def _input_gradient(
    kernel: Array, g: Array, shape: tuple[int, ...], strides: Any, padding: Any, precision: Any
) -> Array:
    """Convolves the output gradient, spread by the strides, with the turned kernel."""
    spread = [(0, 0, 0)]
    for size, k, length, stride, (before, _) in zip(
        shape[1:3], kernel.shape[:2], g.shape[1:3], strides, padding, strict=True
    ):
        first = k - 1 - before
        last = size + k - 1 - first - ((length - 1) * stride + 1)
        spread.append((first, last, stride - 1))
    g = lax.pad(g, jnp.zeros((), g.dtype), [*spread, (0, 0, 0)])
    turned = jnp.flip(kernel, (0, 1)).swapaxes(2, 3)
    return _native(g, turned, (1, 1), ((0, 0), (0, 0)), precision)


def _kernel_gradient(
    x: Array, g: Array, shape: tuple[int, ...], strides: Any, padding: Any, precision: Any
) -> Array:
    """Computes one product per kernel row: the pixels under that row times the output gradient."""
    rows, columns, c_in, c_out = shape
    (down, along), (h, w) = strides, g.shape[1:3]
    x = jnp.pad(x, ((0, 0), *padding, (0, 0)))

    flat = g.reshape(-1, c_out)

    def of_row(i: Array) -> Array:
        under = lax.dynamic_slice_in_dim(x, i, (h - 1) * down + 1, 1)[:, ::down]
        beside = [
            lax.slice_in_dim(under, j, j + (w - 1) * along + 1, along, 2) for j in range(columns)
        ]
        pixels = jnp.concatenate(beside, axis=-1).reshape(-1, columns * c_in)
        return lax.dot_general(pixels, flat, (((0,), (0,)), ((), ())), precision=precision)

    # Rows in sequence; in parallel, XLA would store the pixels under all rows of all layers.
    return lax.map(of_row, jnp.arange(rows)).reshape(shape)
