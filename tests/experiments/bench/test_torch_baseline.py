"""The PyTorch baseline and the library compute the same losses and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sffa_jax.core import negatives, rules
from sffa_jax.core.architectures import dense_layers
from sffa_jax.core.network import Network
from sffa_jax.core.overlays import Overlay, appended_gaussian, parts
from sffa_jax.training.local import layer_loss

torch = pytest.importorskip("torch", reason="needs the extra `torch`")
torch_baseline = pytest.importorskip("experiments.bench.torch_baseline")


@pytest.mark.parametrize("winners", [0, 2])
@pytest.mark.parametrize("algorithm", ["sffa", "ffa"])
def test_losses_and_gradients_agree(algorithm, winners):
    network = torch_baseline.ForwardOnly(algorithm, 6, [8], 3, winners)
    random = np.random.default_rng(0)
    x = random.normal(size=(5, 6)).astype(np.float32)
    labels, wrong = np.array([0, 1, 2, 0, 1]), np.array([1, 2, 0, 2, 0])
    (loss,) = network.losses(*map(torch.tensor, (x, labels, wrong)))
    loss.backward()
    weight = network.layers[0].weight
    kernel = weight.detach().numpy().T
    rule = {
        "sffa": rules.sffa(logit_scale=6, eps=1),
        "ffa": rules.ffa(threshold=0.3, logit_scale=20),
    }
    layers = dense_layers([8], winners=winners or None)
    local = Network(layers, rule[algorithm], appended_gaussian(), 3)
    candidates = jnp.stack([labels, wrong], axis=1)

    def mean_loss(kernel):
        params = {"kernels": {"input": kernel[:6], "label": kernel[6:]}}
        inputs = parts(Overlay(appended=jnp.array(network.codes.numpy())), jnp.array(x))
        targets = negatives.targets(candidates, jnp.array(labels), 3)
        return layer_loss(local, 0, params, inputs, candidates, targets).loss.mean()

    value, gradient = jax.value_and_grad(mean_loss)(jnp.array(kernel))
    np.testing.assert_allclose(value, loss.item(), rtol=1e-5)
    np.testing.assert_allclose(gradient, weight.grad.numpy().T, rtol=1e-3, atol=1e-6)
