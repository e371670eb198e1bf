"""Splits by index, deterministic in their seed."""

import numpy as np

from sffa_jax.data.dataset import DataError


def stratified_split(
    labels: np.ndarray, fraction: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Holds out a share of every class.

    Args:
      labels: [samples] integers.
      fraction: share held out, in (0, 1); of each class at least one sample and not all.
      seed: which samples.

    Returns:
      Indices that stay and indices held out, each sorted; together all of them, once.

    Raises:
      DataError: for a fraction outside (0, 1) or a class of fewer than two samples.
    """
    if not 0 < fraction < 1:
        raise DataError(
            f"stratified_split: `fraction` must lie between 0 and 1, got {fraction}. "
            "0.1 holds out a tenth of every class."
        )
    rng = np.random.default_rng(seed)
    held_out = []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        if len(members) < 2:
            raise DataError(
                f"stratified_split: class {label} must have at least 2 samples, got {len(members)}."
            )
        count = min(max(round(fraction * len(members)), 1), len(members) - 1)
        held_out.append(rng.permutation(members)[:count])
    held = np.sort(np.concatenate(held_out))
    return np.setdiff1d(np.arange(len(labels)), held, assume_unique=True), held
