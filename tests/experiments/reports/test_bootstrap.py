"""Intervals over seeds and test images."""

import numpy as np
import pytest
from run_records import trained
from scipy import stats

from experiments.harness.predictions import pack_bits
from experiments.reports import bootstrap, comparison_tables
from experiments.reports.intervals import mean_interval


@pytest.mark.parametrize("number", [1, 7, 8, 359])
def test_bits_are_packed_without_loss(number):
    flags = np.random.default_rng(number).random(number) < 0.5
    np.testing.assert_array_equal(bootstrap.unpack_bits(pack_bits(flags)), flags)


def test_the_interval_has_the_variance_of_seeds_and_images():
    """Seeds that differ by independent shifts, images that differ by their difficulty."""
    rng = np.random.default_rng(1)
    values = rng.normal(0, 0.1, (20, 1)) + rng.normal(0, 1, (1, 400))
    values -= values.mean()
    low, high = bootstrap.bootstrap_interval(values)
    of_seeds = stats.t.ppf(0.975, 19) * stats.sem(values.mean(1))
    expected = np.hypot(of_seeds, 1.96 * values.mean(0).std() / np.sqrt(400))
    assert [-low, high] == pytest.approx([expected] * 2, rel=0.1)
    # All images alike: only seeds count, and the other way round.
    of_seeds = np.repeat(values.mean(1, keepdims=True), 400, axis=1)
    assert np.ptp(bootstrap.bootstrap_interval(of_seeds)) < np.ptp([low, high])
    same = np.ones((5, 30))
    assert bootstrap.bootstrap_interval(same) == pytest.approx((1.0, 1.0))


def test_the_interval_of_few_seeds_is_no_narrower_than_students():
    """It was two thirds as wide, although it includes the variance of the images."""
    accuracies = np.array([0.79, 0.84, 0.85, 0.87, 0.88])
    values = np.float32(np.arange(1000) < 1000 * accuracies[:, None])
    low, high = bootstrap.bootstrap_interval(np.random.default_rng(0).permuted(values, axis=1))
    student = mean_interval(accuracies.tolist())
    assert high - low > 0.95 * (student.high - student.low)
    # All right but for one seed: the interval stays below 1.
    values[1:] = 1
    assert bootstrap.bootstrap_interval(values)[1] == 1


def test_tables_have_a_column_if_the_bits_were_recorded():
    flags = np.random.default_rng(0).random((2, 5, 100)) < [[[0.9]], [[0.6]]]
    records = [
        trained(name, seed, float(bits.mean()), correct=pack_bits(bits))
        for name, of_one in zip(("ffa", "sffa"), flags, strict=True)
        for seed, bits in enumerate(of_one)
    ]
    results = comparison_tables.results_table(records, {})
    tests = comparison_tables.tests_table(records)
    column = results[0].index("Over seeds and samples")
    low, high = bootstrap.bootstrap_interval(flags[0].astype(np.float32))
    assert results[1][column] == f"[{100 * low:.2f}, {100 * high:.2f}]"
    assert 0 < low < 0.9 < high <= 1
    assert tests[0][-1] == "Over seeds and samples"
    low, high = map(float, tests[1][-1].strip("[]").split(","))
    assert 0 < low < 100 * (flags[0].mean() - flags[1].mean()) < high
    assert comparison_tables.results_table(records[:4], {})[1][column] == "-"
    without = [{k: v for k, v in record.items() if k != "correct"} for record in records]
    assert "Over seeds and samples" not in comparison_tables.tests_table(without)[0]
