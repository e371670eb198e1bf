"""What each layer makes of an image without a label."""

import jax
import numpy as np
import pytest

from sffa_jax.analysis import latents
from sffa_jax.core import overlays, rules
from sffa_jax.core.architectures import dense_layers
from sffa_jax.core.network import Network, init_network

X = jax.random.normal(jax.random.key(1), (5, 12))
OVERLAYS = {
    "appended": overlays.appended_gaussian(size=4),
    "corner": overlays.corner_one_hot(),
}


def network_of(overlay):
    return Network(dense_layers((8, 6)), rules.sffa(eps=0.1), OVERLAYS[overlay], 3)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_without_a_label(overlay):
    network = network_of(overlay)
    params = init_network(network, jax.random.key(0), X)
    first, second = latents.without_label(network, params, X)
    kept = X if overlay == "appended" else X.at[:, :3].set(0)
    kernel = params.layers[0]["kernels"]["input"]
    np.testing.assert_allclose(first, jax.nn.relu(kept @ kernel), rtol=1e-4, atol=1e-6)
    assert second.shape == (5, 6)
