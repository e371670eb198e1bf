"""Samples: images and labels of one split, on the device, with the scale of their pixels."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float, Int, UInt8

from sffa_jax.checks import check_image_shape, check_type, reject, reject_type
from sffa_jax.data.arrays import check_counts, to_images, to_labels
from sffa_jax.data.dataset import Dataset, statistics
from sffa_jax.data.splits import spread_rows, stratified_split
from sffa_jax.training.learner import check_label_array

LARGEST_RMS = 50.0
"""Largest root mean square of scaled float images; above it, `mean` and `std` have other units."""


class Samples(struct.PyTreeNode):
    """Images and labels on the device, and the scale of the images.

    Attributes:
      images: uint8 pixels, which become floats when a batch is drawn, or floats.
      labels: class of each image.
      mean, std: of the training images: in units of pixel / 255 for uint8, in the images' own units
        for floats.
      num_classes: number of labels.
    """

    images: UInt8[Array, "samples *input"] | Float[Array, "samples *input"]
    labels: Int[Array, " samples"]
    mean: Float[Array, " one_or_input"]
    std: Float[Array, " one_or_input"]
    num_classes: int = struct.field(pytree_node=False)

    def scaled(
        self, images: UInt8[Array, "batch *input"] | Float[Array, "batch *input"]
    ) -> Float[Array, "batch *input"]:
        """Scales rows for a learner: (pixel / 255 - mean) / std, without the 255 for floats."""
        x = images.astype(jnp.float32) / 255 if images.dtype == jnp.uint8 else images
        return (x - self.mean[None]) / self.std[None]

    def scaled_images(self, images: Any) -> Float[Array, "batch features"]:
        """Scales other raw images like these; returns flat rows for `predict`.

        Args:
          images: see `data.to_images`. Floats in [0, 1] are accepted in place of uint8 pixels; if
            these samples are floats, the images must be floats of the same units.

        Raises:
          TypeError: for what is no array of numbers, or pixels in place of floats.
          ValueError: if they do not have as many pixels as these, or are out of range.
        """
        where = "scaled_images"
        array = to_images(images, where=where)
        if not array.size:
            raise reject(where, "images", "contain at least one image", f"shape {array.shape}")
        rows = array.reshape(len(array), -1)
        if rows.shape[1:] != self.images.shape[1:]:
            rule = f"have {self.images.shape[1]} pixels each"
            advice = "Add an axis to a single image: `images[None]`."
            raise reject(where, "images", rule, f"shape {array.shape}", advice)
        if self.images.dtype != jnp.uint8 and rows.dtype == np.uint8:
            rule = "be floats of the training images' units"
            raise reject_type(where, "images", rule, array.dtype, "Convert them in the same way.")
        if self.images.dtype == jnp.uint8 and rows.dtype != np.uint8:
            lowest, highest = rows.min(), rows.max()
            if lowest < 0 or highest > 1:
                rule, got = "be uint8 or lie in [0, 1]", f"min {lowest:g}, max {highest:g}"
                advice = "`predict` takes images that are scaled already."
                raise reject(where, "images", rule, got, advice)
        return self.scaled(jnp.asarray(rows))


def check_samples(where: str, samples: Any, num_classes: int) -> None:
    """Raises unless these are whole `Samples` of this number of classes.

    The range of labels is checked only outside of `jit` and `vmap`.
    """
    advice = "`make_samples(images, labels, mean=..., std=...)` makes them."
    check_type(where, "samples", samples, Samples, "be `Samples`", advice)
    images, labels = samples.images, samples.labels
    if images.dtype != jnp.uint8 and not jnp.issubdtype(images.dtype, jnp.floating):
        raise reject_type(where, "images", "be uint8 or float", images.dtype, "Use `make_samples`.")
    if samples.num_classes != num_classes:
        raise reject(
            where,
            "samples",
            f"have the learner's {num_classes} classes",
            samples.num_classes,
            "Build the network and the samples for the same number of classes: "
            "`make_samples(..., num_classes=...)`.",
        )
    check_label_array(where, labels, images.shape[0], num_classes)


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
      TypeError: for anything but a `Dataset`.
      TypeError, ValueError: for a fraction outside (0, 1) or a seed below 0.

    >>> from sffa_jax import data
    >>> train, test = samples_from(data.load("digits"))
    >>> train.num_classes
    10
    """
    advice = "`data.load(name)` and `data.from_arrays(images, labels)` return one."
    check_type("samples_from", "dataset", dataset, Dataset, "be a `Dataset`", advice)
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
    images: Any,
    labels: Any,
    *,
    num_classes: int | None = None,
    mean: float | np.ndarray,
    std: float | np.ndarray,
) -> Samples:
    """Puts one split of a data set on the device, each image as a flat row.

    Args:
      images: [samples, height, width], [samples, height, width, channels] or [samples, pixels]:
        uint8 pixels or floats of any scale, in an array, a tensor, a list or a DataFrame; see
        `data.to_images`.
      labels: [samples], integers in [0, num_classes); see `data.to_labels`.
      num_classes: number of labels; None: the highest label plus one.
      mean, std: scalars, or one value per channel; from the *training* split, by
        `data.statistics`. In units of pixel / 255 for uint8, in the images' own units for floats:
        0 and 1 for standardized images.

    Raises:
      TypeError, ValueError: for images and labels that `data.to_images` and `data.to_labels`
        reject, if counts differ, or if `mean` and `std` have other units than the images.

    >>> images = np.zeros((3, 4, 4), np.uint8)
    >>> make_samples(images, np.array([0, 1, 1]), mean=0.0, std=1.0).images.shape
    (3, 16)
    """
    where = "make_samples"
    images = to_images(images, where=where)
    labels = to_labels(labels, num_classes, where=where)
    check_counts(images, labels, where=where)
    if num_classes is None:
        num_classes = int(labels.max()) + 1
    mean, std = pixel_scale(mean, std, images.shape[1:])
    rows = images.reshape(len(images), -1)
    _check_units(where, rows, mean, std)
    return Samples(
        images=jnp.asarray(rows),
        labels=jnp.asarray(labels),
        mean=jnp.asarray(mean),
        std=jnp.asarray(std),
        num_classes=num_classes,
    )


