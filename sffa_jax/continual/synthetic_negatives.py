"""Synthetic negatives: images of no class, synthesized from a batch of images.

They stand for negatives of earlier classes, whose images are not stored. Each maker is a pure
function (key, images [batch, pixels], shape of an image) -> as many images.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from sffa_jax.checks import check_image_shape, reject

Images = Float[Array, "batch pixels"]
Maker = Callable[[Key[Array, ""], Images, Sequence[int]], Images]

BLUR = 6
"""Passes of the kernel (1, 2, 1) / 4 along both axes that smooth a hybrid's mask."""

GRID = 4
"""Maximum number of patches along each side of a shuffled image."""


def _sized(where: str, x: Array, shape: Sequence[int]) -> tuple[int, int, int]:
    height, width, channels = check_image_shape(where, shape)
    if x.shape[-1] != height * width * channels:
        raise reject(
            where, "x", f"have {height * width * channels} pixels per row", f"shape {x.shape}"
        )
    return height, width, channels


def noise(key: Key[Array, ""], x: Images, shape: Sequence[int]) -> Images:
    """Adds Gaussian noise whose variance is the image's mean square.

    Raises:
      ValueError: for images of another shape.
    """
    _sized("noise", x, shape)
    size = jnp.sqrt(jnp.mean(jnp.square(x), axis=-1, keepdims=True))
    return x + size * jax.random.normal(key, x.shape, x.dtype)


def _blurred(mask: Array) -> Array:
    for axis in (1, 2):
        widths = [(0, 0)] * mask.ndim
        widths[axis] = (1, 1)
        size = mask.shape[axis]
        for _ in range(BLUR):
            padded = jnp.pad(mask, widths, mode="edge")
            a, b, c = (jax.lax.slice_in_dim(padded, i, i + size, axis=axis) for i in range(3))
            mask = (a + 2 * b + c) / 4
    return mask


def hybrid(key: Key[Array, ""], x: Images, shape: Sequence[int]) -> Images:
    """Combines two images of the batch by a smooth random mask; they may be of different classes.

    Raises:
      ValueError: for images of another shape.

    Reference: Hinton 2022, arXiv:2212.13345, section 3.2.
    """
    height, width, channels = _sized("hybrid", x, shape)
    mask = _blurred(jax.random.uniform(key, (len(x), height, width, 1))) > 0.5
    mask = jnp.broadcast_to(mask, (*mask.shape[:3], channels)).reshape(x.shape)
    return jnp.where(mask, x, jnp.roll(x, 1, axis=0))


def _parts(size: int) -> int:
    """Largest number of equal parts, at most `GRID`, of a side of this size."""
    return next(parts for parts in range(GRID, 0, -1) if size % parts == 0)


def shuffled(key: Key[Array, ""], x: Images, shape: Sequence[int]) -> Images:
    """Replaces about half of the image's patches by random patches of the same image.

    Raises:
      ValueError: for images of another shape, or with no side that 2, 3 or 4 divides.
    """
    height, width, channels = _sized("shuffled", x, shape)
    rows, columns = _parts(height), _parts(width)
    if rows * columns == 1:
        rule, advice = "have a side that 2, 3 or 4 divides", "Use other negatives."
        raise reject("shuffled", "shape", rule, f"{height} x {width}", advice)
    sides = (rows, height // rows, columns, width // columns, channels)
    patches = x.reshape(-1, *sides).swapaxes(2, 3)
    flat = patches.reshape(len(x), rows * columns, -1)
    key_order, key_keep = jax.random.split(key)
    order = jnp.argsort(jax.random.uniform(key_order, flat.shape[:2]), axis=-1)
    moved = jnp.take_along_axis(flat, order[..., None], axis=1)
    keep = jax.random.bernoulli(key_keep, 0.5, (*flat.shape[:2], 1))
    return jnp.where(keep, flat, moved).reshape(patches.shape).swapaxes(2, 3).reshape(x.shape)


SYNTHETIC_NEGATIVES: dict[str, Maker] = {"noise": noise, "hybrid": hybrid, "shuffled": shuffled}
"""Makers by name."""
