from unittest import mock

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from unchecked import no_shape_checks

from sffa_jax import sffa
from sffa_jax.core import overlays
from sffa_jax.core.architectures import dense_layers
from sffa_jax.core.network import Network
from sffa_jax.training import local
from sffa_jax.training.adversarial import perturb
from sffa_jax.training.backprop import backprop_learner
from sffa_jax.training.local import local_learner

X = jnp.asarray(np.random.default_rng(0).normal(size=(4, 12)), jnp.float32)
LABELS = jnp.asarray(np.array([0, 1, 2, 1], np.int32))


def test_samples_move_uphill_by_the_length_that_was_asked_for():
    """On a linear loss the gradient is known: the weights."""
    w = np.arange(1.0, 13.0, dtype=np.float32)
    moved = jax.jit(lambda x: perturb(lambda x: x @ w, x, 0.5))(X)
    expected = np.float64(X) + 0.5 * np.arange(1.0, 13.0) / np.linalg.norm(np.arange(1.0, 13.0))
    np.testing.assert_allclose(moved, expected, rtol=1e-5)


@pytest.mark.parametrize("size_of_gradient", [1e-14, 1e-22, 1e-36, 1e22])
def test_a_confident_sample_moves_as_far(size_of_gradient):
    moved = jax.jit(lambda x: perturb(lambda x: size_of_gradient * x.sum(axis=1), x, 0.5))(X)
    np.testing.assert_allclose(moved, np.float64(X) + 0.5 / np.sqrt(12), rtol=1e-5)


def test_a_flat_loss_moves_nothing():
    moved = jax.jit(lambda x: perturb(lambda x: 0 * x.sum(axis=1), x, 0.5))(X)
    np.testing.assert_array_equal(moved, X)


def network(hidden=(8, 6)):
    return Network(dense_layers(hidden), sffa(logit_scale=3.0), overlays.corner_one_hot(), 3)


def test_the_move_depends_on_the_first_layer_alone():
    learner = local_learner(network(), optax.sgd(0.1), adversarial=0.5)
    alone = local_learner(network((8,)), optax.sgd(0.1), adversarial=0.5)

    def first_step(learner):
        """In a program of its own, which knows no other learner."""
        keys = jax.random.key(1), jax.random.key(2)
        return jax.jit(lambda init, key: learner.step(learner.init(init, X), key, X, LABELS))(*keys)

    (new, losses), (other, expected) = map(first_step, (learner, alone))
    assert np.asarray(losses)[0] == np.asarray(expected)[0]
    chex.assert_trees_all_equal(new.layers[0], other.layers[0])


@pytest.mark.parametrize("name", ["local", "backprop"])
def test_moved_images_are_harder(name):
    def make(adversarial):
        if name == "local":
            return local_learner(network(), optax.sgd(0.1), adversarial=adversarial)
        return backprop_learner(dense_layers([8]), 3, optax.sgd(0.1), adversarial=adversarial)

    plain, moved = make(None), make(0.3)

    @jax.jit
    def losses(init, key):
        state = plain.init(init, X)
        return [each.step(state, key, X, LABELS)[1][0] for each in (plain, moved)]

    before, after = losses(jax.random.key(1), jax.random.key(2))
    assert after > before


def test_a_move_has_a_length():
    with pytest.raises(ValueError, match=r"`adversarial` must be a number above 0, got 0"):
        local_learner(network(), optax.sgd(0.1), adversarial=0.0)


def test_the_length_is_that_of_a_whole_image():
    x = jax.random.normal(jax.random.key(0), (2, 4, 4, 3))
    moved = perturb(lambda x: jnp.sum(x**2, axis=(1, 2, 3)), x, 1.0)
    lengths = jnp.linalg.norm((moved - x).reshape(2, -1), axis=-1)
    np.testing.assert_allclose(lengths, 1.0, rtol=1e-5)


def test_a_sample_moves_by_its_own_loss_alone():
    """Also if the rule's activity factor is a mean over the batch: SGD on one sample's loss moves
    as much, whatever the other samples are."""
    rule = sffa(logit_scale=3.0, activity_rate=10.0)
    moves = []
    net = Network(dense_layers((8,)), rule, overlays.corner_one_hot(), 3)
    learner = local_learner(net, optax.sgd(0.1), adversarial=0.5)
    state = learner.init(jax.random.key(1), X)

    def watched(overlay, x):
        moves.append(x)
        return overlays.parts(overlay, x)

    def moved(x):
        with mock.patch.object(local, "parts", watched):
            learner.step(state, jax.random.key(2), x, LABELS)
        return np.asarray(moves[-1])

    with no_shape_checks():
        here, there = moved(X), moved(X.at[1:].multiply(3.0))
    np.testing.assert_allclose(here[0], there[0], rtol=1e-5)
    assert not np.allclose(here[0], X[0])
