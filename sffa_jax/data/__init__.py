"""Image classification data by name: embedded, from a folder, from TFDS, or downloaded.

`load` reads a set into memory; `open_on_disk` and `batches` are for sets that do not fit.
tensorflow-datasets and grain are imported when they are needed, TensorFlow never.
"""

from sffa_jax.data.batches import AHEAD, Reading, batches
from sffa_jax.data.dataset import DataError, Dataset, statistics, to_uint8
from sffa_jax.data.formats.cifar import read_cifar10
from sffa_jax.data.formats.emnist import read_emnist_letters
from sffa_jax.data.formats.idx import read_idx
from sffa_jax.data.images import resize, to_gray, to_rgb
from sffa_jax.data.load import NAMES, check_name, load, open_on_disk
from sffa_jax.data.sources.records import OnDisk, Records
from sffa_jax.data.splits import class_subset, draw_tasks, stratified_split, task_splits

__all__ = [
    "AHEAD",
    "NAMES",
    "DataError",
    "Dataset",
    "OnDisk",
    "Reading",
    "Records",
    "batches",
    "check_name",
    "class_subset",
    "draw_tasks",
    "load",
    "open_on_disk",
    "read_cifar10",
    "read_emnist_letters",
    "read_idx",
    "resize",
    "statistics",
    "stratified_split",
    "task_splits",
    "to_gray",
    "to_rgb",
    "to_uint8",
]
