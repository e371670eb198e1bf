"""Some rows of a split, at equal distances: own data may be sorted by class."""

import jax
import numpy as np

from sffa_jax.data.splits import spread_rows
from sffa_jax.training.samples import Samples


def take(samples: Samples, rows: np.ndarray | jax.Array) -> Samples:
    """Returns the samples in these rows."""
    return samples.replace(images=samples.images[rows], labels=samples.labels[rows])


def spread(samples: Samples, number: int) -> Samples:
    """Returns so many samples (all if there are fewer), at equal distances."""
    return take(samples, spread_rows(len(samples.labels), number))
