"""A data set in memory: images or features with labels, checked when it is created."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from sffa_jax.checks import reject
from sffa_jax.data.arrays import check_counts, to_array, to_images, to_labels


class DataError(ValueError):
    """The data is missing, damaged or inconsistent. (Bad arguments raise a plain ValueError.)"""


@dataclass(frozen=True)
class Dataset:
    """Images and labels, in a training and a test split.

    Attributes:
      name: the name that `load` takes.
      train_images, test_images: [samples, height, width], [samples, height, width, channels] or
        [samples, features]; uint8 pixels or float32 numbers of any scale; see `to_images` for what
        is converted.
      train_labels, test_labels: [samples] integers in [0, num_classes); see `to_labels`.
      class_names: one for each class.
      source: where the data was read from; commands write it to `config.json`.

    Raises:
      DataError: if a split is empty, shapes, types or counts differ, or a label is out of range.

    >>> images, labels = np.zeros((4, 8, 8), np.uint8), np.array([0, 1, 0, 1])
    >>> Dataset("blank", images, labels, images[:2], labels[:2], ("a", "b"), "an example")
    Dataset('blank', train_images (4, 8, 8), test_images (2, 8, 8), 2 classes)
    """

    name: str
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    class_names: tuple[str, ...]
    source: str

    def __post_init__(self) -> None:
        for split in ("train", "test"):
            images, labels = getattr(self, f"{split}_images"), getattr(self, f"{split}_labels")
            where = f"Dataset {self.name}, {split}"
            try:
                images = to_images(images, where=where)
                labels = to_labels(labels, self.num_classes, where=where)
                check_counts(images, labels, where=where)
            except (TypeError, ValueError) as error:
                raise DataError(str(error)) from None
            # A frozen dataclass; the checked arrays replace what was given.
            object.__setattr__(self, f"{split}_images", images)
            object.__setattr__(self, f"{split}_labels", labels)
        if self.train_images.shape[1:] != self.test_images.shape[1:]:
            raise DataError(
                f"Dataset {self.name}: test images must have the training images' shape "
                f"{self.train_images.shape[1:]}, got {self.test_images.shape[1:]}."
            )
        if self.train_images.dtype != self.test_images.dtype:
            raise DataError(
                f"Dataset {self.name}: test images must have the training images' type "
                f"{self.train_images.dtype}, got {self.test_images.dtype}. Convert both alike."
            )

    def __repr__(self) -> str:
        shapes = f"train_images {self.train_images.shape}, test_images {self.test_images.shape}"
        return f"Dataset({self.name!r}, {shapes}, {self.num_classes} classes)"

    @property
    def num_classes(self) -> int:
        """Number of labels."""
        return len(self.class_names)

    @cached_property
    def sha256(self) -> dict[str, str]:
        """SHA-256 of each array's bytes, by name; equal for two sources of the same data."""
        arrays = ("train_images", "train_labels", "test_images", "test_labels")
        return {
            name: hashlib.sha256(np.ascontiguousarray(getattr(self, name)).data).hexdigest()
            for name in arrays
        }


def to_uint8(images: Any) -> np.ndarray:
    """Return pixels as uint8; floats in [0, 1] are multiplied by 255 and rounded.

    Args:
      images: pixels of any shape, uint8 or float: an array, a tensor or a list.

    Raises:
      DataError: for NaN or infinite pixels, values outside [0, 1], or another dtype.

    >>> to_uint8(np.array([0.0, 0.5, 1.0]))
    array([  0, 128, 255], dtype=uint8)
    """
    images = to_array(images, where="to_uint8", argument="images")
    if images.dtype == np.uint8:
        return images
    if not np.issubdtype(images.dtype, np.floating):
        raise DataError(f"to_uint8: `images` must be uint8 or float, got {images.dtype}.")
    bad = int(np.sum(~np.isfinite(images)))
    if bad:
        raise DataError(f"to_uint8: `images` must be finite, got {bad} NaN or infinite pixels.")
    if images.size and (images.min() < 0 or images.max() > 1):
        raise DataError(
            f"to_uint8: `images` must lie in [0, 1], got min {images.min():g}, max "
            f"{images.max():g}. Divide by the largest possible pixel value."
        )
    return np.round(images * 255).astype(np.uint8)


def statistics(images: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation: scalars, [channels] for color, or [features].

    In units of pixel / 255 for uint8, whose sums are integers: the result is exact up to the last
    rounding, without a float copy of the images. In the images' own units for floats; of a table of
    floats, each feature has its own, and the deviation of a constant one is 0.

    Args:
      images: see `to_images`.

    Raises:
      TypeError, ValueError: as `to_images`, or for no images.

    >>> mean, std = statistics(np.array([[[0, 255]]], np.uint8))
    >>> float(mean), float(std)
    (0.5, 0.5)
    """
    images = to_images(images, where="statistics")
    if not images.size:
        raise reject("statistics", "images", "contain pixels or features", f"shape {images.shape}")
    if images.dtype == np.uint8:
        mean, std = from_moments(moments(images))
    else:
        channels = images.reshape(-1, 1 if images.ndim == 3 else images.shape[-1])
        exact = channels.mean(axis=0, dtype=np.float64)
        deviation = channels.std(axis=0, dtype=np.float64)
        # What varies less than its rounding error is constant.
        deviation[deviation <= np.finfo(np.float32).eps * np.abs(exact)] = 0
        mean, std = exact.astype(np.float32), deviation.astype(np.float32)
        if images.ndim == 2:
            return mean, std
    return (mean, std) if images.ndim == 4 else (mean.squeeze(), std.squeeze())


def moments(images: np.ndarray) -> np.ndarray:
    """Return count, sum and sum of squares of the pixels, [3, channels]; add them over parts."""
    pixels = images.reshape(-1, images.shape[3] if images.ndim == 4 else 1)
    total = np.zeros((3, pixels.shape[1]), np.uint64)
    for start in range(0, len(pixels), 1 << 20):  # a block's squares fit the cache
        block = pixels[start : start + (1 << 20)]
        total[0] += np.uint64(len(block))
        total[1] += block.sum(axis=0, dtype=np.uint64)
        total[2] += np.square(block, dtype=np.uint32).sum(axis=0, dtype=np.uint64)
    return total


def from_moments(total: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of pixel / 255, [channels], from `moments`."""
    count, first, second = total.astype(np.float64)
    mean = first / count
    std = np.sqrt(np.maximum(second / count - mean**2, 0))
    return (mean / 255).astype(np.float32), (std / 255).astype(np.float32)
