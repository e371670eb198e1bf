"""Class units: each class has its own read-out of a layer, and the input contains no label.

One forward pass then gives the logits of all labels. `groups` gives each class a fixed group of
units; with `learned`, every class learns the polarity of every unit. The rule computes the logit of
a class from the units that the class reads.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from sffa_jax.checks import reject
from sffa_jax.core.image_layout import unflatten_maps


class ClassUnits(NamedTuple):
    """Functions by which each class of a network reads a layer.

    Attributes:
      divisor: the number of units of each layer must be a multiple of it.
      init: (key, units) -> parameters, trained with those of the layer; None: no parameters.
      select: (parameters, activity [..., 1, units]) -> the activity that each class
        reads, [..., classes, units of the class]; positive units first under a polar rule.
    """

    divisor: int
    init: Callable[[Array, int], Array | None]
    select: Callable[[Array | None, Array], Array]


MakeClassUnits = Callable[[int, bool], ClassUnits]
"""(number of classes, whether the rule is polar) -> class units; the network calls it."""


def groups() -> MakeClassUnits:
    """Gives each class a fixed group of units of equal size; under a polar rule, in each half.

    Raises:
      ValueError: at use, for a number of units that is not a multiple of `divisor`.

    Reference: competition between groups of channels, Papachristodoulou et al. 2024,
    arXiv:2312.12668; there the goodness is the mean square and no half is negative.

    >>> make = groups()
    >>> make(2, False).select(None, jnp.array([[1.0, 2.0, 3.0, 4.0]]))
    Array([[1., 2.],
           [3., 4.]], dtype=float32)
    """
    return _make_groups


def learned() -> MakeClassUnits:
    """Lets each class learn a polarity for every unit, trained by the layer's loss.

    Under a polar rule, a fraction p of a unit's squared activity is positive for the class and
    1 - p is negative; SFFA uses fixed halves instead. Without polarity, the fractions divide each
    unit among the classes. A class reads one neuron per half: the root of the mean weighted square.

    >>> params = learned()(2, True).init(jax.random.key(0), 4)
    >>> params.shape  # halves, classes, units
    (2, 2, 4)
    """
    return _make_learned


def _make_groups(num_classes: int, polar: bool) -> ClassUnits:
    halves = 2 if polar else 1
    return ClassUnits(halves * num_classes, _no_params, partial(_group_units, halves, num_classes))


def _make_learned(num_classes: int, polar: bool) -> ClassUnits:
    return ClassUnits(1, partial(_draw_params, polar, num_classes), partial(_weigh_units, polar))


def _no_params(key: Key[Array, ""], units: int) -> None:
    del key, units


def _draw_params(
    polar: bool, num_classes: int, key: Key[Array, ""], units: int
) -> Float[Array, "halves classes units"]:
    # The spread is large enough for classes to differ from the first step.
    return 0.5 * jax.random.normal(key, (2 if polar else 1, num_classes, units))


def _group_units(
    halves: int, num_classes: int, params: None, h: Array, unit_axes: int = 1
) -> Array:
    """[..., 1, *units] -> [..., classes, *units of the class], maps or rows."""
    del params
    _check_unlabeled(h, unit_axes)
    if h.shape[-1] % (halves * num_classes):
        raise reject(
            "groups",
            "h",
            f"have units that {num_classes} classes can share" + " in each half" * (halves == 2),
            f"shape {h.shape}",
            f"Choose a multiple of {halves * num_classes} units.",
        )
    samples, places = h.shape[: -unit_axes - 1], h.shape[-unit_axes:-1]
    grouped = h.reshape(*samples, *places, halves, num_classes, -1)
    grouped = jnp.moveaxis(grouped, -2, len(samples))
    return grouped.reshape(*samples, num_classes, *places, -1)


def _weigh_units(
    polar: bool, params: Float[Array, "halves classes units"], h: Array, unit_axes: int = 1
) -> Float[Array, "*samples classes halves"]:
    """[..., 1, *units] -> [..., classes, halves], from maps or rows."""
    _check_unlabeled(h, unit_axes)
    halves, num_classes, units = params.shape
    fractions = jax.nn.softmax(params, axis=0 if polar else 1) * (1 if polar else num_classes)
    if unit_axes == 3:  # one product over places and maps; the weights are laid out as the maps
        fractions = unflatten_maps(fractions, h.shape)
    rows = jnp.square(h).reshape(*h.shape[: -unit_axes - 1], units)
    weights = fractions.reshape(-1, units).T.astype(h.dtype)
    squares = jnp.matmul(rows, weights, preferred_element_type=params.dtype) / units
    # Epsilon is inside the root because the gradient of a root at zero is infinite.
    neurons = jnp.sqrt(squares + 1e-12).reshape(*squares.shape[:-1], halves, num_classes)
    return jnp.moveaxis(neurons, -2, -1)


def _check_unlabeled(h: Array, unit_axes: int) -> None:
    if h.shape[-unit_axes - 1] != 1:
        raise reject("class_units", "h", "contain no label: one candidate", f"shape {h.shape}")
