"""Intervals over seeds and test images: another network *and* another test set.

An interval over seeds alone holds for the given test images: 10 000 images that another draw would
replace add half a point of their own. The bootstrap resamples both.
"""

from collections.abc import Sequence

import numpy as np
from scipy import special

from experiments.harness.predictions import unpack_bits
from experiments.harness.queries import Records
from experiments.reports.intervals import MIN_SEEDS

RESAMPLES, AT_ONCE = 2000, 100

Correct = dict[str, dict[int, np.ndarray]]
"""Which test images are classified correctly, by algorithm and seed."""


def correct_images(records: Records) -> Correct:
    """Returns the recorded bits; none for records of earlier versions."""
    by_algorithm: Correct = {}
    for record in records:
        if record.get("correct"):
            bits = unpack_bits(record["correct"]).astype(np.float32)
            by_algorithm.setdefault(record["algorithm"], {})[record["seed"]] = bits
    return by_algorithm


def bootstrap_interval(values: np.ndarray) -> tuple[float, float]:
    """Computes the 95 % percentile interval of the mean, by resampling rows and columns.

    Rows (seeds) are drawn with replacement; columns (images) have Poisson weights, which is the
    same for many columns. The draws are the same at each call. Means of drawn seeds vary too little
    if there are few, so their distances from the mean are scaled: of images that are all alike, the
    interval is about as wide as Student's. It stays within the range of the values.

    Reference: Owen 2007, The pigeonhole bootstrap, Annals of Applied Statistics 1(2).

    Args:
      values: [seeds, images], at least two seeds.
    """
    rng, (seeds, images), means = np.random.default_rng(0), values.shape, []
    student = special.stdtrit(seeds - 1, 0.975) / special.ndtri(0.975)
    wider = student * np.sqrt(seeds / (seeds - 1)) - 1
    distances = values.mean(axis=1, dtype=float) - values.mean(dtype=float)
    for _ in range(RESAMPLES // AT_ONCE):
        of_seeds = rng.multinomial(seeds, np.full(seeds, 1 / seeds), AT_ONCE) / seeds
        of_images = rng.poisson(1.0, (AT_ONCE, images)).astype(np.float32)
        sums = (of_seeds.astype(np.float32) @ values * of_images).sum(axis=1, dtype=float)
        means.append(sums / np.maximum(of_images.sum(axis=1), 1) + wider * of_seeds @ distances)
    ends = np.quantile(np.concatenate(means), [0.025, 0.975])
    low, high = np.clip(ends, values.min(), values.max())
    return float(low), float(high)


def accuracy_cell(correct: Correct, algorithm: str) -> str:
    """Returns an algorithm's interval in percent; "-" for few seeds."""
    return _cell(list(correct.get(algorithm, {}).values()))


def difference_cell(correct: Correct, first: str, second: str) -> str:
    """Returns the interval of a difference in points, paired by seed and image; "-" for few
    seeds."""
    one, other = correct.get(first, {}), correct.get(second, {})
    return _cell([one[seed] - other[seed] for seed in sorted(one.keys() & other.keys())])


def _cell(rows: Sequence[np.ndarray]) -> str:
    if len(rows) < MIN_SEEDS:
        return "-"
    low, high = bootstrap_interval(np.stack(rows))
    return f"[{100 * low:.2f}, {100 * high:.2f}]"
