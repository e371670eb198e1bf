"""Scalars of a layer's logits."""

import jax.numpy as jnp
import numpy as np
import pytest

from sffa_jax.analysis.measures import activity_measures, logit_measures, selective_fields


def test_the_numbering_of_the_classes_has_no_effect():
    rng = np.random.default_rng(0)
    labels = np.arange(200, dtype=np.int32) % 5
    logits = rng.normal(0, 2, (200, 5)).astype(np.float32)
    logits[np.arange(200), labels] += 2
    logits[np.arange(200), (labels + 1) % 5] += 2.5  # one wrong label is taken for the true one
    renamed = np.int32([3, 0, 4, 1, 2])
    (first,) = logit_measures(logits[None], jnp.asarray(labels))
    (second,) = logit_measures(logits[None][..., np.argsort(renamed)], jnp.asarray(renamed[labels]))
    for name, value in first.items():
        np.testing.assert_allclose(second[name], value, rtol=1e-5, err_msg=name)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_logits_of_a_diverged_layer_are_refused(value):
    logits = np.zeros((2, 4, 3), np.float32)
    logits[1, 0, 0] = value
    with pytest.raises(ValueError, match="`logits` must be finite, got NaN or infinite .* layer 1"):
        logit_measures(logits, jnp.zeros(4, jnp.int32))


def test_the_sign_of_an_activity_has_no_effect():
    """Class means of both signs would cancel: selectivity could be any number."""
    h = np.tanh(np.random.default_rng(0).normal(size=(60, 8))).astype(np.float32)
    labels = jnp.arange(60) % 3
    signed, absolute = (activity_measures(jnp.asarray(x), labels, 3) for x in (h, np.abs(h)))
    for name, value in signed.items():
        assert 0 <= value <= 1, name
        np.testing.assert_array_equal(value, absolute[name], err_msg=name)


def test_wrong_labels_weigh_as_much_as_true_ones():
    """Logits of 0 are calibrated: a probability of 1/2 for both kinds."""
    (measured,) = logit_measures(np.zeros((1, 6, 3), np.float32), jnp.arange(6) % 3)
    assert measured["calibration_error"] == pytest.approx(0, abs=1e-6)
    assert measured["auroc"] == 0.5


def test_agreement_is_the_mean_over_the_other_layers():
    labels = jnp.array([[0, 1, 2, 0], [0, 1, 2, 1], [0, 2, 2, 1]])
    logits = np.eye(3, dtype=np.float32)[labels]
    found = [measured["agreement"] for measured in logit_measures(logits, labels[0])]
    np.testing.assert_allclose(found, [(3 + 2) / 8, (3 + 3) / 8, (2 + 3) / 8])


def test_fields_are_those_of_units_that_respond():
    """The third unit responds to one class only, but hardly ever; the fourth is silent."""
    kernel = np.arange(8.0, dtype=np.float32).reshape(2, 4)
    means = np.array([[3.0, 1.0, 0.2, 0.0], [1.0, 2.0, 0.0, 0.0]], np.float32)
    found = selective_fields(kernel, means, (1, 2))
    np.testing.assert_array_equal(found, [[[0, 4]], [[1, 5]]])
