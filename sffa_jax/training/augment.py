"""Augmentation of scaled images, on the device: random changes of a batch before each update, and
scores of an image and its mirror image (`mirrored`).

An augmentation is a pure function (key, x [batch, features]) -> x. Images are flat rows;
augmentations that move pixels take the shape of an image as an argument.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.scipy.ndimage import map_coordinates
from jaxtyping import Array, Float, Key

from sffa_jax.checks import check_choice, check_image_shape, check_integer, check_range, reject
from sffa_jax.training.learner import Learner, State

Augmentation = Callable[[Key[Array, ""], Float[Array, "batch features"]], Array]


def input_dropout(rate: float | Array) -> Augmentation:
    """Sets each feature to 0 (the training mean, in scaled images) with probability `rate` and
    scales the others by 1 / (1 - rate), so that sums keep their mean.

    Raises:
      ValueError: for a rate outside [0, 0.99].

    Reference: Srivastava et al. 2014, Dropout, JMLR 15.
    """
    check_range("input_dropout", "rate", rate, at_least=0, at_most=0.99)

    def drop(key: Key[Array, ""], x: Float[Array, "batch features"]) -> Array:
        kept = jax.random.bernoulli(key, 1 - rate, x.shape)
        return jnp.where(kept, x / (1 - rate), 0.0)

    return drop


EDGES = ("background", "reflect")
"""What fills the pixels that enter at the edges of a shifted image."""


def shift(
    shape: Sequence[int],
    pixels: int,
    background: float | Array = 0.0,
    *,
    edges: str = "background",
) -> Augmentation:
    """Shifts each image by up to `pixels` along both axes; all shifts have the same probability.

    Args:
      shape: (height, width) or (height, width, channels).
      pixels: maximum shift along each axis.
      background: value of the pixels that enter at the edges, in units of the scaled images; a
        scalar or one value per feature.
      edges: "background", or "reflect": the image is mirrored at its edges instead.

    Raises:
      ValueError: for an invalid image shape, a shift below 0 or as large as the image, a background
        that is not finite, or an unknown name.
    """
    height, width, channels = check_image_shape("shift", shape)
    check_integer("shift", "pixels", pixels, 0)
    check_choice("shift", "edges", edges, EDGES)
    _check_background("shift", background)
    if pixels >= min(height, width):
        raise reject("shift", "pixels", f"be below the images' {min(height, width)} pixels", pixels)
    mode = "reflect" if edges == "reflect" else "constant"

    def move(key: Key[Array, ""], x: Float[Array, "batch features"]) -> Array:
        edge = ((0, 0), (pixels, pixels), (pixels, pixels), (0, 0))
        # Padding is 0, so the background is subtracted before and added after the shift.
        images = (x - jnp.reshape(background, (1, -1))).reshape(-1, height, width, channels)
        padded = jnp.pad(images, edge, mode)
        corners = jax.random.randint(key, (len(x), 2), 0, 2 * pixels + 1)

        def cut(image: Array, corner: Array) -> Array:
            return jax.lax.dynamic_slice(image, (corner[0], corner[1], 0), images.shape[1:])

        return jax.vmap(cut)(padded, corners).reshape(x.shape) + jnp.reshape(background, (1, -1))

    return move


def cutout(shape: Sequence[int], side: int, background: float | Array = 0.0) -> Augmentation:
    """Covers a square of each image; its center is any pixel, with the same probability.

    Args:
      shape: (height, width) or (height, width, channels).
      side: of the square, pixels; the part outside the image is cut off.
      background: value of the covered pixels, in units of the scaled images; a scalar or one value
        per feature.

    Raises:
      ValueError: for an invalid image shape, a side below 1, or a background that is not finite.

    Reference: DeVries and Taylor 2017, arXiv:1708.04552.
    """
    height, width, channels = check_image_shape("cutout", shape)
    check_integer("cutout", "side", side, 1)
    _check_background("cutout", background)

    def cover(key: Key[Array, ""], x: Float[Array, "batch features"]) -> Array:
        first = jax.random.randint(key, (len(x), 2), 0, jnp.array([[height, width]])) - side // 2

        def covered(axis: int, length: int) -> Array:
            place = jnp.arange(length)[None] - first[:, axis, None]
            return (place >= 0) & (place < side)

        square = covered(0, height)[:, :, None] & covered(1, width)[:, None, :]
        full = jnp.broadcast_to(square[..., None], (len(x), height, width, channels))
        return jnp.where(full.reshape(x.shape), jnp.reshape(background, (1, -1)), x)

    return cover


def affine(
    shape: Sequence[int], degrees: float, zoom: float = 0.0, background: float | Array = 0.0
) -> Augmentation:
    """Turns each image about its center and scales each axis, with linear interpolation.

    Args:
      shape: (height, width) or (height, width, channels).
      degrees: maximum angle in both directions.
      zoom: maximum scaling; each axis is scaled by a factor between 1 / (1 + zoom) and 1 + zoom.
      background: value of the pixels that enter, in units of the scaled images; a scalar or one
        value per feature.

    Raises:
      ValueError: for an invalid image shape, an angle outside [0, 180], a zoom outside [0, 1], or a
        background that is not finite.
    """
    height, width, channels = check_image_shape("affine", shape)
    check_range("affine", "degrees", degrees, at_least=0, at_most=180)
    check_range("affine", "zoom", zoom, at_least=0, at_most=1)
    _check_background("affine", background)
    center = jnp.array([[[(height - 1) / 2, (width - 1) / 2]]])
    places = jnp.stack(jnp.meshgrid(jnp.arange(height), jnp.arange(width), indexing="ij"), axis=-1)
    offsets = places - center

    def turn(key: Key[Array, ""], x: Float[Array, "batch features"]) -> Array:
        key_angle, key_zoom = jax.random.split(key)
        angles = jnp.deg2rad(jax.random.uniform(key_angle, (len(x),), x.dtype, -degrees, degrees))
        bound = jnp.log1p(zoom)
        factors = jnp.exp(jax.random.uniform(key_zoom, (len(x), 2), x.dtype, -bound, bound))
        images = (x - jnp.reshape(background, (1, -1))).reshape(-1, height, width, channels)

        def one(image: Array, angle: Array, factor: Array) -> Array:
            cos, sin = jnp.cos(angle), jnp.sin(angle)
            matrix = jnp.array([[cos, -sin], [sin, cos]]) * factor[None]
            rows, columns = jnp.moveaxis(offsets @ matrix.T + center, -1, 0)
            return jax.vmap(lambda channel: map_coordinates(channel, [rows, columns], 1), -1, -1)(
                image
            )

        turned = jax.vmap(one)(images, angles, factors)
        return turned.reshape(x.shape) + jnp.reshape(background, (1, -1))

    return turn


def _check_background(caller: str, background: float | Array) -> None:
    """Raises ValueError for a background that is one number and not finite."""
    if not getattr(background, "shape", ()):
        check_range(caller, "background", background)


def flip(shape: Sequence[int]) -> Augmentation:
    """Mirrors each image left to right with probability 1/2.

    Raises:
      ValueError: for an invalid image shape.
    """
    height, width, channels = check_image_shape("flip", shape)

    def mirror(key: Key[Array, ""], x: Float[Array, "batch features"]) -> Array:
        images = x.reshape(len(x), height, width, channels)
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


def mirrored(learner: Learner, shape: Sequence[int]) -> Learner:
    """Returns a learner that scores the mean of each image's and its mirror image's scores.

    A form of test-time augmentation. It trains like `learner`; scoring takes twice as long. Latents
    are those of the image itself.

    Args:
      learner: any learner of images.
      shape: of one image, (height, width) or (height, width, channels).

    Raises:
      ValueError: for an invalid image shape.

    >>> import optax
    >>> from sffa_jax.core.architectures import dense_layers
    >>> from sffa_jax.training.backprop import backprop_learner
    >>> learner = mirrored(backprop_learner(dense_layers([4]), 3, optax.adam(1e-3)), (1, 5))
    >>> x = jnp.arange(5.0)[None]
    >>> state = learner.init(jax.random.key(0), x)
    >>> bool(jnp.allclose(learner.scores(state, x), learner.scores(state, x[:, ::-1])))
    True
    """
    height, width, channels = check_image_shape("mirrored", shape)

    def scores(state: State, x: Array) -> Array:
        images = x.reshape(len(x), height, width, channels)
        mirror = images[:, :, ::-1].reshape(x.shape)
        return (learner.scores(state, x) + learner.scores(state, mirror)) / 2

    build = None if learner.build is None else partial(_build_mirrored, learner.build, shape)
    return learner._replace(scores=scores, build=build)


def _build_mirrored(build: Any, shape: Sequence[int], **changes: Any) -> Learner:
    return mirrored(build(**changes), shape)
