"""Conversions of uint8 images: gray, RGB, resized."""

from typing import Any

import numpy as np

from sffa_jax.checks import check_integer
from sffa_jax.data.arrays import to_images
from sffa_jax.data.dataset import DataError


def to_gray(images: Any) -> np.ndarray:
    """Return the luma of RGB images, [samples, height, width] uint8; gray images are unchanged.

    (299 R + 587 G + 114 B) / 1000, rounded.

    Args:
      images: [samples, height, width] or [samples, height, width, 1 or 3], uint8.

    Raises:
      DataError: if the images are neither gray nor RGB.

    Reference: ITU-R BT.601.

    >>> to_gray(np.array([[[[255, 0, 0], [255, 255, 255]]]], np.uint8))
    array([[[ 76, 255]]], dtype=uint8)
    """
    images, channels = _photographs("to_gray", images)
    if channels == 1:
        return images.reshape(images.shape[:3])
    weighted = images.astype(np.uint32) @ np.array([299, 587, 114], np.uint32)
    return ((weighted + 500) // 1000).astype(np.uint8)


def to_rgb(images: Any) -> np.ndarray:
    """Return gray images repeated in three channels, [samples, height, width, 3] uint8.

    RGB images are unchanged.

    Args:
      images: as in `to_gray`.

    Raises:
      DataError: if the images are neither gray nor RGB.

    >>> to_rgb(np.array([[[7]]], np.uint8))
    array([[[[7, 7, 7]]]], dtype=uint8)
    """
    images, channels = _photographs("to_rgb", images)
    if channels == 3:
        return images
    return np.repeat(images.reshape(*images.shape[:3], 1), 3, axis=-1)


def resize(images: Any, height: int, width: int) -> np.ndarray:
    """Return images of another size: averaged where they shrink, interpolated where they grow.

    Args:
      images: [samples, height, width] or [samples, height, width, 1 or 3], uint8.
      height, width: new size in pixels.

    Raises:
      DataError: if the images are neither gray nor RGB.
      TypeError, ValueError: if the new size is not a positive integer.

    >>> resize(np.full((1, 4, 4), 9, np.uint8), 2, 2)
    array([[[9, 9],
            [9, 9]]], dtype=uint8)
    """
    # Imported here: only this function needs Pillow.
    from PIL import Image

    check_integer("resize", "height", height, 1)
    check_integer("resize", "width", width, 1)
    images, channels = _photographs("resize", images)
    # Pillow widens its bilinear filter by the scale, so that it averages where an image shrinks.
    resized = [
        np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))
        for image in (to_gray(images) if channels == 1 else images)
    ]
    shape = (len(images), height, width, *images.shape[3:])
    return np.stack(resized).reshape(shape) if resized else np.zeros(shape, np.uint8)


def _photographs(where: str, images: Any) -> tuple[np.ndarray, int]:
    """Return gray or RGB images as an array, and their number of channels."""
    array = to_images(images, where=where)
    channels = array.shape[3] if array.ndim == 4 else 1
    if array.dtype != np.uint8 or array.ndim not in (3, 4) or channels not in (1, 3):
        raise DataError(
            f"{where}: `images` must be uint8 of shape (samples, height, width[, 1 or 3]), got "
            f"{array.dtype} of shape {array.shape}."
        )
    return array, channels
