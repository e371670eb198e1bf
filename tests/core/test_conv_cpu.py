"""Convolution against XLA's own, values and gradients."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from sffa_jax.core.conv_cpu import convolve


@pytest.mark.parametrize("padding", ["SAME", "VALID", [(2, 1), (0, 3)]])
@pytest.mark.parametrize("strides", [(1, 1), (2, 2), (2, 3)])
@pytest.mark.parametrize("kernel", [(3, 3), (1, 1), (4, 2)])
def test_values_and_gradients(kernel, strides, padding):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 9, 8, 3)).astype(np.float32)
    w = rng.normal(size=(*kernel, 3, 5)).astype(np.float32)

    @partial(jax.jit, static_argnums=0)
    def value_and_gradients(function, x, w):
        out, pull = jax.vjp(function, x, w)
        weights = np.random.default_rng(0).normal(size=out.shape).astype(np.float32)
        return out, *pull(jnp.asarray(weights))

    def ours(x, w):
        unused = {"lhs_dilation": (1, 1), "rhs_dilation": (1, 1), "feature_group_count": 1}
        return convolve(x, w, strides, padding, precision=None, **unused)

    def theirs(x, w):
        return jax.lax.conv_general_dilated(
            x, w, strides, padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
        )

    out, *gradients = value_and_gradients(ours, x, w)
    expected_out, *expected_gradients = value_and_gradients(theirs, x, w)
    np.testing.assert_allclose(out, expected_out, rtol=1e-5, atol=1e-5)
    for gradient, expected in zip(gradients, expected_gradients, strict=True):
        np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "options", [{}, {"kernel_dilation": 2}, {"feature_group_count": 3}, {"strides": 2}]
)
def test_it_stands_for_xlas_in_flax(options):
    x = jax.random.normal(jax.random.key(0), (2, 4, 9, 8, 3))
    plain = nn.Conv(6, (3, 3), **options)
    params = jax.jit(plain.init)(jax.random.key(1), x)
    ours = nn.Conv(6, (3, 3), conv_general_dilated=convolve, **options)

    @partial(jax.jit, static_argnums=0)
    def value_and_gradient(module, params):
        out, pull = jax.vjp(lambda p: module.apply(p, x), params)
        return out, *jax.tree.leaves(pull(jnp.cos(out)))

    out, *gradients = value_and_gradient(ours, params)
    expected_out, *expected_gradients = value_and_gradient(plain, params)
    np.testing.assert_allclose(out, expected_out, rtol=1e-5, atol=1e-5)
    for gradient, expected in zip(gradients, expected_gradients, strict=True):
        np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-4)