def check_pixel_units(where: str, mean: np.ndarray, std: np.ndarray) -> None:
    """Raises ValueError if `mean` and `std` cannot be in units of pixel / 255."""
    for name, number in (("mean", mean.max()), ("std", std.min())):
        if number > 1:
            rule, advice = "be in units of pixel / 255 for uint8 images", "Divide by 255."
            raise reject(where, name, rule, f"{number:g}", advice)


def _check_units(where: str, rows: np.ndarray, mean: np.ndarray, std: np.ndarray) -> None:
    """Raises ValueError if `mean` and `std` cannot be in the images' units."""
    if rows.dtype == np.uint8:
        check_pixel_units(where, mean, std)
        return
    some = rows[spread_rows(len(rows), 1000)]  # a scale of another unit shows in a thousand images
    with np.errstate(over="ignore"):
        rms = float(np.sqrt(np.mean(np.square((some - mean[None]) / std[None]))))
    if not rms <= LARGEST_RMS:
        got = f"a root mean square of {rms:.3g} after scaling"
        advice = "`data.statistics(train_images)` returns both."
        raise reject(where, "mean", "be, with `std`, in the units of the float images", got, advice)


def pixel_scale(
    mean: float | np.ndarray, std: float | np.ndarray, image_shape: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation for flat rows: one value, or one per pixel or feature.

    A deviation of 0 (a constant channel or feature), or one so small that it has no float32, is
    replaced by 1.

    Raises:
      TypeError: for a value that is not a number.
      ValueError: for one that is not finite, a negative deviation, or another number of channels.
    """
    if len(image_shape) != 1:  # rows of pixels or features
        check_image_shape("pixel_scale", image_shape, "image_shape")
    channels = tuple(image_shape if len(image_shape) == 1 else image_shape[2:])
    rows = []
    for name, value in (("mean", mean), ("std", std)):
        numbers = np.asarray(value)
        if numbers.dtype.kind not in "iuf":
            raise reject_type("pixel_scale", name, "be numbers", repr(value))
        numbers = numbers.astype(np.float64)
        with np.errstate(over="ignore"):
            finite = bool(np.isfinite(numbers.astype(np.float32)).all())
        if not finite or (name == "std" and (numbers < 0).any()):
            rule = "be finite and not negative" if name == "std" else "be finite"
            raise reject("pixel_scale", name, rule, repr(value))
        if numbers.ndim and numbers.shape[-1:] != channels:
            raise reject("pixel_scale", name, f"fit images of {tuple(image_shape)}", repr(value))
        rows.append(
            np.ravel(numbers if not numbers.ndim else np.broadcast_to(numbers, image_shape))
        )
    usable = rows[1] >= np.finfo(np.float32).tiny
    return rows[0].astype(np.float32), np.where(usable, rows[1], 1).astype(np.float32)
