import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sffa_jax.core import negatives


@given(st.integers(2, 40), st.integers(0, 2**31 - 1))
def test_uniform_never_draws_the_true_label(num_classes, seed):
    labels = jnp.arange(64) % num_classes
    drawn = negatives.uniform(jax.random.key(seed), labels, num_classes, lambda: None)
    assert np.all(drawn[:, 0] == labels)
    assert np.all((drawn[:, 1] != labels) & (drawn[:, 1] >= 0) & (drawn[:, 1] < num_classes))


def test_uniform_draws_every_wrong_label_equally():
    labels = jnp.full(9000, 3)
    drawn = negatives.uniform(jax.random.key(0), labels, 10, lambda: None)[:, 1]
    counts = np.bincount(drawn, minlength=10)
    assert counts[3] == 0
    assert np.all(np.abs(np.delete(counts, 3) - 1000) < 150)


def test_hard_follows_the_softmax_of_the_wrong_scores():
    labels = jnp.zeros(20000, jnp.int32)
    scores = jnp.broadcast_to(jnp.array([9.0, 0.0, jnp.log(3.0)]), (20000, 3))
    drawn = negatives.hard(jax.random.key(0), labels, 3, lambda: scores)[:, 1]
    np.testing.assert_allclose(np.bincount(drawn, minlength=3) / 20000, [0, 0.25, 0.75], atol=0.02)


@pytest.mark.parametrize("candidates", [None, jnp.array([[1, 0, 2], [2, 1, 0]])])
def test_targets_mark_the_true_label(candidates):
    marked = negatives.targets(candidates, jnp.array([1, 2]), 3)
    expected = [[0, 1, 0], [0, 0, 1]] if candidates is None else [[1, 0, 0], [1, 0, 0]]
    np.testing.assert_array_equal(marked, np.array(expected, bool))


def test_labels_of_few_bits():
    labels = jnp.zeros(500, jnp.int8)
    for choose in (negatives.uniform, negatives.hard):
        drawn = choose(jax.random.key(0), labels, 300, lambda: jnp.zeros((500, 300)))
        assert drawn.dtype == jnp.int32
        assert drawn[:, 1].min() > 0
        assert drawn[:, 1].max() > 255


@pytest.mark.parametrize(
    ("shifts", "message"),
    [
        ([0, 3], "`negatives` must return labels from 0 to 2, got 3"),
        ([0, 0], "the true label first, and only there, got [0, 0] for label 0"),
        ([1, 0], "the true label first, and only there, got [1, 0] for label 0"),
        ([1, 2], "the true label first, and only there, got [1, 2] for label 0"),
        ([0, 1, 1], None),  # a wrong label may be tried twice
    ],
)
def test_values_of_an_own_function_are_tried(shifts, message):
    def own(key, labels, num_classes, scores):
        candidates = labels[:, None] + jnp.array([shifts])
        return candidates if max(shifts) == num_classes else candidates % num_classes

    check = functools.partial(negatives.try_negatives, "f", own, 3)
    for run in (check, jax.jit(check)):  # a sweep builds learners in its program
        if message is None:
            run()
            continue
        with pytest.raises(ValueError, match=re.escape(message)):
            run()


def test_an_own_function_of_traced_numbers_is_not_tried():
    @jax.jit
    def build(shift):
        def own(key, labels, num_classes, scores):
            return jnp.stack([labels, (labels + shift) % num_classes], axis=-1)

        negatives.try_negatives("f", own, 3)
        return own(None, jnp.arange(3), 3, None)

    assert build(1).shape == (3, 2)
