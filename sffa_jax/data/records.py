"""Data sets whose images stay on disk: splits that are read by index."""

import math
from abc import ABC, abstractmethod
from typing import NamedTuple

import numpy as np

from sffa_jax.data.dataset import DataError, Dataset, from_moments, moments

SCAN = 4096
"""Number of images read at once by a pass over a split."""

ADVICE = "Delete its folder in TFDS's data directory; the next use prepares it again."
"""What to do about a damaged set in TFDS's data directory."""


class Records(ABC):
    """One split of a stored data set: reads images and labels from disk by index.

    Several threads may read at once.

    Attributes:
      where: name of the split in errors.
      image_shape: shape of one image, (height, width) or (height, width, channels > 1).
    """

    where: str
    image_shape: tuple[int, ...]

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of images."""

    @property
    @abstractmethod
    def labels(self) -> np.ndarray:
        """All labels, [samples] int32, e.g. for `stratified_split`."""

    @abstractmethod
    def read(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return images [indices, *image_shape] uint8 and labels [indices] int32.

        Raises:
          DataError: if an image is damaged.
        """

    def statistics(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and standard deviation of pixel / 255 of some images; see `statistics`."""
        parts = (indices[start : start + SCAN] for start in range(0, len(indices), SCAN))
        total = np.sum([moments(self.read(part)[0]) for part in parts], axis=0)
        mean, std = from_moments(total)
        return (mean.squeeze(), std.squeeze()) if len(self.image_shape) == 2 else (mean, std)


class OnDisk(NamedTuple):
    """A stored data set whose images stay on disk.

    Attributes:
      name: the name that `load` takes.
      train, test: records of each split.
      class_names: one for each class.
      source: where the data lies; commands write it to `config.json`.
      sha256: SHA-256 of each array as stored; empty for a tfds: set or a folder.
    """

    name: str
    train: Records
    test: Records
    class_names: tuple[str, ...]
    source: str
    sha256: dict[str, str]

    @property
    def num_bytes(self) -> int:
        """Bytes that all images take in memory."""
        return sum(len(part) * math.prod(part.image_shape) for part in (self.train, self.test))


def in_memory(stored: OnDisk) -> Dataset:
    """Read a stored data set into memory.

    Raises:
      DataError: if a record is damaged or a checksum differs from the stored one.
    """
    arrays: dict[str, np.ndarray] = {}
    for split, records in (("train", stored.train), ("test", stored.test)):
        images, labels = records.read(np.arange(len(records)))
        arrays |= {f"{split}_images": images, f"{split}_labels": labels}
    dataset = Dataset(
        name=stored.name, class_names=stored.class_names, source=stored.source, **arrays
    )
    if stored.sha256 and dataset.sha256 != stored.sha256:
        raise DataError(f"load: {stored.source} is damaged: its checksum differs. {ADVICE}")
    return dataset
