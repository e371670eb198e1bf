"""Intervals, paired tests and their format."""

import numpy as np
import pytest
from scipy import stats

from experiments.reports import intervals


def test_interval_by_hand():
    """Mean 3, standard deviation 1.581, t(0.975, 4) = 2.776."""
    found = intervals.mean_interval([1.0, 2.0, 3.0, 4.0, 5.0])
    assert found.mean == 3
    assert found.ends == pytest.approx((3 - 1.9633, 3 + 1.9633), abs=1e-4)
    assert (found.least, found.greatest) == (1, 5)
    with pytest.raises(ValueError, match="`values` must hold at least one number"):
        intervals.mean_interval([])


def test_fewer_than_five_seeds_have_a_range():
    assert intervals.mean_interval([0.5]) == intervals.Interval(1, 0.5, None, None, 0.5, 0.5)
    assert intervals.mean_interval([1.0, 2.0, 3.0, 6.0]).ends == (1, 6)
    (pair,) = intervals.paired_tests({"ffa": dict(enumerate([0.1] * 4)), "bp": {2: 0.5, 3: 0.4}})
    assert pair.p is None
    assert pair.cell == "not tested: 2 of at least 5 common seeds"


@pytest.mark.parametrize("values", [[0.98] * 4 + [0.1], [0.0, 0.0, 0.0, 0.0, 0.9], [0, 0, 0, 1, 1]])
def test_intervals_of_accuracies_stay_between_0_and_1(values):
    found = intervals.mean_interval(values, intervals.UNIT)
    assert 0 <= found.low <= found.mean <= found.high <= 1
    mirrored = intervals.mean_interval([1 - value for value in values], intervals.UNIT)
    assert (mirrored.low, mirrored.high) == pytest.approx((1 - found.high, 1 - found.low))
    # Inside the bounds it is Student's.
    inside = [0.90, 0.91, 0.95, 0.92, 0.93]
    assert intervals.mean_interval(inside, intervals.UNIT) == intervals.mean_interval(inside)


def test_paired_test_matches_scipy_on_common_seeds():
    ffa, sffa = [0.80, 0.82, 0.84, 0.83, 0.85], [0.90, 0.91, 0.95, 0.91, 0.90]
    values = {"ffa": dict(enumerate(ffa)) | {9: 0.1}, "sffa": dict(enumerate(sffa))}
    (test,) = intervals.paired_tests(values)
    assert test.p == pytest.approx(stats.ttest_rel(ffa, sffa).pvalue)
    assert test.difference.mean == pytest.approx(-0.086)
    assert test.cell == f"{test.p:.2g}"
    (failed,) = intervals.paired_tests(values, {"sffa": "did not learn in 1 of 5 runs"})
    assert failed.cell == "not tested: SFFA did not learn in 1 of 5 runs"


def test_no_test_without_variance_or_seeds():
    same = dict.fromkeys(range(5), 0.5)
    (test,) = intervals.paired_tests({"a": same, "b": same})
    assert test.cell == "not tested: all differences are equal"
    assert intervals.paired_tests({"a": {0: 0.5}, "b": {1: 0.5}}) == []
    # One image of 360 more with each seed: the differences differ by rounding alone.
    right = {"a": (330, 331, 340, 342, 335), "b": (329, 330, 339, 341, 334)}
    values = {
        name: {seed: float(np.float32(number / 360)) for seed, number in enumerate(numbers)}
        for name, numbers in right.items()
    }
    (test,) = intervals.paired_tests(values)
    assert test.cell == "not tested: all differences are equal"


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
        ([0.1, 0.2, 0.3], "20.00 (10.00 to 30.00)", "20.00 (10.00 to 30.00, 3 seeds)"),
        # Mean 0.3, standard deviation 0.158, half-width 2.776 * 0.158 / sqrt(5).
        ([0.1, 0.2, 0.3, 0.4, 0.5], "30.00 ± 19.63", "30.00 [10.37, 49.63]"),
        ([0.98, 0.98, 0.98, 0.98, 0.1], "80.40 [33.02, 99.77]", "80.40 [33.02, 99.77]"),
    ],
)
def test_formats(values, plus_minus, with_bounds):
    assert intervals.plus_minus(values) == plus_minus
    assert intervals.with_bounds(values) == with_bounds


def test_formats_in_other_units():
    mean = intervals.mean_interval([1.0, 2.0, 3.0, 4.0, 5.0])
    assert mean.plus_minus(".1f", 1.0) == "3.0 ± 2.0"
    assert mean.with_bounds("+.1f", 1.0) == "+3.0 [+1.0, +5.0]"
    assert mean.errors() == [[pytest.approx(196.33, abs=1e-2)]] * 2


@pytest.mark.parametrize(
    ("differences", "verdict"),
    [
        ([0.0010, 0.0012, 0.0011, 0.0010, 0.0012], "level"),  # significant, yet within the margin
        ([0.010, 0.012, 0.011, 0.010, 0.012], "SFFA higher"),
        ([-0.010, -0.012, -0.011, -0.010, -0.012], "Backprop higher"),
        ([-0.01, 0.01, 0.02, -0.02, 0.001], "undecided"),
        ([0.01, 0.02], "-"),
    ],
)
def test_verdicts(differences, verdict):
    values = {"sffa": {}, "bp": {}}
    for seed, difference in enumerate(differences):
        values["sffa"][seed], values["bp"][seed] = 0.9 + difference, 0.9
    (test,) = intervals.paired_tests(values)
    assert test.verdict == verdict
    failed = intervals.paired_tests(values, {"bp": "did not learn"})
    assert failed[0].verdict == "-"


def test_p_values_may_be_left_uncorrected():
    rng = np.random.default_rng(0)
    values = {name: dict(enumerate(rng.uniform(0.5, 1, 6))) for name in "abc"}
    raw = intervals.paired_tests(values, corrected=False)
    assert [test.p for test in intervals.holm_corrected(raw)] == [
        test.p for test in intervals.paired_tests(values)
    ]
    assert [test.p for test in raw] != [test.p for test in intervals.paired_tests(values)]


def test_an_interval_without_an_upper_bound_stays_positive():
    values = [0.01, 0.02, 0.01, 0.9, 0.03]
    found = intervals.mean_interval(values, (0.0, np.inf))
    assert 0 < found.low <= found.mean <= found.high
    logs = np.log(values)
    half = stats.sem(logs) * stats.t.ppf(0.975, 4)
    assert found.low == pytest.approx(np.exp(logs.mean() - half))
    assert found.high == pytest.approx(max(found.mean, np.exp(logs.mean() + half)))
    inside = [1.0, 1.1, 1.2, 1.05, 1.0]
    assert intervals.mean_interval(inside, (0.0, np.inf)) == intervals.mean_interval(inside)
