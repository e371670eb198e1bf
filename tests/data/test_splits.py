"""Splits by index: every sample is in one part, and a seed always gives the same split."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sffa_jax import data
from sffa_jax.data.splits import held_out_test, spread_rows


@given(
    hnp.arrays(np.int32, st.integers(20, 80), elements=st.integers(0, 3)),
    st.floats(0.05, 0.9),
    st.integers(0, 99),
)
def test_stratified_split(labels, fraction, seed):
    labels = np.concatenate([labels, [0, 0, 1, 1, 2, 2, 3, 3]])
    kept, held = data.stratified_split(labels, fraction, seed)
    assert sorted([*kept, *held]) == list(range(len(labels)))
    for label in range(4):
        total = (labels == label).sum()
        assert abs((labels[held] == label).sum() - fraction * total) <= 1
        assert 0 < (labels[kept] == label).sum() < total
    again = data.stratified_split(labels, fraction, seed)
    np.testing.assert_array_equal(again[1], held)


def test_a_fifth_of_each_class_becomes_the_test_split():
    labels = np.repeat([0, 1], [50, 10])
    kept, test = held_out_test(labels, None)
    assert np.bincount(labels[kept]).tolist() == [40, 8]
    assert np.bincount(labels[test]).tolist() == [10, 2]


def test_a_fraction_above_1_is_rejected():
    message = r"`fraction` must lie between 0 and 1, got 1.5"
    with pytest.raises(ValueError, match=message):
        data.stratified_split(np.array([0, 0, 1]), 1.5, 0)


def test_one_hot_rows_are_rejected():
    with pytest.raises(ValueError, match=r"one label for each sample, got shape \(4, 2\)"):
        data.stratified_split(np.eye(2)[[0, 0, 1, 1]], 0.5, 0)


def test_no_labels_are_rejected():
    with pytest.raises(ValueError, match=r"one label for each sample, got shape \(0,\)"):
        data.stratified_split([], 0.5, 0)


def test_a_class_of_one_sample_is_rejected():
    message = "class 1 must have at least 2 samples, got 1"
    with pytest.raises(data.DataError, match=message):
        data.stratified_split(np.array([0, 0, 1]), 0.5, 0)


@pytest.mark.parametrize(("count", "number"), [(130_000, 20_000), (7, 3), (5, 9), (0, 4)])
def test_spread_rows_lie_at_equal_distances(count, number):
    """The product of both sizes needs more than 32 bits."""
    size = min(count, number)
    assert spread_rows(count, number).tolist() == [i * count // size for i in range(size)]
