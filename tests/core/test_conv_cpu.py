"""Convolution against XLA's own, values and gradients."""

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
    x = jax.random.normal(jax.random.key(0), (2, 9, 8, 3))
    w = jax.random.normal(jax.random.key(1), (*kernel, 3, 5))
    weights = None

    def loss(function, x, w):
        nonlocal weights
        out = function(x, w)
        weights = np.random.default_rng(0).normal(size=out.shape).astype(np.float32)
        return jnp.sum(out * weights)

    def ours(x, w):
        unused = {"lhs_dilation": (1, 1), "rhs_dilation": (1, 1), "feature_group_count": 1}
        return convolve(x, w, strides, padding, precision=None, **unused)

    def theirs(x, w):
        return jax.lax.conv_general_dilated(
            x, w, strides, padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
        )

    np.testing.assert_allclose(ours(x, w), theirs(x, w), rtol=1e-5, atol=1e-5)
    for argument in (1, 2):
        found = jax.grad(loss, argument)(ours, x, w)
        expected = jax.grad(loss, argument)(theirs, x, w)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "options", [{}, {"kernel_dilation": 2}, {"feature_group_count": 3}, {"strides": 2}]
)
def test_it_stands_for_xlas_in_flax(options):
    x = jax.random.normal(jax.random.key(0), (2, 4, 9, 8, 3))
    plain = nn.Conv(6, (3, 3), **options)
    params = plain.init(jax.random.key(1), x)
    ours = nn.Conv(6, (3, 3), conv_general_dilated=convolve, **options)
    np.testing.assert_allclose(ours.apply(params, x), plain.apply(params, x), rtol=1e-5, atol=1e-5)

    def loss(module, params):
        return jnp.sum(jnp.sin(module.apply(params, x)))

    expected = jax.grad(loss, 1)(plain, params)
    for found, wanted in zip(
        jax.tree.leaves(jax.grad(loss, 1)(ours, params)), jax.tree.leaves(expected), strict=True
    ):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)
