"""Rows of a split at equal distances."""

import numpy as np

from experiments.harness.subsets import spread
from sffa_jax.training.samples import make_samples


def test_spread_samples_lie_at_equal_distances_in_sets_of_any_size():
    """The product of both sizes needs more than 32 bits."""
    count, number = 130_000, 20_000
    labels = np.arange(count) % 7
    samples = make_samples(np.zeros((count, 1), np.uint8), labels, num_classes=7, mean=0.0, std=1.0)
    expected = labels[[i * count // number for i in range(number)]]
    np.testing.assert_array_equal(spread(samples, number).labels, expected)
    assert len(spread(samples, 2 * count).labels) == count
