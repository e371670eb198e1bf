"""The rows that an estimator trains on: weights, batches, and the replay buffer of `partial_fit`.

`continual.buffer` keeps classes balanced, too, but leaves slots that a small class cannot fill
empty. It is a compiled program for indices
into a data set that stays on the device; here rows of any dtype come and go between calls, and one
sort in NumPy selects among thousands.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.validation import _check_sample_weight

from sffa_jax.checks import reject
from sffa_jax.data.arrays import to_array


def unwrap(where: str, argument: str, value: Any) -> Any:
    """Return tensors and masked arrays as plain arrays; scikit-learn converts everything else.

    Raises:
      ValueError: for masked values, which scikit-learn would use as if they were not masked.
    """
    if isinstance(value, np.ma.MaskedArray) or hasattr(value, "detach"):
        return to_array(value, where=where, argument=argument)
    return value


def total_weights(
    where: str, X: np.ndarray, y: np.ndarray, sample_weight: Any, class_weight: Any
) -> Float[np.ndarray, " samples"] | None:
    """Return the weight of each sample, by itself and by its class; None: all weigh the same."""
    weights = None
    if sample_weight is not None:
        sample_weight = unwrap(where, "sample_weight", sample_weight)
        weights = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
    if class_weight is not None:
        if class_weight != "balanced" and not isinstance(class_weight, Mapping):
            rule = "be None, 'balanced' or a dictionary"
            raise reject(where, "class_weight", rule, repr(class_weight))
        of_classes = compute_sample_weight(class_weight, y)
        if not np.all(np.isfinite(of_classes)) or of_classes.min() < 0 or not of_classes.max():
            rule = "have finite weights of at least 0, not all zero"
            raise reject(where, "class_weight", rule, class_weight)
        with np.errstate(over="ignore"):
            weights = of_classes if weights is None else weights * of_classes
    if weights is not None:
        with np.errstate(over="ignore"):
            total = weights.sum()
        if not 0 < total < np.inf:
            rule = "have, times `class_weight`, a finite sum above 0"
            raise reject(where, "sample_weight", rule, f"weights up to {weights.max():g}")
    return weights


def keep_balanced(
    class_index: Int[np.ndarray, " samples"], priority: Float[np.ndarray, " samples"], slots: int
) -> Int[np.ndarray, " kept"]:
    """Return the rows to keep: the same number per class, those with the highest priority.

    Slots that a small class does not need go to the others. With a random priority per sample, the
    buffer holds a uniform sample of all rows of each class.

    >>> keep_balanced(np.array([0, 0, 0, 1]), np.array([0.1, 0.9, 0.5, 0.2]), slots=2)
    array([1, 3])
    """
    order = np.lexsort((-priority, class_index))
    rank = np.arange(len(order)) - np.searchsorted(class_index[order], class_index[order])
    # By priority among equals; otherwise the last slots would go to the first classes.
    return order[np.lexsort((-priority[order], rank))][:slots]


def draw_batches(
    rng: np.random.Generator,
    num_new: int,
    num_kept: int,
    new_per_batch: int,
    batch_size: int,
    weights: Float[np.ndarray, " new"] | None = None,
) -> Int[np.ndarray, "steps batch"]:
    """Draw the rows of each batch of one pass: shuffled new rows and random rows of the buffer.

    Without weights, every new row appears; with weights, each appears in proportion to its weight,
    rounded up or down. The last batch, or a batch larger than the data, repeats the first rows.
    Rows of the buffer are numbered after the new ones.
    """
    steps = -(-num_new // new_per_batch)
    order = rng.permutation(num_new)
    if weights is not None:
        places = (np.arange(num_new) + rng.random()) / num_new
        edges = np.cumsum(weights[order]) / np.sum(weights)
        chosen = np.minimum(np.searchsorted(edges, places), num_new - 1)
        order = rng.permutation(order[chosen])
    new = np.resize(order, (steps, new_per_batch))
    kept = num_new + rng.integers(max(num_kept, 1), size=(steps, batch_size - new_per_batch))
    return np.concatenate([new, kept], axis=1).astype(np.int32)
