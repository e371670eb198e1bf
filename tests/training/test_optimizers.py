"""Optimizers of `local_learner`."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from oracles import plateau_scales

from sffa_jax import Network, backprop_learner, dense_layers, local_learner, overlays, sffa

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
    learner = local_learner(net, steps.gradient_transformation())
    state = learner.init(jax.random.key(0), X)
    once, _ = jax.jit(learner.step)(state, jax.random.key(1), X, LABELS)
    twice, _ = jax.jit(learner.step)(once, jax.random.key(2), X, LABELS)
    before, first, second = (jax.tree.leaves(s.params.layers) for s in (state, once, twice))
    np.testing.assert_array_equal(before[0], first[0])
    assert np.any(before[0] != second[0])


def plateau():
    """Gradient descent whose rate is multiplied by 0.1 after each update without a lower loss."""
    return optax.chain(optax.sgd(0.5), optax.contrib.reduce_on_plateau(factor=0.1, patience=1))


@pytest.mark.parametrize("make", ["local", "backprop"])
def test_an_optimizer_gets_the_loss_of_its_layer(make):
    if make == "local":
        learner = local_learner(network((6, 4)), plateau())
    else:
        learner = backprop_learner(dense_layers((6,)), 3, plateau())

    def run(key):
        key_init, key_steps = jax.random.split(key)

        def step(state, key):
            state, losses = learner.step(state, key, X, LABELS)
            layers = state.layers if make == "local" else [state]
            scales = jnp.stack([layer.opt_state[1].scale for layer in layers])
            return state, (losses, scales)

        return jax.lax.scan(step, learner.init(key_init, X), jax.random.split(key_steps, 30))[1]

    losses, scales = jax.jit(jax.vmap(run))(jax.random.split(jax.random.key(0), 2))
    for losses_of_run, scales_of_run in zip(losses, scales, strict=True):
        for layer in range(losses_of_run.shape[1]):
            expected = plateau_scales(np.asarray(losses_of_run[:, layer]))
            np.testing.assert_allclose(scales_of_run[:, layer], expected, rtol=1e-4)
    assert make == "backprop" or np.any(scales[..., 0] != scales[..., 1])


def test_steps_of_several_batches_pass_the_loss_on():
    steps = optax.MultiSteps(plateau(), 2)
    optimizer = optax.GradientTransformationExtraArgs(steps.init, steps.update)
    learner = local_learner(network((4,)), optimizer)
    state, losses = learner.init(jax.random.key(0), X), []
    for i in range(4):
        state, loss = jax.jit(learner.step)(state, jax.random.key(i), X, LABELS)
        losses.append(float(loss[0]))
    reduced = state.layers[0].opt_state.inner_opt_state[1]
    np.testing.assert_allclose(reduced.scale, plateau_scales(losses[1::2])[-1], rtol=1e-5)
    assert np.isfinite(reduced.best_value)
