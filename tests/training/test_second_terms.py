"""The second term in an update."""

import dataclasses
from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
from networks_with_heads import with_heads

from sffa_jax.core import network
from sffa_jax.core.layer import training_activity
from sffa_jax.core.overlays import parts
from sffa_jax.training import local

X = jnp.asarray(np.random.default_rng(0).normal(size=(4, 12)).astype(np.float32))
LABELS = jnp.array([0, 1, 2, 1])


def test_the_second_term_is_added_to_the_layers_own_gradient():
    """The update's gradient is that of the rule's loss plus the weighted term, head included."""
    net = with_heads()
    first = dataclasses.replace(net, layers=net.layers[:1])

    @jax.jit
    def gradients():
        params = network.init_network(first, jax.random.key(1), X)

        def loss(rule, of_layer):
            part = dataclasses.replace(first, rule=rule)
            batch = parts(params.overlay, X), None, LABELS[:, None] == jnp.arange(3)[None]
            info = local.layer_loss(part, 0, of_layer, *batch, params.states[0], train=True)
            return info.mean_loss

        def term(of_layer):
            inputs = parts(params.overlay, X)
            h, _ = training_activity(
                first.layers[0], of_layer, params.states[0], inputs, None, None
            )
            losses = net.rule.second_term.loss(of_layer["second_term"], h[:, 0], LABELS, 3)
            return losses.mean()

        parts_of_sum = partial(loss, net.rule._replace(second_term=None)), term
        layer = params.layers[0]
        both = [jax.grad(part)(layer) for part in parts_of_sum]
        return jax.grad(partial(loss, net.rule))(layer), jax.tree.map(jnp.add, *both)

    total, added = gradients()
    assert np.abs(total["second_term"]).max() > 0
    chex.assert_trees_all_close(total, added, rtol=1e-4, atol=1e-6)
