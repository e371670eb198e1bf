"""The replay buffer of `partial_fit`: which rows stay, and how batches mix them with new rows.

`continual.buffer` keeps classes balanced by the same rule. It is a compiled program for indices
into a data set that stays on the device; here rows of any dtype come and go between calls, and one
sort in NumPy selects among thousands.
"""

import numpy as np
from jaxtyping import Float, Int


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
    return order[np.argsort(rank, kind="stable")][:slots]


def draw_batches(
    rng: np.random.Generator, num_new: int, num_kept: int, new_per_batch: int, batch_size: int
) -> Int[np.ndarray, "steps batch"]:
    """Draw the rows of each batch of one pass: shuffled new rows and random rows of the buffer.

    Every new row appears; the last batch, or a batch larger than the data, repeats the first rows.
    Rows of the buffer are numbered after the new ones.
    """
    steps = -(-num_new // new_per_batch)
    new = np.resize(rng.permutation(num_new), (steps, new_per_batch))
    kept = num_new + rng.integers(max(num_kept, 1), size=(steps, batch_size - new_per_batch))
    return np.concatenate([new, kept], axis=1).astype(np.int32)
