"""Samples: images and labels of one split, on the device."""

import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float, Int, UInt8

from sffa_jax.checks import check_image_shape, reject
from sffa_jax.core.overlays import check_labels


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
        """Pixels as the network sees them: (pixel / 255 - mean) / std."""
        return (images.astype(jnp.float32) / 255 - self.mean[None]) / self.std[None]


def make_samples(
    images: np.ndarray,
    labels: np.ndarray,
    *,
    num_classes: int,
    mean: float | np.ndarray,
    std: float | np.ndarray,
) -> Samples:
    """Puts one split of a data set on the device, each image as a flat row of pixels.

    Args:
      images: [samples, height, width] or [samples, height, width, channels], uint8.
      labels: [samples], integers in [0, num_classes).
      num_classes: number of labels.
      mean, std: scalars, or one value a channel; from the *training* split.

    Raises:
      TypeError: if the images are not uint8.
      ValueError: if counts differ, a split is empty, or a label is out of range.
    """
    if images.dtype != np.uint8:
        raise TypeError(
            f"make_samples: `images` must be uint8, got {images.dtype}. "
            "`data.to_uint8` converts floats in [0, 1]."
        )
    if len(images) != len(labels) or not len(images):
        raise reject(
            "make_samples",
            "labels",
            "hold one label for each image, at least one",
            f"{len(images)} images and {len(labels)} labels",
        )
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
    """Mean and deviation as flat rows of pixels take them: one value, or one a pixel for color.

    A deviation of 0 (a channel of one value) divides by 1.

    Raises:
      TypeError: for what is no number.
      ValueError: for one that is not finite, a negative deviation, or another number of channels.
    """
    check_image_shape("pixel_scale", image_shape)
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
