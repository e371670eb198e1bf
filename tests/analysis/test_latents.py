"""What each layer makes of an image without a label."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sffa_jax.analysis import latents
from sffa_jax.core import overlays, rules
from sffa_jax.core.architectures import dense_layers
from sffa_jax.core.network import Network, init_network

X = jnp.asarray(np.random.default_rng(0).normal(size=(5, 12)), jnp.float32)
OVERLAYS = {
    "appended": overlays.appended_gaussian(size=4),
    "corner": overlays.corner_one_hot(),
}


def network_of(overlay):
    return Network(dense_layers((8, 6)), rules.sffa(eps=0.1), OVERLAYS[overlay], 3)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_without_a_label(overlay):
    network = network_of(overlay)

    @jax.jit
    def run(key):
        params = init_network(network, key, X)
        return params.layers[0]["kernels"]["input"], latents.without_label(network, params, X)

    kernel, (first, second) = run(jax.random.key(0))
    kept = np.array(X)
    if overlay == "corner":
        kept[:, :3] = 0
    np.testing.assert_allclose(first, np.maximum(kept @ kernel, 0), rtol=1e-4, atol=1e-6)
    assert second.shape == (5, 6)
