"""Picture files as arrays: PNG, JPEG and the other formats that Pillow reads."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sffa_jax.checks import check_choice, check_integers, reject
from sffa_jax.data.dataset import DataError
from sffa_jax.data.formats.safe_reading import reading
from sffa_jax.data.images import resize, to_gray, to_rgb

SUFFIXES = (
    *(".bmp", ".gif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm"),
    *(".tif", ".tiff", ".webp"),
)
"""Suffixes of picture files, in lower case."""

COLORS = ("auto", "gray", "rgb")
"""Channels of images: as they are, one, or three."""

GRAY_MODES = ("1", "L", "LA")
"""Pillow's names of gray images of at most 8 bits."""

DEEP_MODES = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")
"""Pillow's names of images of more than 8 bits per channel."""

ADVICE = "Replace or delete the file."


def check_image_size(where: str, image_size: Sequence[int]) -> tuple[int, ...]:
    """Return `image_size` as (height, width), or () if images keep their size.

    Raises:
      TypeError, ValueError: unless it holds at most two integers of at least 1.
    """
    sizes = check_integers(where, "image_size", image_size, 1)
    if len(sizes) > 2:
        raise reject(where, "image_size", "be one number or height and width", sizes)
    return sizes * 2 if len(sizes) == 1 else sizes


def read_picture(path: Path | str) -> np.ndarray:
    """Return a picture's pixels: [height, width] uint8 if it is gray, else [height, width, 3].

    The picture is turned upright as its EXIF data state; transparent parts become white; of an
    animation, the first frame is read. Of colors of 16 bits, Pillow reads the upper byte.

    Raises:
      DataError: if the file is missing, damaged, or gray with more than 8 bits.
    """
    # Imported here: only pictures and `resize` need Pillow.
    from PIL import Image

    with reading("load", path, ADVICE), Image.open(path) as image:
        return picture_pixels(image, str(path))


def picture_pixels(image: Any, where: str) -> np.ndarray:
    """Return the pixels of a Pillow image, as `read_picture` does.

    Args:
      image: the image.
      where: its name in errors.

    Raises:
      DataError: if it is gray with more than 8 bits.
    """
    from PIL import Image, ImageOps

    if image.mode in DEEP_MODES:
        raise DataError(
            f"load: {where} must have 8 bits per channel, got Pillow's mode {image.mode}. Save it "
            "with 8 bits per channel."
        )
    upright = ImageOps.exif_transpose(image)
    kind = "L" if image.mode in GRAY_MODES else "RGB"
    if image.has_transparency_data:
        upright = upright.convert("RGBA")
        upright = Image.alpha_composite(Image.new("RGBA", upright.size, "white"), upright)
    return np.asarray(upright.convert(kind))


def unify(images: np.ndarray, image_size: Sequence[int], color: str) -> np.ndarray:
    """Return images with the chosen size and channels, uint8.

    Args:
      images: [samples, height, width] or [samples, height, width, 1 or 3], uint8.
      image_size: (height, width), (size,) for both, or () to keep the size. Images are stretched.
      color: "auto" (unchanged), "gray" or "rgb".

    Raises:
      DataError: if the images are neither gray nor RGB.
      ValueError, TypeError: for a bad size or color.

    >>> unify(np.zeros((2, 8, 6, 3), np.uint8), (4,), "gray").shape
    (2, 4, 4)
    """
    check_choice("unify", "color", color, COLORS)
    size = check_image_size("unify", image_size)
    if color != "auto":
        images = to_gray(images) if color == "gray" else to_rgb(images)
    if size and tuple(images.shape[1:3]) != size:
        images = resize(images, *size)
    return images
