"""How well goodness tells labels apart, against scikit-learn and closed forms."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax
from sklearn.calibration import calibration_curve
from sklearn.metrics import log_loss, roc_auc_score

from sffa_jax.analysis import precision

auroc = jax.jit(precision.auroc)


# Few numbers of values, as each compiles a program.
@pytest.mark.parametrize("sizes", [(1, 1), (8, 1), (4, 6)], ids=str)
@given(data=st.data())
def test_auroc(sizes, data):
    """Few distinct values, so that there are ties."""
    right, wrong = (
        data.draw(st.lists(st.integers(-3, 3).map(float), min_size=size, max_size=size))
        for size in sizes
    )
    truth = [1] * len(right) + [0] * len(wrong)
    found = auroc(np.float32(right), np.float32(wrong))
    np.testing.assert_allclose(found, roc_auc_score(truth, right + wrong), atol=1e-6)


def test_reliability():
    random = np.random.default_rng(0)
    probabilities = random.uniform(size=5000).astype(np.float32)
    outcomes = random.uniform(size=5000) < probabilities**2
    diagram = jax.jit(partial(precision.reliability, bins=10))(probabilities, outcomes)
    diagram = jax.tree.map(np.asarray, diagram)
    frequency, confidence = calibration_curve(outcomes, probabilities, n_bins=10)
    np.testing.assert_allclose(diagram.frequency, frequency, rtol=1e-5)
    np.testing.assert_allclose(diagram.confidence, confidence, rtol=1e-5)
    np.testing.assert_allclose(np.sum(diagram.fraction), 1, rtol=1e-6)
    # p against p^2: the mean distance is 1/2 - 1/3.
    np.testing.assert_allclose(precision.calibration_error(diagram), 1 / 6, atol=0.02)


def test_calibration_by_hand():
    probabilities = jnp.array([0.1, 0.1, 0.9, 1.0])
    outcomes = jnp.array([False, True, True, True])
    diagram = precision.reliability(probabilities, outcomes, bins=2)
    np.testing.assert_allclose(diagram.fraction, [0.5, 0.5])
    np.testing.assert_allclose(precision.calibration_error(diagram), 0.5 * 0.4 + 0.5 * 0.05)


def test_histograms():
    found = precision.histograms(jnp.array([0.0, 1.0, 3.9]), jnp.array([0.5, -4.0, -4.0]), bins=2)
    np.testing.assert_allclose(found.right, [0, 1], atol=1e-6)
    np.testing.assert_allclose(found.wrong, [2 / 3, 1 / 3])
    np.testing.assert_allclose(found.overlap, 1 / 3)
    assert len(found.edges) == 3


def test_right_and_wrong():
    right, wrong = precision.right_and_wrong(jnp.arange(6.0).reshape(2, 3), jnp.array([1, 0]))
    np.testing.assert_array_equal(right, [1, 3])
    np.testing.assert_array_equal(wrong, [2, 0, 4, 5])


def test_agreement():
    scores = jax.nn.one_hot(jnp.array([[0, 1, 2, 2], [0, 1, 1, 1]]), 3)
    np.testing.assert_allclose(precision.agreement(scores), [[1, 0.5], [0.5, 1]])


def test_predictions_are_those_of_the_softmax():
    scores = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    labels = np.arange(50) % 4
    predicted = jax.device_get(jax.jit(precision.predictions)(scores, labels))
    probabilities = softmax(scores, axis=1)
    np.testing.assert_array_equal(predicted.labels, probabilities.argmax(axis=1))
    np.testing.assert_allclose(predicted.confidence, probabilities.max(axis=1), rtol=1e-5)
    assert log_loss(labels, probabilities) == pytest.approx(predicted.nll.mean(), rel=1e-5)
    correct = (probabilities.argmax(axis=1) == labels).mean()
    assert np.sum(predicted.diagram.fraction * predicted.diagram.frequency) == pytest.approx(
        correct
    )


@pytest.mark.parametrize("measure", [precision.reliability, precision.histograms])
def test_bad_arguments(measure):
    with pytest.raises(ValueError, match="`bins` must be at least 1, got 0"):
        measure(
            jnp.ones(2), jnp.ones(2, bool if measure is precision.reliability else float), bins=0
        )
