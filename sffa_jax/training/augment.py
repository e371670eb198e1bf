"""Augmentation: a batch of scaled images changed at random, on the device, before a step.

An augmentation is a pure function (key, x [batch, features]) -> x. Images are flat rows; those
that move pixels are told the images' shape.
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
    """Moves each image by up to `pixels` in either direction, each of the moves as likely.

    Args:
      shape: (height, width) or (height, width, channels).
      pixels: largest move.
      background: what comes in at the edges, in units of the scaled images; a scalar or one value
        a feature.

    Raises:
      ValueError: for no image's shape, a move below 0 or as large as the image, or a background
        that is not finite.
    """
    height, width, channels = check_image_shape("shift", shape)
    check_integer("shift", "pixels", pixels, 0)
    if not getattr(background, "shape", ()):
        check_range("shift", "background", background)
    if pixels >= min(height, width):
        raise reject("shift", "pixels", f"be below the images' {min(height, width)} pixels", pixels)

    def move(key: Key[Array, ""], x: Float[Array, "batch features"]) -> Array:
        edge = ((0, 0), (pixels, pixels), (pixels, pixels), (0, 0))
        # The background is moved in as 0 and put back after.
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
      ValueError: for a shape that is no image's.
    """
    height, width, channels = check_image_shape("flip", shape)

    def mirror(key: Key[Array, ""], x: Float[Array, "batch features"]) -> Array:
        images = x.reshape(-1, height, width, channels)
        mirrored = jax.random.bernoulli(key, 0.5, (len(x), 1, 1, 1))
        return jnp.where(mirrored, images[:, :, ::-1], images).reshape(x.shape)

    return mirror


def chain(steps: Sequence[Augmentation]) -> Augmentation | None:
    """All of them, one after another, each with a key of its own; None for none."""
    if not steps:
        return None

    def run(key: Key[Array, ""], x: Float[Array, "batch features"]) -> Array:
        for i, step in enumerate(steps):
            x = step(jax.random.fold_in(key, i), x)
        return x

    return run
