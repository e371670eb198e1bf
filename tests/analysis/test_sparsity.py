"""Sparsity against closed forms."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sffa_jax.analysis import sparsity

MEASURES = [sparsity.hoyer, sparsity.treves_rolls]


@pytest.mark.parametrize("measure", MEASURES)
def test_from_equal_to_single(measure):
    rows = jnp.array([[2.0] * 4, [0.0, 3.0, 0.0, 0.0]])
    np.testing.assert_allclose(measure(rows), [0, 1], atol=1e-6)
    assert np.isnan(measure(jnp.zeros(4)))


def test_by_hand():
    h = jnp.array([3.0, 4.0, 0.0, 0.0])
    np.testing.assert_allclose(sparsity.hoyer(h), 2 - 7 / 5, rtol=1e-6)
    np.testing.assert_allclose(
        sparsity.treves_rolls(h), (1 - (7 / 4) ** 2 / (25 / 4)) / (3 / 4), rtol=1e-6
    )


@pytest.mark.parametrize("measure", MEASURES)
@given(active=st.integers(1, 12), scale=st.floats(0.01, 100))
def test_k_equal_units_of_n(measure, active, scale):
    n = 12
    h = jnp.where(jnp.arange(n) < active, scale, 0.0)
    root = np.sqrt(n)
    expected = {
        sparsity.hoyer: (root - np.sqrt(active)) / (root - 1),
        sparsity.treves_rolls: (1 - active / n) / (1 - 1 / n),
    }
    np.testing.assert_allclose(measure(h), expected[measure], atol=1e-5)
    np.testing.assert_allclose(sparsity.active_share(h), active / n)


def test_units_that_never_are_active():
    h = jnp.array([[0.0, 1.0, 0.0], [0.0, 0.0, 0.5]])
    np.testing.assert_array_equal(sparsity.dead_units(h), [True, False, False])
    np.testing.assert_allclose(sparsity.active_share(h, threshold=0.7), [1 / 3, 0])
