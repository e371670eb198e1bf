"""Means over seeds with 95 % intervals, paired tests, and their formatting."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import special  # not `scipy.stats`, which takes a second to import

from experiments.reports.names import algorithm_name

MIN_SEEDS = 5
"""Least number of seeds with an interval and a test; fewer are reported by their range. Student's t
multiplies the standard error by 12.7 for two seeds, by 2.8 for five."""

ENDS = f"95 % interval over seeds (the range, of fewer than {MIN_SEEDS} seeds)"
"""What `Interval.ends` are, for captions."""

UNIT = (0.0, 1.0)
"""Bounds of an accuracy; a difference of two accuracies has (-1, 1)."""

LEVEL = 0.05
"""Largest corrected p-value of a significant difference."""

MARGIN = 0.002
"""Accuracies that differ by less are level; a fraction."""

ROUNDING = 1e-6
"""Values that differ by less are equal: accuracies are recorded with the digits of float32."""

EDGE = 1e-4
"""Distance from its bounds at which a value is clipped before its log-odds are taken, as a fraction
of their distance: one test image of 10,000."""


@dataclass(frozen=True)
class Interval:
    """Mean of n values with their range, and the 95 % interval of the mean.

    Attributes:
      n, mean: number of values and their mean.
      low, high: ends of the interval; None for fewer than `MIN_SEEDS` values.
      least, greatest: the range of the values.
    """

    n: int
    mean: float
    low: float | None
    high: float | None
    least: float
    greatest: float

    @property
    def ends(self) -> tuple[float, float]:
        """The interval; the range where there is none."""
        if self.low is None or self.high is None:
            return self.least, self.greatest
        return self.low, self.high

    def errors(self) -> list[list[float]]:
        """Returns the distances of `ends` below and above the mean in percent, as matplotlib's
        `yerr`."""
        low, high = self.ends
        return [[100 * (self.mean - low)], [100 * (high - self.mean)]]

    def plus_minus(self, spec: str = ".2f", scale: float = 100.0) -> str:
        """Formats as `mean ± half-width`; an interval with unequal halves as `with_bounds`.

        Args:
          spec: format of each number.
          scale: multiplies the numbers; 100 turns fractions into percent.
        """
        if self.low is None or self.high is None:
            return self._with_range(spec, scale, "")
        if not np.isclose(self.mean - self.low, self.high - self.mean):
            return self.with_bounds(spec, scale)
        return f"{scale * self.mean:{spec}} ± {scale * (self.high - self.mean):{spec}}"

    def with_bounds(self, spec: str = ".2f", scale: float = 100.0) -> str:
        """Formats as `mean [low, high]`, or as `mean (least to greatest, n seeds)` if n is small.

        Arguments as for `plus_minus`.
        """
        if self.low is None or self.high is None:
            return self._with_range(spec, scale, f", {self.n} seeds")
        low, high = f"{scale * self.low:{spec}}", f"{scale * self.high:{spec}}"
        return f"{scale * self.mean:{spec}} [{low}, {high}]"

    def _with_range(self, spec: str, scale: float, seeds: str) -> str:
        mean = f"{scale * self.mean:{spec}}"
        if self.n == 1:
            return f"{mean} (one seed)" if seeds else mean
        return f"{mean} ({scale * self.least:{spec}} to {scale * self.greatest:{spec}}{seeds})"


def _standard_error(values: np.ndarray) -> float:
    """The standard error of the mean."""
    return float(np.std(values, ddof=1) / np.sqrt(len(values)))


def _t_interval(values: np.ndarray) -> tuple[float, float]:
    """The 95 % interval of the mean of independent normal values."""
    mean = float(np.mean(values))
    half_width = _standard_error(values) * float(special.stdtrit(len(values) - 1, 0.975))
    return mean - half_width, mean + half_width


def mean_interval(values: Sequence[float], bounds: tuple[float, float] | None = None) -> Interval:
    """Computes the mean of independent values and its 95 % confidence interval.

    Student's t. Values with bounds (accuracies) whose t interval leaves them are far from normal;
    clipping it would keep a wrong width. Their interval is that of the log-odds of the values'
    places between the bounds, transformed back, which stays inside and is wider towards the middle;
    without an upper bound, that of the logarithms.

    Args:
      values: at least one.
      bounds: least and greatest possible value, the latter may be infinite; None: unbounded.

    Raises:
      ValueError: if `values` is empty.

    >>> mean_interval([0.90, 0.91, 0.95, 0.92, 0.92]).plus_minus()
    '92.00 ± 2.32'
    >>> mean_interval([0.98, 0.98, 0.98, 0.98, 0.1], (0, 1)).with_bounds()
    '80.40 [33.02, 99.77]'
    """
    if not len(values):
        raise ValueError("mean_interval: `values` must hold at least one number, got none.")
    array = np.asarray(values, float)
    mean, least, greatest = float(array.mean()), float(array.min()), float(array.max())
    if len(values) < MIN_SEEDS:
        return Interval(len(values), mean, None, None, least, greatest)
    low, high = _t_interval(array)
    if bounds is not None and not bounds[0] <= low <= high <= bounds[1]:
        if np.isinf(bounds[1]):
            size, ends = 1.0, np.exp(_t_interval(np.log(np.maximum(array - bounds[0], EDGE))))
        else:
            size = bounds[1] - bounds[0]
            places = np.clip((array - bounds[0]) / size, EDGE, 1 - EDGE)
            ends = special.expit(_t_interval(special.logit(places)))
        low, high = (bounds[0] + size * float(end) for end in ends)
        low, high = min(low, mean), max(high, mean)  # all values may lie on a bound
    return Interval(len(values), mean, low, high, least, greatest)


def band(curves: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Computes the ends [points] of the intervals of accuracies, [runs, points]."""
    ends = [mean_interval(column, UNIT).ends for column in curves.T.tolist()]
    low, high = np.array(ends).T
    return low, high


