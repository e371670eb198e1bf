"""A data set in memory: uint8 images with labels, checked when it is built."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from numbers import Integral
from typing import Any

import numpy as np


class DataError(ValueError):
    """Data that is missing or is not what it should be."""


def check_whole(where: str, argument: str, value: Any, minimum: int | None = None) -> None:
    """Raises DataError unless `value` is a whole number, and at least `minimum`."""
    whole = isinstance(value, Integral) and not isinstance(value, bool)
    if not whole or (minimum is not None and value < minimum):
        least = "" if minimum is None else f" of at least {minimum}"
        raise DataError(f"{where}: `{argument}` must be a whole number{least}, got {value!r}.")


@dataclass(frozen=True)
class Dataset:
    """Images and labels, in a training and a test split.

    Attributes:
      name: as the command line names it.
      train_images, test_images: [samples, height, width] or [..., channels], uint8.
      train_labels, test_labels: [samples], int32 in [0, classes).
      class_names: one a class.
      source: where it was read from, for the record.

    Raises:
      DataError: if a split is empty, shapes or counts differ, images are not uint8, or a label
        is out of range.
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
            if images.dtype != np.uint8 or images.ndim not in (3, 4):
                raise DataError(
                    f"{where}: images must be uint8 of shape (samples, height, width[, channels]), "
                    f"got {images.dtype} of shape {images.shape}."
                )
            if not np.issubdtype(labels.dtype, np.integer) or labels.ndim != 1:
                raise DataError(
                    f"{where}: labels must be integers of shape (samples,), got {labels.dtype} of "
                    f"shape {labels.shape}."
                )
            if len(images) != len(labels) or not len(images):
                raise DataError(
                    f"{where}: there must be one label for each image and at least one, got "
                    f"{len(images)} images and {len(labels)} labels."
                )
            if labels.min() < 0 or labels.max() >= self.num_classes:
                raise DataError(
                    f"{where}: labels must lie in [0, {self.num_classes}), got min {labels.min()}, "
                    f"max {labels.max()}. Relabel the data, or name {labels.max() + 1} classes."
                )
        if self.train_images.shape[1:] != self.test_images.shape[1:]:
            raise DataError(
                f"Dataset {self.name}: test images must have the training images' shape "
                f"{self.train_images.shape[1:]}, got {self.test_images.shape[1:]}."
            )

    @property
    def num_classes(self) -> int:
        """Number of labels."""
        return len(self.class_names)

    @cached_property
    def sha256(self) -> dict[str, str]:
        """Content hash of each array's bytes, so that two sources can be compared."""
        arrays = ("train_images", "train_labels", "test_images", "test_labels")
        return {
            name: hashlib.sha256(np.ascontiguousarray(getattr(self, name)).data).hexdigest()
            for name in arrays
        }


def to_uint8(images: np.ndarray) -> np.ndarray:
    """Pixels as uint8: as they are, or rounded from floats in [0, 1].

    Raises:
      DataError: for NaN or infinite pixels, values outside [0, 1], or another dtype.
    """
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


def statistics(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of pixel / 255: a scalar, or one a channel for color.

    From whole-number sums, so exact up to the last rounding, and without a float copy.
    """
    mean, std = from_moments(moments(images))
    return (mean.squeeze(), std.squeeze()) if images.ndim == 3 else (mean, std)


def moments(images: np.ndarray) -> np.ndarray:
    """Count, sum and sum of squares of the pixels, [3, channels]; those of parts add up."""
    pixels = images.reshape(-1, images.shape[3] if images.ndim == 4 else 1)
    total = np.zeros((3, pixels.shape[1]), np.uint64)
    for start in range(0, len(pixels), 1 << 20):  # a block's squares fit the cache
        block = pixels[start : start + (1 << 20)]
        total[0] += np.uint64(len(block))
        total[1] += block.sum(axis=0, dtype=np.uint64)
        total[2] += np.square(block, dtype=np.uint32).sum(axis=0, dtype=np.uint64)
    return total


def from_moments(total: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of pixel / 255, [channels], from `moments`."""
    count, first, second = total.astype(np.float64)
    mean = first / count
    std = np.sqrt(np.maximum(second / count - mean**2, 0))
    return (mean / 255).astype(np.float32), (std / 255).astype(np.float32)
