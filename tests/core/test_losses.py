from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from jax.test_util import check_grads
from unchecked import no_shape_checks

from sffa_jax.core import losses

TARGETS = jnp.asarray(np.array([[True, False], [False, True]]))
ZEROS = jnp.asarray(np.zeros((2, 2), np.float32))


@partial(jax.jit, static_argnums=0)
def value_and_slope(loss, *arguments):
    """The sum of a loss, and its gradient by the logits."""
    return jax.value_and_grad(lambda z, *others: loss(z, *others).sum())(*arguments)


def test_binary_cross_entropy_is_the_two_pass_loss():
    logits = jnp.array([[0.3, -1.2], [2.0, 0.5]])
    p = jax.nn.sigmoid(logits)
    expected = [oracles.two_pass_loss(p[0, 0], p[0, 1]), oracles.two_pass_loss(p[1, 1], p[1, 0])]
    np.testing.assert_allclose(losses.binary_cross_entropy(logits, TARGETS), expected, rtol=1e-6)


def test_negatives_weigh_as_much_as_the_positive():
    logits = jnp.array([[0.0, 3.0, 3.0, 3.0]])
    targets = jnp.array([[True, False, False, False]])
    expected = 0.5 * np.log(2) + 0.5 * np.log1p(np.exp(3.0))
    np.testing.assert_allclose(losses.binary_cross_entropy(logits, targets), [expected], rtol=1e-6)


@pytest.mark.parametrize("name", losses.LOSSES)
def test_value_at_indifference(name):
    loss = jax.jit(losses.LOSSES[name])(ZEROS, TARGETS)
    np.testing.assert_allclose(loss, np.log(2), rtol=1e-6)


@pytest.mark.parametrize("name", losses.LOSSES)
def test_slopes_raise_the_positive_and_lower_the_negatives(name):
    slope = np.asarray(value_and_slope(losses.LOSSES[name], ZEROS, TARGETS)[1])
    assert np.all(np.where(TARGETS, slope < 0, slope > 0))


@pytest.mark.parametrize("name", losses.LOSSES)
def test_finite_far_out(name):
    logits = jnp.asarray(np.float32([[-1e4, 1e4], [1e4, -1e4]]))
    value, slope = value_and_slope(losses.LOSSES[name], logits, TARGETS)
    assert np.isfinite(value)
    assert np.isfinite(slope).all()


@pytest.mark.parametrize("name", losses.LOSSES)
def test_shapes_must_agree(name):
    with pytest.raises((ValueError, TypeError)):
        losses.LOSSES[name](jnp.zeros((2, 3)), TARGETS)


def test_activity_factor_by_hand():
    """Positive samples: means 1 and 3; negative ones: 2 and 0; both average over two samples."""
    h = jnp.array([[[0.0, 2.0], [2.0, 2.0]], [[0.0, 0.0], [3.0, 3.0]]])
    found = losses.activity_factor(h, TARGETS, rate=0.5)
    np.testing.assert_allclose(found, 1 + np.exp(-0.5 * (2.0 + 1.0)), rtol=1e-6)
    assert losses.activity_factor(0 * h, TARGETS, rate=10.0) == 2
    weak = jnp.full_like(h, 0.25, jnp.bfloat16)  # exact in this type, unlike the factor
    found = losses.activity_factor(weak, TARGETS, rate=10.0)
    np.testing.assert_allclose(found, 1 + np.exp(-5), rtol=1e-6)


LOGITS = jnp.array([[0.3, -1.2, 0.8], [2.0, 0.5, -0.4]])
THREE = jnp.array([[True, False, False], [False, True, False]])


@pytest.mark.parametrize("name", losses.LOSSES)
def test_candidates_that_are_not_allowed_have_no_effect(name):
    """The loss over the allowed candidates is the loss without the others, and so is its slope."""
    allowed = jnp.asarray(np.array([[True, True, False], [True, True, False]]))
    loss = losses.LOSSES[name]
    value, slope = value_and_slope(loss, LOGITS, THREE, allowed)
    pair, slope_of_pair = value_and_slope(
        loss, *(jnp.asarray(np.asarray(x)[:, :2]) for x in (LOGITS, THREE))
    )
    slope = np.asarray(slope)
    np.testing.assert_allclose(value, pair, rtol=1e-6)
    np.testing.assert_allclose(slope[:, :2], slope_of_pair, rtol=1e-6)
    np.testing.assert_array_equal(slope[:, 2], [0, 0])


def test_label_smoothing_by_hand():
    loss = partial(losses.softmax_cross_entropy, label_smoothing=0.3)
    found = jax.jit(loss)(LOGITS, THREE)
    z = np.float64(LOGITS)
    log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    targets = 0.7 * np.array(THREE) + 0.1
    np.testing.assert_allclose(found, -(targets * log_p).sum(axis=1), rtol=1e-5)


def test_symba_is_the_softplus_of_differences():
    symba, softmax = jax.jit(losses.symba), jax.jit(losses.softmax_cross_entropy)
    found = symba(LOGITS, THREE)
    expected = [
        (oracles.softplus(-1.2 - 0.3) + oracles.softplus(0.8 - 0.3)) / 2,
        (oracles.softplus(2.0 - 0.5) + oracles.softplus(-0.4 - 0.5)) / 2,
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    pair, target = (jnp.asarray(np.asarray(x)[:, :2]) for x in (LOGITS, THREE))
    np.testing.assert_allclose(symba(pair, target), softmax(pair, target), rtol=1e-5)


@pytest.mark.parametrize(
    "loss",
    [
        lambda z: losses.binary_cross_entropy(z, THREE),
        lambda z: losses.softmax_cross_entropy(z, THREE, label_smoothing=0.2),
        lambda z: losses.symba(z, THREE),
    ],
    ids=["bce", "softmax", "symba"],
)
def test_gradients_match_finite_differences(loss):
    with jax.enable_x64(True):
        z = jnp.asarray(np.float64(LOGITS))
        check_grads(jax.jit(loss), (z,), order=1, modes=["rev"], atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("name", losses.LOSSES)
def test_targets_are_bool(name):
    with pytest.raises(TypeError, match="`targets` must be bool, got int32"), no_shape_checks():
        losses.LOSSES[name](jnp.zeros((1, 3)), jnp.array([[1, 0, 0]]))


@pytest.mark.parametrize("name", losses.LOSSES)
def test_a_candidate_that_takes_no_part_may_have_any_logit(name):
    logits, targets = jnp.array([[1.0, jnp.inf, 0.0]]), jnp.array([[True, False, False]])
    loss = losses.LOSSES[name](logits, targets, jnp.array([[True, False, True]]))
    expected = losses.LOSSES[name](logits[:, ::2], targets[:, ::2])
    np.testing.assert_allclose(loss, expected, rtol=1e-6)
