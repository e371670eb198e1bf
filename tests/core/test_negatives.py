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
