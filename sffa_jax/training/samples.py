"""Samples: images and labels of one split, on the device, with the scale of their pixels."""

import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float, Int, UInt8

from sffa_jax.checks import check_image_shape, reject
from sffa_jax.core.overlays import check_labels
from sffa_jax.data.dataset import Dataset, statistics
from sffa_jax.data.splits import stratified_split


class Samples(struct.PyTreeNode):
    """Images and labels on the device; images stay uint8 until a batch is drawn.

    Attributes:
      images: pixels 0..255.
      labels: class of each image.
      mean, std: of the training pixels, in units of the full range (pixel / 255).
      num_classes: number of labels.
    """

    images: UInt8[Array, "samples *input"]
    labels: Int[Array, " samples"]
    mean: Float[Array, " one_or_input"]
    std: Float[Array, " one_or_input"]
    num_classes: int = struct.field(pytree_node=False)

    def scaled(self, images: UInt8[Array, "batch *input"]) -> Float[Array, "batch *input"]:
        """Scales rows of pixels for a learner: (pixel / 255 - mean) / std."""
        return (images.astype(jnp.float32) / 255 - self.mean[None]) / self.std[None]

    def scaled_images(self, images: np.ndarray) -> Float[Array, "batch features"]:
        """Scales other raw images, uint8, like these; returns flat rows for `predict`.

        Raises:
          TypeError: if the images are not uint8.
          ValueError: if they do not have as many pixels as these.
        """
        _check_uint8("scaled_images", images)
        rows = images.reshape(len(images), -1)
        if rows.shape[1:] != self.images.shape[1:]:
            pixels = self.images.shape[1]
            raise reject("scaled_images", "images", f"have {pixels} pixels each", images.shape)
        return self.scaled(jnp.asarray(rows))


def _check_uint8(where: str, images: np.ndarray) -> None:
    if images.dtype != np.uint8:
        raise TypeError(
            f"{where}: `images` must be uint8, got {images.dtype}. "
            "`data.to_uint8` converts floats in [0, 1]."
        )


def samples_from(
    dataset: Dataset, *, validation: float | None = None, seed: int = 0
) -> tuple[Samples, ...]:
    """Puts a data set on the device: (train, test), or (train, validation, test).

    Pixels are scaled by the statistics of the training split.

    Args:
      dataset: from `data.load`, or a `Dataset` of custom arrays.
      validation: fraction of the training images of each class to hold out; None: none.
      seed: seed of the random choice of these images.

    Raises:
      TypeError, ValueError: for a fraction outside (0, 1) or a seed below 0.

    >>> from sffa_jax import data
    >>> train, test = samples_from(data.load("digits"))
    >>> train.num_classes
    10
    """
    images, labels = dataset.train_images, dataset.train_labels
    splits = [np.arange(len(labels))]
    if validation is not None:
        splits = list(stratified_split(labels, validation, seed))
    mean, std = statistics(images[splits[0]])
    pairs = [(images[rows], labels[rows]) for rows in splits]
    return tuple(
        make_samples(*pair, num_classes=dataset.num_classes, mean=mean, std=std)
        for pair in (*pairs, (dataset.test_images, dataset.test_labels))
    )


def make_samples(
    images: np.ndarray,
    labels: np.ndarray,
    *,
    num_classes: int | None = None,
    mean: float | np.ndarray,
    std: float | np.ndarray,
) -> Samples:
    """Puts one split of a data set on the device, each image as a flat row of pixels.

    Args:
      images: [samples, height, width] or [samples, height, width, channels], uint8.
      labels: [samples], integers in [0, num_classes).
      num_classes: number of labels; None: the highest label plus one.
      mean, std: scalars, or one value per channel; from the *training* split.

    Raises:
      TypeError: if the images are not uint8.
      ValueError: if counts differ, a split is empty, or a label is out of range.

    >>> images = np.zeros((3, 4, 4), np.uint8)
    >>> make_samples(images, np.array([0, 1, 1]), mean=0.0, std=1.0).images.shape
    (3, 16)
    """
    _check_uint8("make_samples", images)
    if len(images) != len(labels) or not len(images):
        raise reject(
            "make_samples",
            "labels",
            "contain one label for each image, at least one",
            f"{len(images)} images and {len(labels)} labels",
        )
    if num_classes is None:
        num_classes = int(np.max(labels)) + 1
    check_labels("make_samples", labels, num_classes)
    mean, std = pixel_scale(mean, std, images.shape[1:])
    return Samples(
        images=jnp.asarray(images.reshape(len(images), -1)),
        labels=jnp.asarray(labels, jnp.int32),
        mean=jnp.asarray(mean),
        std=jnp.asarray(std),
        num_classes=num_classes,
    )


def pixel_scale(
    mean: float | np.ndarray, std: float | np.ndarray, image_shape: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation for flat rows of pixels: one value, or one per pixel for color.

    A deviation of 0 (a constant channel) is replaced by 1.

    Raises:
      TypeError: for a value that is not a number.
      ValueError: for one that is not finite, a negative deviation, or another number of channels.
    """
    check_image_shape("pixel_scale", image_shape, "image_shape")
    rows = []
    for name, value in (("mean", mean), ("std", std)):
        numbers = np.asarray(value)
        if numbers.dtype.kind not in "iuf":
            raise TypeError(f"pixel_scale: `{name}` must be numbers, got {value!r}.")
        numbers = numbers.astype(np.float64)
        with np.errstate(over="ignore"):
            finite = bool(np.isfinite(numbers.astype(np.float32)).all())
        if not finite or (name == "std" and (numbers < 0).any()):
            rule = "be finite and not negative" if name == "std" else "be finite"
            raise reject("pixel_scale", name, rule, repr(value))
        if numbers.ndim and numbers.shape[-1:] != tuple(image_shape[2:]):
            raise reject("pixel_scale", name, f"fit images of {tuple(image_shape)}", repr(value))
        rows.append(
            np.ravel(numbers if not numbers.ndim else np.broadcast_to(numbers, image_shape))
        )
    return rows[0].astype(np.float32), np.where(rows[1] > 0, rows[1], 1).astype(np.float32)
