"""Overlays: how a label enters an image.

Every overlay here has one form, x_c = [x * keep + pattern[c], appended[c]]. Under a linear body
that splits into a product of the image, which all label candidates share, and a product of the
patterns, which has as many rows as there are classes. `parts` states that split; `layers` uses
it.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Bool, Float, Int, Key

from sffa_jax.checks import check_image_shape, check_integer, check_range, reject


class Part(NamedTuple):
    """One term of a layer's input.

    The input of a layer is the concatenation over names of the sum over the parts of that name.

    Attributes:
      name: parts of one name share weights.
      value: [batch, ...], [classes, ...] or [batch, candidates, ...] according to `per`.
      per: whether the value belongs to a sample, to a class, or to a sample's label candidate.
    """

    name: str
    value: Array
    per: Literal["sample", "class", "candidate"]


class Overlay(struct.PyTreeNode):
    """Where and how strongly each class marks an input of `d_in` features.

    Attributes:
      keep: [*input] true where the image is kept, false where it is blanked; None keeps all.
      pattern: [classes, *input] added onto the image; None adds nothing.
      appended: [classes, d_label] appended after the last feature; None appends nothing.
    """

    keep: Bool[Array, "*input"] | None = None
    pattern: Float[Array, "classes *input"] | None = None
    appended: Float[Array, "classes d_label"] | None = None


def corner_one_hot(d_in: int, num_classes: int, *, value: float = 1.0) -> Overlay:
    """The first `num_classes` features become a one-hot code of the label.

    Args:
      d_in: number of input features (pixels).
      num_classes: number of labels.
      value: the code's value at the label, in units of the scaled input; 0 elsewhere.

    Raises:
      ValueError: if the code does not fit into the input, or its value is not finite.

    Reference: Hinton 2022, arXiv:2212.13345, section 3.3.
    """
    check_integer("corner_one_hot", "d_in", d_in, 1)
    check_integer("corner_one_hot", "num_classes", num_classes, 2)
    check_range("corner_one_hot", "value", value)
    if num_classes > d_in:
        raise reject(
            "corner_one_hot",
            "num_classes",
            f"fit into the {d_in} input features",
            num_classes,
            "Use `appended_pattern`.",
        )
    return Overlay(keep=jnp.arange(d_in) >= num_classes, pattern=value * jnp.eye(num_classes, d_in))


def appended_pattern(
    key: Key[Array, ""],
    num_classes: int,
    *,
    size: int = 100,
    density: float | Array = 0.1,
    value: float | Array = 1.0,
) -> Overlay:
    """Appends a random binary pattern per class: Bernoulli(density) of `size` features.

    Args:
      key: draws the patterns.
      num_classes: number of labels.
      size: features appended.
      density: share of features that are on.
      value: what "on" is, in units of the scaled input.

    Raises:
      ValueError: for fewer than 2 classes, a size below 1, a density outside (0, 1] or a value that
        is not finite.

    Reference: the released SFFA code (size 100, density 0.1).
    """
    check_integer("appended_pattern", "num_classes", num_classes, 2)
    check_integer("appended_pattern", "size", size, 1)
    check_range("appended_pattern", "density", density, above=0, at_most=1)
    check_range("appended_pattern", "value", value)
    on = jax.random.bernoulli(key, density, (num_classes, size))
    return Overlay(appended=value * on.astype(jnp.float32))


def appended_gaussian(
    key: Key[Array, ""], num_classes: int, *, size: int = 100, value: float | Array = 1.0
) -> Overlay:
    """As `appended_pattern`, with entries value * N(0, 1): no two classes share a code.

    Raises:
      ValueError: for fewer than 2 classes, a size below 1 or a value that is not finite.
    """
    check_integer("appended_gaussian", "num_classes", num_classes, 2)
    check_integer("appended_gaussian", "size", size, 1)
    check_range("appended_gaussian", "value", value)
    return Overlay(appended=value * jax.random.normal(key, (num_classes, size)))


def unmarked(key: Key[Array, ""] | None = None) -> Overlay:
    """Leaves the image as it is: for rules whose classes own units, see `rules.owned`."""
    del key
    return Overlay()


def image_wave(
    key: Key[Array, ""],
    shape: Sequence[int],
    num_classes: int,
    *,
    lowest: float = 0.1,
    highest: float = 1.0,
) -> Overlay:
    """Adds a plane sine wave per class onto the whole image: sin(a row + b column).

    Args:
      key: draws each class's wave numbers a and b, of either sign.
      shape: (height, width) or (height, width, channels) of the images; every channel gets the
        same wave.
      num_classes: number of labels.
      lowest, highest: bounds of |a| and |b|, radians a pixel.

    Returns:
      An overlay for images of that shape, flattened to one row of features.

    Raises:
      ValueError: for a shape that is no image's, or bounds that do not rise from above 0.

    Reference: the released SFFA code's overlay for convolutional layers (0.1 and 1).
    """
    check_integer("image_wave", "num_classes", num_classes, 2)
    height, width, channels = check_image_shape("image_wave", shape)
    check_range("image_wave", "lowest", lowest, above=0)
    check_range("image_wave", "highest", highest, at_least=lowest)
    key_size, key_sign = jax.random.split(key)
    size = jax.random.uniform(key_size, (2, num_classes), minval=lowest, maxval=highest)
    a, b = size * jax.random.rademacher(key_sign, (2, num_classes), size.dtype)
    rows, columns = jnp.arange(height), jnp.arange(width)
    phase = a[:, None, None] * rows[None, :, None] + b[:, None, None] * columns[None, None, :]
    wave = jnp.repeat(jnp.sin(phase)[..., None], channels, axis=-1)
    return Overlay(pattern=wave.reshape(num_classes, -1))


def parts(overlay: Overlay, x: Float[Array, "batch *input"]) -> tuple[Part, ...]:
    """The overlaid input of every sample with every label, as factors.

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
    """The plain overlaid input, each sample with its one label; the unfactored route.

    Raises:
      ValueError: if a label is not one of the overlay's classes (concrete labels only).
    """
    codes = overlay.appended if overlay.pattern is None else overlay.pattern
    if codes is None:
        raise reject("overlay_inputs", "overlay", "mark the label", "an empty overlay")
    if not isinstance(labels, jax.core.Tracer):
        check_labels("overlay_inputs", labels, codes.shape[0])
    for part in parts(overlay, x):
        if part.name == "label":
            x = jnp.concatenate([x, part.value[labels]], axis=-1)
        elif part.per == "sample":
            x = part.value
        else:
            x = x + part.value[labels]
    return x


def check_labels(where: str, labels: Array | np.ndarray, num_classes: int) -> None:
    """Raises ValueError unless all (concrete) labels lie in [0, num_classes)."""
    check_integer(where, "num_classes", num_classes, 1)
    values = np.asarray(labels)
    if values.size and (values.min() < 0 or values.max() >= num_classes):
        raise reject(
            where,
            "labels",
            f"lie in [0, {num_classes})",
            f"min {values.min()}, max {values.max()}",
            f"Relabel the data, or build the network for {values.max() + 1} classes.",
        )
