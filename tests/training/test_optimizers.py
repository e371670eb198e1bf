"""Optimizers of `local_learner`."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from unchecked import no_shape_checks

from sffa_jax import Network, dense_layers, local_learner, overlays, sffa

X = jnp.asarray(np.random.default_rng(0).normal(size=(4, 12)).astype(np.float32))
LABELS = jnp.array([0, 1, 2, 1])


def network(widths):
    return Network(dense_layers(widths), sffa(), overlays.corner_one_hot(), 3)


def test_each_layer_can_have_an_optimizer():
    net = network((6, 4))
    learner = local_learner(net, [optax.sgd(0.0), optax.adam(1e-2)])
    state = jax.jit(learner.init)(jax.random.key(0), X)
    new, _ = jax.jit(learner.step)(state, jax.random.key(1), X, LABELS)
    same = [
        np.array_equal(*map(jax.tree.leaves, (a.params, b.params)))
        for a, b in zip(state.layers, new.layers, strict=True)
    ]
    assert same == [True, False]
    with pytest.raises(ValueError, match="one for each of the 2 layers, got 3"):
        local_learner(net, [optax.sgd(0.1)] * 3)


def test_steps_of_several_batches():
    net = network((4,))
    steps = optax.MultiSteps(optax.sgd(0.1), 2)
    rule = (
        r"`optimizer` must be an optax optimizer, got MultiSteps. Of `optax.MultiSteps`, pass its"
    )
    with pytest.raises(TypeError, match=rule), no_shape_checks():
        local_learner(net, steps)
    learner = local_learner(net, steps.gradient_transformation())
    state = learner.init(jax.random.key(0), X)
    once, _ = jax.jit(learner.step)(state, jax.random.key(1), X, LABELS)
    twice, _ = jax.jit(learner.step)(once, jax.random.key(2), X, LABELS)
    before, first, second = (jax.tree.leaves(s.params.layers) for s in (state, once, twice))
    np.testing.assert_array_equal(before[0], first[0])
    assert np.any(before[0] != second[0])
