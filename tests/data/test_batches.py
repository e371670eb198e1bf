"""Batches from disk: in the given order, from any step, divided between processes."""

import sys

import numpy as np
import pytest
from published_files import Server, idx_files

from sffa_jax import data
from sffa_jax.data.sources.registry import PUBLISHED

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (60, 5, 4)).astype(np.uint8)
LABELS = np.arange(60) % 10
ORDER = RNG.permutation(60)[:56].reshape(7, 8)


@pytest.fixture(scope="module")
def train(tmp_path_factory):
    """The training records of a small MNIST."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TFDS_DATA_DIR", str(tmp_path_factory.mktemp("tfds")))
        with Server(idx_files(IMAGES, LABELS, IMAGES[:3], LABELS[:3])) as server:
            patch.setitem(PUBLISHED, "mnist", server.published("mnist", (5, 4)))
            yield data.open_on_disk("mnist").train


def test_records_by_index(train):
    assert len(train) == 60
    assert train.image_shape == (5, 4)
    images, labels = train.read(np.array([7, 3, 7]))
    np.testing.assert_array_equal(images, IMAGES[[7, 3, 7]])
    assert labels.tolist() == [7, 3, 7]
    np.testing.assert_array_equal(train.labels, LABELS)


def test_statistics_of_part_of_a_split(train, monkeypatch):
    monkeypatch.setattr("sffa_jax.data.records.SCAN", 16)
    chosen = np.arange(0, 60, 2)
    for ours, expected in zip(
        train.statistics(chosen), data.statistics(IMAGES[chosen]), strict=True
    ):
        assert ours.shape == ()
        assert ours == expected


@pytest.mark.parametrize("threads", [0, 1, 16])
def test_batches_come_in_the_given_order(train, threads):
    batches = list(data.batches(train, ORDER, reading=data.Reading(threads, 4)))
    assert len(batches) == 7
    for (images, labels), indices in zip(batches, ORDER, strict=True):
        np.testing.assert_array_equal(images, IMAGES[indices])
        np.testing.assert_array_equal(labels, LABELS[indices])


@pytest.mark.parametrize("start", [0, 3, 6, 7])
def test_a_stream_starts_at_any_step(train, start):
    parts = [labels for _, labels in data.batches(train, ORDER, start=start)]
    np.testing.assert_array_equal(np.array(parts).reshape(-1, 8), LABELS[ORDER[start:]])


def test_grain_can_save_and_resume_it(train):
    stream = iter(data.batches(train, ORDER))
    next(stream)
    state = stream.get_state()
    again = iter(data.batches(train, ORDER))
    again.set_state(state)
    np.testing.assert_array_equal(next(again)[1], LABELS[ORDER[1]])


def test_processes_divide_every_batch(train):
    parts = [list(data.batches(train, ORDER, process=p, num_processes=4)) for p in range(4)]
    for step, indices in enumerate(ORDER):
        together = np.concatenate([part[step][0] for part in parts])
        np.testing.assert_array_equal(together, IMAGES[indices])


@pytest.mark.parametrize(
    ("process", "num_processes", "message"),
    [
        (0, 3, "`num_processes` must divide the batch size 8, got 3"),
        (2, 2, "`process` must be below 2 processes, got 2"),
        (-1, 2, "`process` must be at least 0, got -1"),
    ],
)
def test_an_uneven_division_is_rejected(train, process, num_processes, message):
    with pytest.raises(ValueError, match=message):
        data.batches(train, ORDER, process=process, num_processes=num_processes)


@pytest.mark.parametrize("order", [np.arange(6), np.zeros((2, 3))])
def test_an_order_is_steps_of_rows(train, order):
    with pytest.raises(ValueError, match=r"`order` must be whole numbers \[steps, batch\], got"):
        data.batches(train, order)


def test_without_grain_the_error_names_the_extra(train, monkeypatch):
    monkeypatch.setitem(sys.modules, "grain", None)
    with pytest.raises(ImportError, match=r'pip install "sffa_jax\[stream\]"'):
        data.batches(train, ORDER)


def test_an_index_out_of_range(train):
    with pytest.raises(data.DataError, match="mnist.*, train cannot be read"):
        list(data.batches(train, np.array([[0, 60]])))
