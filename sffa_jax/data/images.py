"""Images of one size or color made into another: gray, RGB, resized; uint8 throughout."""

import numpy as np

from sffa_jax.data.dataset import DataError, check_whole


def to_gray(images: np.ndarray) -> np.ndarray:
    """Brightness of RGB images, as [samples, height, width]; gray images stay as they are.

    (299 R + 587 G + 114 B) / 1000, rounded.

    Raises:
      DataError: if the images are neither gray nor RGB.

    Reference: ITU-R BT.601.
    """
    if _channels("to_gray", images) == 1:
        return images.reshape(images.shape[:3])
    weighted = images.astype(np.uint32) @ np.array([299, 587, 114], np.uint32)
    return ((weighted + 500) // 1000).astype(np.uint8)


def to_rgb(images: np.ndarray) -> np.ndarray:
    """Gray images with their brightness in each of three channels; RGB stays as it is.

    Raises:
      DataError: if the images are neither gray nor RGB.
    """
    if _channels("to_rgb", images) == 3:
        return images
    return np.repeat(images.reshape(*images.shape[:3], 1), 3, axis=-1)


def resize(images: np.ndarray, height: int, width: int) -> np.ndarray:
    """Images of another size, by area where they shrink and linearly where they grow.

    Args:
      images: [samples, height, width] or [..., channels] with 1 or 3 channels, uint8.
      height, width: new size in pixels.

    Raises:
      DataError: if the images are neither gray nor RGB, or the new size is not positive.
    """
    # Imported here: only protocols that change the size need it.
    from PIL import Image

    check_whole("resize", "height", height, 1)
    check_whole("resize", "width", width, 1)
    gray = _channels("resize", images) == 1
    # Pillow's bilinear filter is widened by the scale: it averages where an image shrinks.
    small = [
        np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))
        for image in (to_gray(images) if gray else images)
    ]
    shape = (len(images), height, width, *images.shape[3:])
    return np.stack(small).reshape(shape) if small else np.zeros(shape, np.uint8)


def _channels(where: str, images: np.ndarray) -> int:
    channels = images.shape[3] if images.ndim == 4 else 1
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or channels not in (1, 3):
        raise DataError(
            f"{where}: `images` must be uint8 of shape (samples, height, width[, 1 or 3]), got "
            f"{images.dtype} of shape {images.shape}."
        )
    return channels
