"""Scalars of a layer's logits."""

import jax.numpy as jnp
import numpy as np
import pytest

from sffa_jax.analysis.measures import activity_measures, logit_measures


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
