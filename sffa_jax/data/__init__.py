"""Image classification data: embedded digits and the published IDX files of a local folder."""

from sffa_jax.data.catalogue import NAMES, load
from sffa_jax.data.dataset import DataError, Dataset, statistics, to_uint8
from sffa_jax.data.idx import read_idx
from sffa_jax.data.splits import stratified_split

__all__ = [
    "NAMES",
    "DataError",
    "Dataset",
    "load",
    "read_idx",
    "statistics",
    "stratified_split",
    "to_uint8",
]
