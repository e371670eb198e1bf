"""Conversions of uint8 images: gray, RGB, resized."""

import numpy as np

from sffa_jax.checks import check_integer
from sffa_jax.data.dataset import DataError


def to_gray(images: np.ndarray) -> np.ndarray:
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
    if _channels("to_gray", images) == 1:
        return images.reshape(images.shape[:3])
    weighted = images.astype(np.uint32) @ np.array([299, 587, 114], np.uint32)
    return ((weighted + 500) // 1000).astype(np.uint8)


def to_rgb(images: np.ndarray) -> np.ndarray:
    """Return gray images repeated in three channels, [samples, height, width, 3] uint8.

    RGB images are unchanged.

    Args:
      images: as in `to_gray`.

    Raises:
      DataError: if the images are neither gray nor RGB.

    >>> to_rgb(np.array([[[7]]], np.uint8))
    array([[[[7, 7, 7]]]], dtype=uint8)
    """
    if _channels("to_rgb", images) == 3:
        return images
    return np.repeat(images.reshape(*images.shape[:3], 1), 3, axis=-1)


def resize(images: np.ndarray, height: int, width: int) -> np.ndarray:
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
    gray = _channels("resize", images) == 1
    # Pillow widens its bilinear filter by the scale, so that it averages where an image shrinks.
    resized = [
        np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))
        for image in (to_gray(images) if gray else images)
    ]
    shape = (len(images), height, width, *images.shape[3:])
    return np.stack(resized).reshape(shape) if resized else np.zeros(shape, np.uint8)


def _channels(where: str, images: np.ndarray) -> int:
    channels = images.shape[3] if images.ndim == 4 else 1
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or channels not in (1, 3):
        raise DataError(
            f"{where}: `images` must be uint8 of shape (samples, height, width[, 1 or 3]), got "
            f"{images.dtype} of shape {images.shape}."
        )
    return channels
