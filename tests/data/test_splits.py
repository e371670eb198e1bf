"""Splits by index: every sample where it belongs, the same for the same seed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sffa_jax import data


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


@given(hnp.arrays(np.int32, st.integers(0, 50), elements=st.integers(0, 5)))
def test_tasks_share_out_the_samples(labels):
    labels = np.concatenate([labels, np.arange(6, dtype=np.int32)])
    tasks = data.draw_tasks(6, 3, seed=1)
    assert sorted(np.concatenate(tasks)) == list(range(6))
    splits = data.task_splits(labels, tasks)
    assert sorted(np.concatenate(splits)) == list(range(len(labels)))
    for classes, indices in zip(tasks, splits, strict=True):
        assert [i for i, label in enumerate(labels) if label in classes] == indices.tolist()


def test_tasks_are_drawn_by_seed():
    assert data.draw_tasks(10, 5, seed=3) == data.draw_tasks(10, 5, seed=3)
    assert len({str(data.draw_tasks(10, 5, seed)) for seed in range(20)}) == 20
    assert all(len(task) == 2 for task in data.draw_tasks(10, 5, seed=0))


def test_a_subset_keeps_the_order_of_the_samples():
    labels = np.array([2, 0, 1, 2, 1, 0])
    assert data.class_subset(labels, [2, 0]).tolist() == [0, 1, 3, 5]


LABELS = np.array([0, 0, 1])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: data.stratified_split(LABELS, 1.5, 0),
            r"`fraction` must lie between 0 and 1, got 1.5",
        ),
        (
            lambda: data.stratified_split(LABELS, 0.5, 0),
            "class 1 must have at least 2 samples, got 1",
        ),
        (
            lambda: data.class_subset(LABELS, []),
            r"must name at least one class, each once, got \[]",
        ),
        (lambda: data.class_subset(LABELS, [1, 1]), r"each once, got \[1, 1\]"),
        (lambda: data.class_subset(LABELS, [0, 7]), "class 7 must have at least 1 sample, got 0"),
        (
            lambda: data.task_splits(LABELS, [[0, 1], [1]]),
            r"`tasks` must share no class, got \[0, 1\], \[1\]",
        ),
        (lambda: data.draw_tasks(10, 3, 0), "`num_tasks` must divide the 10 classes, got 3"),
        (lambda: data.draw_tasks(10, 0, 0), "`num_tasks` must divide the 10 classes, got 0"),
    ],
    ids=[
        *("fraction", "too few", "no class", "twice", "absent", "shared", "uneven", "none"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(data.DataError, match=message):
        call()
