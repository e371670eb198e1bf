"""Intervals, paired tests and their format."""

import numpy as np
import pytest
from scipy import stats

from experiments.reports import intervals


def test_interval_by_hand():
    """Mean 2, standard deviation 1, t(0.975, 2) = 4.303."""
    found = intervals.mean_interval([1.0, 2.0, 3.0])
    assert found.mean == 2
    assert found.low == pytest.approx(2 - 4.3027 / np.sqrt(3), abs=1e-4)
    assert found.high == pytest.approx(2 + 4.3027 / np.sqrt(3), abs=1e-4)
    assert intervals.mean_interval([0.5]) == intervals.Interval(1, 0.5, None, None)
    with pytest.raises(ValueError, match="`values` must hold at least one number"):
        intervals.mean_interval([])


def test_paired_test_matches_scipy_on_common_seeds():
    values = {"ffa": {0: 0.80, 1: 0.82, 2: 0.84, 9: 0.1}, "sffa": {2: 0.95, 0: 0.90, 1: 0.91}}
    (test,) = intervals.paired_tests(values)
    expected = stats.ttest_rel([0.80, 0.82, 0.84], [0.90, 0.91, 0.95])
    assert test.p == pytest.approx(expected.pvalue)
    assert test.difference.mean == pytest.approx(-0.1)


def test_no_test_without_variance_or_seeds():
    (same,) = intervals.paired_tests({"a": {0: 0.5, 1: 0.5}, "b": {0: 0.5, 1: 0.5}})
    assert same.p is None
    assert intervals.paired_tests({"a": {0: 0.5}, "b": {1: 0.5}}) == []


def test_holm_by_hand():
    assert intervals.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert intervals.holm([0.9, 0.8]) == [1.0, 1.0]


def test_tests_that_are_reported_together_are_corrected_together():
    def test(p):
        return intervals.PairedTest("a", "b", intervals.mean_interval([0.5]), p)

    corrected = intervals.holm_corrected([test(0.01), test(None), test(0.04), test(0.03)])
    ps = [each.p for each in corrected]
    assert ps[1] is None
    assert [ps[0], *ps[2:]] == pytest.approx([0.03, 0.06, 0.06])


@pytest.mark.parametrize(
    ("values", "plus_minus", "with_bounds"),
    [
        ([], "-", "-"),
        ([0.5], "50.00", "50.00 (one seed)"),
        # Mean 0.2, standard deviation 0.1, half-width 4.3027 * 0.1 / sqrt(3).
        ([0.1, 0.2, 0.3], "20.00 ± 24.84", "20.00 [-4.84, 44.84]"),
    ],
)
def test_formats(values, plus_minus, with_bounds):
    assert intervals.plus_minus(values) == plus_minus
    assert intervals.with_bounds(values) == with_bounds


def test_formats_in_other_units():
    mean = intervals.mean_interval([1.0, 2.0, 3.0])
    assert mean.plus_minus(".1f", 1.0) == "2.0 ± 2.5"
    assert mean.with_bounds("+.1f", 1.0) == "+2.0 [-0.5, +4.5]"
    assert mean.half_width == pytest.approx(4.3027 / np.sqrt(3), abs=1e-4)
    assert intervals.mean_interval([2.0]).half_width == 0


def test_p_values_have_two_digits():
    assert [intervals.p_value(p) for p in (None, 0.012345, 1e-9)] == ["-", "0.012", "1e-09"]
