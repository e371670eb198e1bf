import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from sffa_jax import sffa
from sffa_jax.core import overlays
from sffa_jax.core.architectures import dense_layers
from sffa_jax.core.network import Network
from sffa_jax.training.adversarial import perturb
from sffa_jax.training.backprop import backprop_learner
from sffa_jax.training.local import local_learner

X = jax.random.normal(jax.random.key(0), (4, 12))
LABELS = jnp.array([0, 1, 2, 1])


def test_samples_move_uphill_by_the_length_that_was_asked_for():
    """On a linear loss the gradient is known: the weights."""
    w = jnp.arange(1.0, 13.0)
    moved = perturb(lambda x: x @ w, X, 0.5)
    expected = np.float64(X) + 0.5 * np.arange(1.0, 13.0) / np.linalg.norm(np.arange(1.0, 13.0))
    np.testing.assert_allclose(moved, expected, rtol=1e-5)


def test_a_flat_loss_moves_nothing():
    np.testing.assert_array_equal(perturb(lambda x: 0 * x.sum(axis=1), X, 0.5), X)


def network(hidden=(8, 6)):
    return Network(dense_layers(hidden), sffa(logit_scale=3.0), overlays.corner_one_hot(), 3)


def test_the_move_depends_on_the_first_layer_alone():
    learner = local_learner(network(), optax.sgd(0.1), adversarial=0.5)
    alone = local_learner(network((8,)), optax.sgd(0.1), adversarial=0.5)
    state, single = (each.init(jax.random.key(1), X) for each in (learner, alone))
    new, losses = learner.step(state, jax.random.key(2), X, LABELS)
    other, expected = alone.step(single, jax.random.key(2), X, LABELS)
    assert losses[0] == expected[0]
    for a, b in zip(jax.tree.leaves(new.layers[0]), jax.tree.leaves(other.layers[0]), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", ["local", "backprop"])
def test_moved_images_are_harder(name):
    def make(adversarial):
        if name == "local":
            return local_learner(network(), optax.sgd(0.1), adversarial=adversarial)
        return backprop_learner(dense_layers([8]), 3, optax.sgd(0.1), adversarial=adversarial)

    plain, moved = make(None), make(0.3)
    state = plain.init(jax.random.key(1), X)
    _, before = plain.step(state, jax.random.key(2), X, LABELS)
    _, after = moved.step(state, jax.random.key(2), X, LABELS)
    assert after[0] > before[0]


def test_a_move_has_a_length():
    with pytest.raises(ValueError, match=r"`adversarial` must be a number above 0, got 0"):
        local_learner(network(), optax.sgd(0.1), adversarial=0.0)