def name_of_ends(seeds: Iterable[int]) -> str:
    """Returns what the bars or bands of a figure show, each over its own number of seeds.

    >>> name_of_ends([10, 5]), name_of_ends([2]), name_of_ends([10, 2])
    ('95 % interval', 'range', '95 % interval (range of fewer than 5 seeds)')
    """
    few = [number < MIN_SEEDS for number in seeds]
    if all(few):
        return "range"
    return "95 % interval" + (f" (range of fewer than {MIN_SEEDS} seeds)" if any(few) else "")


def plus_minus(
    values: Sequence[float],
    spec: str = ".2f",
    scale: float = 100.0,
    bounds: tuple[float, float] | None = UNIT,
) -> str:
    """Formats the values as `mean ± half-width of the 95 % interval`; "-" if there are none.

    >>> plus_minus([0.90, 0.91, 0.95]), plus_minus([0.9]), plus_minus([])
    ('92.00 (90.00 to 95.00)', '90.00', '-')
    """
    return mean_interval(values, bounds).plus_minus(spec, scale) if len(values) else "-"


def with_bounds(
    values: Sequence[float],
    spec: str = ".2f",
    scale: float = 100.0,
    bounds: tuple[float, float] | None = UNIT,
) -> str:
    """Formats the values as `mean [low, high]` of the 95 % interval; "-" if there are none.

    >>> with_bounds([0.90, 0.91, 0.95]), with_bounds([0.9])
    ('92.00 (90.00 to 95.00, 3 seeds)', '90.00 (one seed)')
    """
    return mean_interval(values, bounds).with_bounds(spec, scale) if len(values) else "-"


@dataclass(frozen=True)
class PairedTest:
    """Difference first - second on their common seeds, with the p-value of a paired t-test.

    Attributes:
      first, second: the algorithms.
      difference: over the common seeds.
      p: the p-value; None if there is no test.
      reason: why there is none.
    """

    first: str
    second: str
    difference: Interval
    p: float | None
    reason: str = ""

    @property
    def cell(self) -> str:
        """The p-value with two digits, or "not tested: " and the reason."""
        return f"not tested: {self.reason}" if self.p is None else f"{self.p:.2g}"

    @property
    def significant(self) -> bool:
        """Whether there is a test and its p-value is at most `LEVEL`."""
        return self.p is not None and self.p <= LEVEL

    @property
    def verdict(self) -> str:
        """Which accuracy is higher; "level" if the interval lies within `MARGIN`, whatever p is;
        "undecided"; or "-" without a test."""
        if self.p is None:
            return "-"
        if max(map(abs, self.difference.ends)) <= MARGIN:
            return "level"
        if not self.significant:
            return "undecided"
        return f"{algorithm_name(self.first if self.difference.mean > 0 else self.second)} higher"


def paired_tests(
    values: Mapping[str, Mapping[int, float]],
    failures: Mapping[str, str] | None = None,
    bounds: tuple[float, float] | None = (-1.0, 1.0),
    *,
    corrected: bool = True,
) -> list[PairedTest]:
    """Tests every pair of algorithms on their common seeds.

    Args:
      values: for each algorithm, each seed's value.
      failures: why an algorithm cannot be tested, see `outcomes.failures`.
      bounds: of a difference; None: unbounded.
      corrected: whether the p-values are corrected for the number of pairs (Holm 1979); no: for a
        table of more pairs, see `holm_corrected`.

    Returns:
      One test for each pair that has common seeds, in the order of `values`.
    """
    tests = []
    for first, second in itertools.combinations(values, 2):
        seeds = sorted(values[first].keys() & values[second].keys())
        if not seeds:
            continue
        differences = np.array([values[first][s] - values[second][s] for s in seeds])
        known = failures or {}
        failed = [name for name in (first, second) if name in known]
        reasons = [f"{algorithm_name(name)} {known[name]}" for name in failed]
        if reasons:
            reason, p = " and ".join(reasons), None
        elif len(seeds) < MIN_SEEDS:
            reason, p = f"{len(seeds)} of at least {MIN_SEEDS} common seeds", None
        elif np.ptp(differences) < ROUNDING:
            reason, p = "all differences are equal", None
        else:
            t = float(differences.mean()) / _standard_error(differences)
            reason, p = "", 2 * float(special.stdtr(len(seeds) - 1, -abs(t)))
        interval = mean_interval(differences.tolist(), bounds)
        tests.append(PairedTest(first, second, interval, p, reason))
    return holm_corrected(tests) if corrected else tests


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
