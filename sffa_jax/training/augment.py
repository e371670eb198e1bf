"""Augmentation: random changes of a batch of scaled images, on the device, before each update.

An augmentation is a pure function (key, x [batch, features]) -> x. Images are flat rows;
augmentations that move pixels take the shape of an image as an argument.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from sffa_jax.checks import check_image_shape, check_integer, check_range, reject

Augmentation = Callable[[Key[Array, ""], Float[Array, "batch features"]], Array]


def input_dropout(rate: float | Array) -> Augmentation:
    """Sets each feature to 0 (the training mean, in scaled images) with probability `rate` and
    scales the others by 1 / (1 - rate), so that sums keep their mean.

    Raises:
      ValueError: for a rate outside [0, 1).

    Reference: Srivastava et al. 2014, Dropout, JMLR 15.
    """
    check_range("input_dropout", "rate", rate, at_least=0, at_most=0.99)

    def drop(key: Key[Array, ""], x: Float[Array, "batch features"]) -> Array:
        kept = jax.random.bernoulli(key, 1 - rate, x.shape)
        return jnp.where(kept, x / (1 - rate), 0.0)

    return drop


def shift(shape: Sequence[int], pixels: int, background: float | Array = 0.0) -> Augmentation:
    """Shifts each image by up to `pixels` along both axes; all shifts have the same probability.

    Args:
      shape: (height, width) or (height, width, channels).
      pixels: maximum shift along each axis.
      background: value of the pixels that enter at the edges, in units of the scaled images; a
        scalar or one value per feature.

    Raises:
      ValueError: for an invalid image shape, a shift below 0 or as large as the image, or a
        background that is not finite.
    """
    height, width, channels = check_image_shape("shift", shape)
    check_integer("shift", "pixels", pixels, 0)
    if not getattr(background, "shape", ()):
        check_range("shift", "background", background)
    if pixels >= min(height, width):
        raise reject("shift", "pixels", f"be below the images' {min(height, width)} pixels", pixels)

    def move(key: Key[Array, ""], x: Float[Array, "batch features"]) -> Array:
        edge = ((0, 0), (pixels, pixels), (pixels, pixels), (0, 0))
        # Padding is 0, so the background is subtracted before and added after the shift.
        images = (x - jnp.reshape(background, (1, -1))).reshape(-1, height, width, channels)
        padded = jnp.pad(images, edge)
        corners = jax.random.randint(key, (len(x), 2), 0, 2 * pixels + 1)

        def cut(image: Array, corner: Array) -> Array:
            return jax.lax.dynamic_slice(image, (corner[0], corner[1], 0), images.shape[1:])

        return jax.vmap(cut)(padded, corners).reshape(x.shape) + jnp.reshape(background, (1, -1))

    return move


def flip(shape: Sequence[int]) -> Augmentation:
    """Mirrors each image left to right with probability 1/2.

    Raises:
      ValueError: for an invalid image shape.
    """
    height, width, channels = check_image_shape("flip", shape)

    def mirror(key: Key[Array, ""], x: Float[Array, "batch features"]) -> Array:
        images = x.reshape(-1, height, width, channels)
        mirrored = jax.random.bernoulli(key, 0.5, (len(x), 1, 1, 1))
        return jnp.where(mirrored, images[:, :, ::-1], images).reshape(x.shape)

    return mirror


def chain(steps: Sequence[Augmentation]) -> Augmentation | None:
    """Applies augmentations in order, each with a separate key; None for an empty sequence."""
    if not steps:
        return None

    def run(key: Key[Array, ""], x: Float[Array, "batch features"]) -> Array:
        for i, step in enumerate(steps):
            x = step(jax.random.fold_in(key, i), x)
        return x

    return run
