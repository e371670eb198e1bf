import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from sffa_jax import sffa
from sffa_jax.core import overlays
from sffa_jax.core.architectures import dense_layers
from sffa_jax.core.network import Network
from sffa_jax.training.local import local_learner
from sffa_jax.training.update_order import greedy

X = jax.random.normal(jax.random.key(0), (6, 12))
LABELS = jnp.array([0, 1, 2, 0, 1, 2])


def build(hidden):
    return Network(dense_layers(hidden), sffa(logit_scale=3.0), overlays.corner_one_hot(), 3)


def greedy_learner(network, optimizer, steps_per_layer):
    return local_learner(network, optimizer, update_order=greedy(steps_per_layer))


def run(learner, steps):
    state = learner.init(jax.random.key(1), X)
    step = jax.jit(learner.step)
    states, losses = [state], []
    for i in range(steps):
        state, loss = step(state, jax.random.key(i), X, LABELS)
        states.append(state)
        losses.append(loss)
    return states, np.array(losses)


def moved(before, after):
    return [
        not np.array_equal(jax.tree.leaves(a.params)[0], jax.tree.leaves(b.params)[0])
        for a, b in zip(before.layers, after.layers, strict=True)
    ]


def test_one_layer_at_a_time():
    states, losses = run(greedy_learner(build((8, 6, 4)), optax.adam(1e-2), 4), 14)
    for i in range(14):
        turn = min(i // 4, 2)
        assert moved(states[i], states[i + 1]) == [k == turn for k in range(3)]
        assert [bool(loss) for loss in losses[i]] == [k == turn for k in range(3)]


def test_the_first_layer_learns_as_if_it_were_alone():
    states, losses = run(greedy_learner(build((8, 6)), optax.adam(1e-2), 5), 5)
    alone, expected = run(local_learner(build((8,)), optax.adam(1e-2)), 5)
    np.testing.assert_array_equal(losses[:, 0], expected[:, 0])
    chex.assert_trees_all_equal(states[-1].layers[0], alone[-1].layers[0])


def test_layers_that_have_not_begun_are_silent():
    learner = greedy_learner(build((8, 6)), optax.adam(1e-2), 3)
    states, _ = run(learner, 4)
    # The second layer's first update is the fourth.
    for state, heard in [(states[3], [True, False]), (states[4], [True, True])]:
        scores = learner.scores(state, X)
        assert [bool(jnp.any(layer != 0)) for layer in scores] == heard


def test_a_turn_lasts_at_least_one_step():
    with pytest.raises(ValueError, match=r"`steps_per_layer` must be at least 1, got 0"):
        greedy_learner(build((8,)), optax.adam(1e-2), 0)


def test_an_order_is_a_function_of_updates():
    network = build((8, 6))
    with pytest.raises(
        TypeError, match=r"`update_order` must be a function of \(updates, states, s"
    ):
        local_learner(network, optax.adam(1e-2), update_order=greedy)


def test_a_restart_keeps_the_turn():
    """Layers that have learned keep their vote, and the last one goes on."""
    learner = greedy_learner(build((8, 6)), optax.adam(1e-2), 2)
    states, _ = run(learner, 4)
    again = learner.restart(states[4])
    np.testing.assert_array_equal(learner.scores(again, X), learner.scores(states[4], X))
