"""Stacks of layers; `test_layer` tests what the layers compute."""

import pytest

from sffa_jax.core.architectures import conv_layers


def test_the_layers_that_pool_can_be_named():
    layers = conv_layers((8, 8), (4, 4, 4), pooled=[1])
    assert [layer.pool for layer in layers] == [None, "max", None]
    assert layers[2].grid.height == 4
    with pytest.raises(ValueError, match=r"`pooled` must be below 3 layers, got 3"):
        conv_layers((8, 8), (4, 4, 4), pooled=[3])
