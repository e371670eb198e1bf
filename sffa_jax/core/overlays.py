"""Overlays: how a label enters an image.

Every overlay here has one form, x_c = [x * keep + pattern[c], appended[c]]. Under a linear body
it splits into a product of the image, shared by all label candidates, and a product of the
patterns, with one row per class. `parts` makes that split; `layer` uses it.

`corner_one_hot(...)`, `appended_pattern(...)`, `appended_gaussian(...)`, `image_wave(...)` and
`none()` return a function (key, input shape, number of classes) -> `Overlay`, which a `Network`
calls once, when its parameters are drawn.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float, Int, Key

from sffa_jax.checks import check_image_shape, check_integer, check_range, reject
from sffa_jax.data.arrays import to_labels


class Part(NamedTuple):
    """One term of a layer's input.

    The input of a layer is a concatenation over names; parts of the same name are summed.

    Attributes:
      name: parts of the same name share weights.
      value: [batch, ...], [classes, ...] or [batch, candidates, ...] according to `per`.
      per: whether the value belongs to a sample, to a class, or to a sample's label candidate.
    """

    name: str
    value: Array
    per: Literal["sample", "class", "candidate"]


class Overlay(struct.PyTreeNode):
    """Where and how strongly each class marks an input.

    Attributes:
      keep: [*input] true where the image is kept, false where it is blanked; None keeps all.
      pattern: [classes, *input] added onto the image; None adds nothing.
      appended: [classes, d_label] appended after the last feature; None appends nothing.
    """

    keep: Bool[Array, "*input"] | None = None
    pattern: Float[Array, "classes *input"] | None = None
    appended: Float[Array, "*runs classes d_label"] | None = None

    @property
    def marks_label(self) -> bool:
        """Whether the input depends on the label."""
        return self.pattern is not None or self.appended is not None


MakeOverlay = Callable[[Array, tuple[int, ...], int], Overlay]
"""(key, shape of one input, number of classes) -> overlay."""


def corner_one_hot(*, value: float | Array = 1.0) -> MakeOverlay:
    """Replaces the first `num_classes` features by a one-hot code of the label.

    Args:
      value: the code's value at the label, in units of the scaled input; 0 elsewhere.

    Raises:
      ValueError: if the value is not finite; when drawn, if the code does not fit the input.

    Reference: Hinton 2022, arXiv:2212.13345, section 3.3.

    >>> overlay = corner_one_hot()(jax.random.key(0), (6,), 2)
    >>> overlay_inputs(overlay, 5 * jnp.ones((2, 6)), jnp.array([0, 1]))
    Array([[1., 0., 5., 5., 5., 5.],
           [0., 1., 5., 5., 5., 5.]], dtype=float32)
    """
    check_range("corner_one_hot", "value", value)
    return partial(_draw_corner_one_hot, value)


def _draw_corner_one_hot(
    value: float | Array, key: Key[Array, ""], input_shape: tuple[int, ...], num_classes: int
) -> Overlay:
    del key
    check_integer("corner_one_hot", "num_classes", num_classes, 2)
    d_in = math.prod(input_shape)
    if num_classes > d_in:
        raise reject(
            "corner_one_hot",
            "num_classes",
            f"fit into the {d_in} input features",
            num_classes,
            "Use `appended_pattern`.",
        )
    keep = jnp.arange(d_in) >= num_classes
    pattern = value * jnp.eye(num_classes, d_in)
    return Overlay(
        keep=keep.reshape(input_shape), pattern=pattern.reshape(num_classes, *input_shape)
    )


def appended_pattern(
    *, size: int = 100, density: float | Array = 0.1, value: float | Array = 1.0
) -> MakeOverlay:
    """Appends a random binary pattern per class: Bernoulli(density) of `size` features.

    Args:
      size: number of features appended.
      density: probability that a feature is on.
      value: value of a feature that is on, in units of the scaled input.

    Raises:
      ValueError: for a size below 1, a density outside (0, 1] or a value that is not finite.

    Reference: the released SFFA code (size 100, density 0.1).

    >>> appended_pattern(size=5)(jax.random.key(0), (6,), 2).appended.shape
    (2, 5)
    """
    check_integer("appended_pattern", "size", size, 1)
    check_range("appended_pattern", "density", density, above=0, at_most=1)
    check_range("appended_pattern", "value", value)
    return partial(_draw_appended_pattern, size, density, value)


def _draw_appended_pattern(
    size: int,
    density: float | Array,
    value: float | Array,
    key: Key[Array, ""],
    input_shape: tuple[int, ...],
    num_classes: int,
) -> Overlay:
    del input_shape
    check_integer("appended_pattern", "num_classes", num_classes, 2)
    on = jax.random.bernoulli(key, density, (num_classes, size))
    return Overlay(appended=value * on.astype(jnp.float32))


def appended_gaussian(*, size: int = 100, value: float | Array = 1.0) -> MakeOverlay:
    """Appends a random Gaussian code per class, value * N(0, 1): no two classes share a code.

    Args:
      size: number of features appended.
      value: standard deviation of the features, in units of the scaled input.

    Raises:
      ValueError: for a size below 1 or a value that is not finite.

    >>> appended_gaussian(size=5)(jax.random.key(0), (6,), 2).appended.shape
    (2, 5)
    """
    check_integer("appended_gaussian", "size", size, 1)
    check_range("appended_gaussian", "value", value)
    return partial(_draw_appended_gaussian, size, value)


def _draw_appended_gaussian(
    size: int,
    value: float | Array,
    key: Key[Array, ""],
    input_shape: tuple[int, ...],
    num_classes: int,
) -> Overlay:
    del input_shape
    check_integer("appended_gaussian", "num_classes", num_classes, 2)
    return Overlay(appended=value * jax.random.normal(key, (num_classes, size)))


def none() -> MakeOverlay:
    """Leaves the image as it is, for rules with class units; see `rules.with_class_units`.

    >>> none()(jax.random.key(0), (6,), 2).marks_label
    False
    """
    return _draw_none


def _draw_none(key: Key[Array, ""], input_shape: tuple[int, ...], num_classes: int) -> Overlay:
    del key, input_shape, num_classes
    return Overlay()


def image_wave(
    image_shape: Sequence[int], *, lowest: float = 0.1, highest: float = 1.0
) -> MakeOverlay:
    """Adds a plane sine wave per class to the image: sin(a row + b column).

    The wave numbers a and b of each class are drawn at random, of either sign.

    Args:
      image_shape: (height, width) or (height, width, channels) of the images, whose pixels are the
        network's input; every channel has the same wave.
      lowest, highest: bounds of |a| and |b|, radians per pixel.

    Raises:
      ValueError: for an invalid image shape, bounds that are not 0 < lowest <= highest or, when
        drawn, an input of another size.

    Reference: the released SFFA code's overlay for convolutional layers (0.1 and 1).

    >>> image_wave((4, 3))(jax.random.key(0), (12,), 2).pattern.shape
    (2, 12)
    """
    height, width, channels = check_image_shape("image_wave", image_shape, "image_shape")
    check_range("image_wave", "lowest", lowest, above=0)
    check_range("image_wave", "highest", highest, at_least=lowest)
    return partial(_draw_image_wave, (height, width, channels), lowest, highest)


def _draw_image_wave(
    image_shape: tuple[int, int, int],
    lowest: float,
    highest: float,
    key: Key[Array, ""],
    input_shape: tuple[int, ...],
    num_classes: int,
) -> Overlay:
    check_integer("image_wave", "num_classes", num_classes, 2)
    height, width, channels = image_shape
    if math.prod(input_shape) != height * width * channels:
        raise reject(
            "image_wave",
            "image_shape",
            f"have the {math.prod(input_shape)} pixels of the input",
            image_shape,
        )
    key_size, key_sign = jax.random.split(key)
    size = jax.random.uniform(key_size, (2, num_classes), minval=lowest, maxval=highest)
    a, b = size * jax.random.rademacher(key_sign, (2, num_classes), size.dtype)
    rows, columns = jnp.arange(height), jnp.arange(width)
    phase = a[:, None, None] * rows[None, :, None] + b[:, None, None] * columns[None, None, :]
    wave = jnp.repeat(jnp.sin(phase)[..., None], channels, axis=-1)
    return Overlay(pattern=wave.reshape(num_classes, *input_shape))


def parts(overlay: Overlay, x: Float[Array, "batch *input"]) -> tuple[Part, ...]:
    """The overlaid input of every sample with every label, in factored form.

    Returns:
      The image's part (per sample) and the label's (per class).

    Raises:
      ValueError: if the samples have another shape than the overlay's mask.
    """
    if overlay.keep is not None and overlay.keep.shape != x.shape[1:]:
        raise reject(
            "parts",
            "x",
            f"have samples of the overlay's shape {overlay.keep.shape}",
            f"shape {x.shape}",
            "Build the overlay for inputs of this shape.",
        )
    kept = x if overlay.keep is None else jnp.where(overlay.keep[None], x, 0.0)
    result = [Part("input", kept, "sample")]
    if overlay.pattern is not None:
        result.append(Part("input", overlay.pattern, "class"))
    if overlay.appended is not None:
        result.append(Part("label", overlay.appended, "class"))
    return tuple(result)


def overlay_inputs(
    overlay: Overlay, x: Float[Array, "batch *input"], labels: Int[Array, " batch"]
) -> Float[Array, "batch *overlaid"]:
    """The plain overlaid input, each sample with one label, without factoring.

    Raises:
      ValueError: if a label is not one of the overlay's classes (concrete labels only).
    """
    codes = overlay.appended if overlay.pattern is None else overlay.pattern
    if codes is None:
        raise reject("overlay_inputs", "overlay", "mark the label", "an empty overlay")
    if not isinstance(labels, jax.core.Tracer):
        to_labels(labels, codes.shape[0], where="overlay_inputs")
    for part in parts(overlay, x):
        if part.name == "label":
            x = jnp.concatenate([x, part.value[labels]], axis=-1)
        elif part.per == "sample":
            x = part.value
        else:
            x = x + part.value[labels]
    return x
