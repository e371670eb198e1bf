"""Splits by index, deterministic in their seed."""

from numbers import Real
from typing import Any

import numpy as np

from sffa_jax.checks import check_integer, check_range, reject
from sffa_jax.data.arrays import to_array
from sffa_jax.data.dataset import DataError


def stratified_split(labels: Any, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return indices of the samples to keep and of those held out, the same fraction per class.

    Args:
      labels: [samples] labels of any type.
      fraction: fraction of each class held out, in (0, 1); at least one sample, and not all.
      seed: selects the samples.

    Returns:
      Two sorted arrays of indices; together they hold every index once.

    Raises:
      TypeError, ValueError: if the fraction is not in (0, 1), the seed is no integer >= 0, or the
        labels are no row of labels or none.
      DataError: if a class has fewer than two samples.

    >>> kept, held_out = stratified_split(np.array([0, 0, 0, 0, 1, 1]), 0.5, seed=0)
    >>> kept.tolist(), held_out.tolist()
    ([1, 3, 4], [0, 2, 5])
    """
    check_integer("stratified_split", "seed", seed, 0)
    if not isinstance(fraction, Real) or not 0 < fraction < 1:
        advice = "0.1 holds out a tenth of every class."
        raise reject("stratified_split", "fraction", "lie between 0 and 1", repr(fraction), advice)
    labels = to_array(labels, where="stratified_split", argument="labels")
    if labels.ndim != 1 or not len(labels):
        advice = "Of one-hot rows, take the argmax." if labels.ndim == 2 else ""
        rule = "have one label for each sample"
        raise reject("stratified_split", "labels", rule, f"shape {labels.shape}", advice)
    rng = np.random.default_rng(seed)
    held_out = []
    classes, numbers = np.unique(labels, return_inverse=True)
    by_class = np.argsort(numbers, kind="stable")
    of_class = np.split(by_class, np.cumsum(np.bincount(numbers))[:-1])
    for label, members in zip(classes, of_class, strict=True):
        if len(members) < 2:
            raise DataError(
                f"stratified_split: class {label} must have at least 2 samples, got {len(members)}."
            )
        count = min(max(round(fraction * len(members)), 1), len(members) - 1)
        held_out.append(rng.permutation(members)[:count])
    held = np.sort(np.concatenate(held_out))
    return np.setdiff1d(np.arange(len(labels)), held, assume_unique=True), held


def check_test_fraction(where: str, test_fraction: float | None) -> None:
    """Raise TypeError or ValueError unless the fraction is None or a number in (0, 0.9]."""
    if test_fraction is not None:
        check_range(where, "test_fraction", test_fraction, above=0, at_most=0.9)


def held_out_test(labels: np.ndarray, test_fraction: float | None) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices of the training and the test split of data that has no test split.

    Args:
      labels: [samples] labels of any type.
      test_fraction: fraction of each class in the test split; None: a fifth.

    Raises:
      DataError: if a class has fewer than two samples.
    """
    return stratified_split(labels, 0.2 if test_fraction is None else float(test_fraction), seed=0)


def spread_rows(count: int, number: int) -> np.ndarray:
    """Return `number` of `count` rows (all if there are fewer), at equal distances.

    Rows are often sorted by class, so that the first ones are no sample of all.

    >>> spread_rows(10, 4).tolist()
    [0, 2, 5, 7]
    """
    number = min(number, count)
    # JAX's integers have 32 bits; the products of large sets have more.
    return np.arange(number, dtype=np.int64) * count // number
