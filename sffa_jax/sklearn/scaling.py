"""Standardization of features of any scale, with statistics that are updated batch by batch.

All sums are taken in units of a power of two per feature. That is exact, and neither the square of
1e300 overflows nor that of 1e-300 vanishes.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from sffa_jax.checks import reject
from sffa_jax.data.splits import spread_rows

CONSTANT = 1e-12
"""A feature with a smaller deviation, relative to its mean, varies by its rounding error only."""

OUTLIER = 1e6
"""Largest distance from the mean, in standard deviations: inputs of the network are clipped to it,
and a batch of `partial_fit` with a larger one is rejected."""

ALONE = 1e9
"""Largest distance of a value from its column's median, in median absolute deviations: the others
would differ by less than float32 resolves."""

FEW = 10
"""Number of samples below which a deviation says little, because a few may be almost equal by
chance: `ALONE` is the bound then, in place of `OUTLIER`."""


class Moments(NamedTuple):
    """Statistics of the samples so far. Attributes: mean, std: per feature; size: samples."""

    mean: Float[np.ndarray, " features"]
    std: Float[np.ndarray, " features"]
    size: int


def no_moments(features: int) -> Moments:
    """Return the statistics of zero samples."""
    return Moments(np.zeros(features), np.zeros(features), 0)


def add_moments(
    moments: Moments,
    X: Float[np.ndarray, "samples features"],
    weights: Float[np.ndarray, " samples"] | None,
) -> Moments:
    """Add samples (Chan, Golub & LeVeque 1983); weights None: the same for all.

    >>> add_moments(no_moments(1), np.array([[1e300], [3e300]]), None).std
    array([1.e+300])
    """
    mean, std, seen = moments
    new, total = len(X), seen + len(X)
    largest = np.max([np.abs(X).max(axis=0).astype(np.float64), np.abs(mean), std], axis=0)
    unit = np.frexp(largest)[1]
    mean, std, rows = (np.ldexp(value, -unit) for value in (mean, std, X.astype(np.float64)))
    center = np.average(rows, axis=0, weights=weights)
    within = np.average(np.square(rows - center), axis=0, weights=weights)
    step = center - mean
    variance = (seen * np.square(std) + new * within) / total
    variance = variance + np.square(step) * seen * new / total**2
    return Moments(
        np.ldexp(mean + step * new / total, unit), np.ldexp(np.sqrt(variance), unit), total
    )


def _varies(moments: Moments) -> Bool[np.ndarray, " features"]:
    return moments.std > CONSTANT * np.abs(moments.mean)


def _distances(
    moments: Moments, X: Float[np.ndarray, "samples features"]
) -> Float[np.ndarray, "samples features"]:
    """Return the signed distance of each value from the mean in standard deviations."""
    scale = np.where(_varies(moments), moments.std, 1.0)
    unit = np.frexp(scale)[1]
    with np.errstate(over="ignore"):
        rows, mean, scale = (
            np.ldexp(value, -unit) for value in (X.astype(np.float64), moments.mean, scale)
        )
        return (rows - mean) / scale


def standardize(
    moments: Moments, X: Float[np.ndarray, "samples features"]
) -> Float[np.ndarray, "samples features"]:
    """Return features of mean 0 and deviation 1, float32, clipped to `OUTLIER`.

    >>> standardize(Moments(np.array([1.0]), np.array([2.0]), 5), np.array([[3.0], [1e300]]))
    array([[1.e+00],
           [1.e+06]], dtype=float32)
    """
    return np.clip(_distances(moments, X), -OUTLIER, OUTLIER).astype(np.float32)


def check_outliers(where: str, moments: Moments, X: Float[np.ndarray, "samples features"]) -> None:
    """Raise ValueError if single values would hide the rest of a batch or of the samples so far."""
    some = X[spread_rows(len(X), 1000)].astype(np.float64)
    unit = np.frexp(np.abs(X).max(axis=0).astype(np.float64))[1]
    some, rows = np.ldexp(some, -unit), np.ldexp(X.astype(np.float64), -unit)
    middle = np.median(some, axis=0)
    spread = np.median(np.abs(some - middle), axis=0)
    alone = np.abs(rows - middle) > ALONE * np.where(spread > 0, spread, np.inf)
    if alone.any():
        rule = f"lie within {ALONE:g} median absolute deviations of its column"
        _reject(where, X, alone, rule, "Correct the value, or take the column's logarithm.")
    bound = OUTLIER if moments.size >= FEW else ALONE
    far = _varies(moments) & (np.abs(_distances(moments, X)) > bound)
    if moments.size > 1 and far.any():
        rule = f"lie within {bound:g} standard deviations of the samples so far"
        _reject(where, X, far, rule, "Correct the value, or call `fit` to start anew.")


def _reject(where: str, X: np.ndarray, wrong: np.ndarray, rule: str, advice: str) -> None:
    row, column = np.argwhere(wrong)[0]
    raise reject(where, "X", rule, f"{X[row, column]:g} in row {row}, column {column}", advice)
