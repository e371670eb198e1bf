import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sffa_jax import winners

# Few distinct values make ties common.
ROWS = hnp.arrays(np.float32, (3, 12), elements=st.sampled_from([0, 1, 2, 2.5, 7, np.inf]))


@given(ROWS, st.integers(1, 12))
def test_kth_largest_is_exact_on_ties_and_infinities(h, k):
    expected = np.sort(h, axis=-1)[:, -k][:, None]
    np.testing.assert_array_equal(winners.kth_largest(jnp.array(h), k), expected)


@given(hnp.arrays(np.float32, 12, elements=st.floats(0, 9, width=32)), st.integers(1, 6))
def test_keep_winners_matches_numpy(h, k):
    np.testing.assert_array_equal(winners.keep_winners(jnp.array(h), k), oracles.k_winners(h, k))


def test_gradient_flows_through_winners_alone():
    h = jnp.array([1.0, 3.0, 2.0, 5.0, 4.0, 6.0])
    gradient = jax.grad(lambda h: winners.keep_winners(h, 1).sum())(h)
    np.testing.assert_array_equal(gradient, [0, 1, 0, 0, 0, 1])


def test_too_many_winners():
    with pytest.raises(ValueError, match=r"`k` must be at most half of the layer's 6 units, got 4"):
        winners.keep_winners(jnp.ones((1, 6)), 4)
