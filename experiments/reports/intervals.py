"""Means over seeds with 95 % intervals, paired tests, and their formatting."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats


@dataclass(frozen=True)
class Interval:
    """Mean of n values with its 95 % interval (Student's t); no bounds for n = 1."""

    n: int
    mean: float
    low: float | None
    high: float | None

    @property
    def half_width(self) -> float:
        """Half the length of the interval; 0 where there are no bounds."""
        return 0.0 if self.high is None else self.high - self.mean

    def plus_minus(self, spec: str = ".2f", scale: float = 100.0) -> str:
        """Formats as `mean ± half-width`, or the mean alone for one value.

        Args:
          spec: format of each number.
          scale: multiplies the numbers; 100 turns fractions into percent.
        """
        mean = f"{scale * self.mean:{spec}}"
        return mean if self.high is None else f"{mean} ± {scale * self.half_width:{spec}}"

    def with_bounds(self, spec: str = ".2f", scale: float = 100.0) -> str:
        """Formats as `mean [low, high]`, or `mean (one seed)`; arguments as for `plus_minus`."""
        mean = f"{scale * self.mean:{spec}}"
        if self.low is None or self.high is None:
            return f"{mean} (one seed)"
        return f"{mean} [{scale * self.low:{spec}}, {scale * self.high:{spec}}]"


def mean_interval(values: Sequence[float]) -> Interval:
    """Computes the mean of independent values and its 95 % confidence interval (Student's t).

    Raises:
      ValueError: if `values` is empty.

    >>> mean_interval([0.90, 0.91, 0.95]).plus_minus()
    '92.00 ± 6.57'
    """
    if not len(values):
        raise ValueError("mean_interval: `values` must hold at least one number, got none.")
    mean = float(np.mean(values))
    if len(values) == 1:
        return Interval(1, mean, None, None)
    half_width = float(stats.sem(values) * stats.t.ppf(0.975, len(values) - 1))
    return Interval(len(values), mean, mean - half_width, mean + half_width)


def plus_minus(values: Sequence[float], spec: str = ".2f", scale: float = 100.0) -> str:
    """Formats the values as `mean ± half-width of the 95 % interval`; "-" if there are none.

    >>> plus_minus([0.90, 0.91, 0.95]), plus_minus([0.9]), plus_minus([])
    ('92.00 ± 6.57', '90.00', '-')
    """
    return mean_interval(values).plus_minus(spec, scale) if len(values) else "-"


def with_bounds(values: Sequence[float], spec: str = ".2f", scale: float = 100.0) -> str:
    """Formats the values as `mean [low, high]` of the 95 % interval; "-" if there are none.

    >>> with_bounds([0.90, 0.91, 0.95]), with_bounds([0.9])
    ('92.00 [85.43, 98.57]', '90.00 (one seed)')
    """
    return mean_interval(values).with_bounds(spec, scale) if len(values) else "-"


@dataclass(frozen=True)
class PairedTest:
    """Difference first - second on their common seeds, with the p-value of a paired t-test.

    `p` is None for fewer than two common seeds, and where all differences are equal.
    """

    first: str
    second: str
    difference: Interval
    p: float | None


def paired_tests(values: Mapping[str, Mapping[int, float]]) -> list[PairedTest]:
    """Tests every pair of algorithms on their common seeds.

    Args:
      values: for each algorithm, each seed's value.

    Returns:
      One test for each pair that has common seeds, in the order of `values`. The p-values are
      corrected for the number of pairs (Holm 1979).
    """
    tests = []
    for first, second in itertools.combinations(values, 2):
        seeds = sorted(values[first].keys() & values[second].keys())
        if not seeds:
            continue
        differences = np.array([values[first][s] - values[second][s] for s in seeds])
        p = None
        if len(seeds) > 1 and np.ptp(differences) > 0:
            p = float(stats.ttest_1samp(differences, 0.0).pvalue)
        tests.append(PairedTest(first, second, mean_interval(differences.tolist()), p))
    return holm_corrected(tests)


def holm_corrected(tests: Sequence[PairedTest]) -> list[PairedTest]:
    """Corrects the p-values of tests that are reported together."""
    corrected = iter(holm([test.p for test in tests if test.p is not None]))
    return [test if test.p is None else replace(test, p=next(corrected)) for test in tests]


def holm(p_values: Sequence[float]) -> list[float]:
    """Computes Holm's step-down correction of p-values, in their order.

    The smallest p is multiplied by n, the next by n - 1, and so on; the results never decrease.

    >>> holm([0.25, 0.5, 0.1])
    [0.5, 0.5, 0.30000000000000004]
    """
    corrected = [0.0] * len(p_values)
    highest = 0.0
    for rank, i in enumerate(np.argsort(p_values)):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[i]))
        corrected[i] = highest
    return corrected


def p_value(p: float | None) -> str:
    """Formats a p-value; "-" for None."""
    return "-" if p is None else f"{p:.2g}"
