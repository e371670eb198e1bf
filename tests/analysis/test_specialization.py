"""Ownership against hand-worked cases."""

import jax.numpy as jnp
import numpy as np
import pytest

from sffa_jax.analysis import specialization as of


def test_class_means():
    h = jnp.array([[1.0, 0.0], [3.0, 2.0], [5.0, 5.0]])
    means = of.class_means(h, jnp.array([0, 0, 2]), 3)
    np.testing.assert_allclose(means, [[2, 1], [0, 0], [5, 5]])


# Units: one class only; all alike; silent; two classes; one class more than half.
MEANS = jnp.array([[4.0, 1.0, 0.0, 0.0, 3.0], [0.0, 1.0, 0.0, 2.0, 1.0], [0.0, 1.0, 0.0, 2.0, 1.0]])


def test_selectivity():
    np.testing.assert_allclose(of.selectivity(MEANS), [1, 0, 0, 1 / 3, 1 / 2], rtol=1e-6)


def test_owners():
    owner = of.owners(MEANS)
    np.testing.assert_array_equal(owner, [0, -1, -1, -1, 0])
    np.testing.assert_array_equal(of.owners(MEANS, fraction=0.4), [0, -1, -1, 1, 0])
    np.testing.assert_allclose(of.owned_share(owner), 2 / 5)
    np.testing.assert_array_equal(of.owned_counts(owner, 3), [2, 0, 0])


def test_overlap():
    means = jnp.array([[3.0, 2.0, 0.0, 0.0], [0.0, 3.0, 2.0, 0.0], [0.0, 0.0, 1.0, 2.0]])
    found = of.overlap(means, top=0.5)
    third = 1 / 3
    np.testing.assert_allclose(found, [[1, third, 0], [third, 1, third], [0, third, 1]], rtol=1e-6)
    np.testing.assert_allclose(of.mean_overlap(found), 2 * third / 3, rtol=1e-6)


def test_no_class_uses_a_silent_unit():
    """Half of the units may count as used, but each class has only one, and the last none."""
    means = jnp.array([[3.0, 0.0, 0.0, 0.0], [0.0, 3.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    np.testing.assert_allclose(of.overlap(means, top=0.5), np.diag([1, 1, 0]))


@pytest.mark.parametrize("top", [0.1, 0.3])
def test_overlap_of_random_units(top):
    means = jnp.asarray(np.random.default_rng(0).random((20, 2000), np.float32))
    found = of.mean_overlap(of.overlap(means, top=top))
    np.testing.assert_allclose(found, top / (2 - top), rtol=0.05)
