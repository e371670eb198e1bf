"""Stacks of layers; `test_layer` tests what the layers compute."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sffa_jax.core import overlays
from sffa_jax.core.architectures import conv_layers
from sffa_jax.core.class_units import learned
from sffa_jax.core.network import Network, activities, init_network, layer_logits
from sffa_jax.core.rules import sffa, with_class_units
from sffa_jax.training import backprop


def test_the_layers_that_pool_can_be_named():
    layers = conv_layers((8, 8), (4, 4, 4), pooled=[1])
    assert [layer.pool for layer in layers] == [None, "max", None]
    assert layers[2].grid.height == 4
    with pytest.raises(ValueError, match=r"`pooled` must be below 3 layers, got 3"):
        conv_layers((8, 8), (4, 4, 4), pooled=[3])


def test_bfloat16_maps_change_logits_by_rounding_only():
    """Maps are passed on in bfloat16; logits and all gradients stay float32."""
    x = jax.random.normal(jax.random.key(0), (6, 8 * 8 * 2))
    rule = with_class_units(sffa(logit_scale=12.0, eps=1e-3, loss="softmax"), learned())

    def results(precision):
        layers = conv_layers((8, 8, 2), (4, 8), precision=precision, normalization="batch")
        network = Network(layers, rule, overlays.none(), num_classes=3)
        params = init_network(network, jax.random.key(1), x[:1])

        def energy(layers):
            logits = layer_logits(network, params.replace(layers=layers), x)
            return jnp.sum(jnp.square(logits)), logits

        gradient, logits = jax.grad(energy, has_aux=True)(params.layers)
        return logits, gradient, list(activities(network, params, x))

    run = jax.jit(results, static_argnums=0)
    (exact, _, maps), (rounded, gradient, small) = run("float32"), run("bfloat16")
    assert [h.dtype for h in small] == [jnp.bfloat16] * 2
    assert {leaf.dtype for leaf in jax.tree.leaves((rounded, gradient, maps))} == {exact.dtype}
    np.testing.assert_allclose(rounded, exact, atol=0.15)
    assert np.abs(exact).max() > 0.5


def test_a_readout_of_bfloat16_maps_is_not_rounded():
    """The scores are the product of the maps that it reads with its weights, in float32."""
    x = jax.random.normal(jax.random.key(0), (6, 64))
    layers = conv_layers((8, 8), (4, 8), precision="bfloat16")
    with_readout = backprop.with_readout(layers, 10)
    params, _ = backprop.init_layers(with_readout, jax.random.key(1), x)
    maps = backprop.hidden_activities(layers, params, x)[-1]
    np.testing.assert_array_equal(maps, maps.astype(jnp.bfloat16))  # so they were computed
    expected = np.float64(maps) @ np.float64(params[-1]["kernels"]["input"])
    np.testing.assert_allclose(backprop.logits(with_readout, params, x), expected, atol=1e-6)
