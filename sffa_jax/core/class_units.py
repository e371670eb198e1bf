"""Ownership: which of a layer's units speak for a class, where no label enters the input.

One pass then gives all labels' log-odds. A class sees a layer through its own neurons, and the
rule's goodness is taken of them: `groups` gives each class units of its own, for good; under
`learned` every class learns the polarity of every unit.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from sffa_jax.checks import check_integer, reject


class Ownership(NamedTuple):
    """How classes own units.

    Attributes:
      classes: number of labels.
      divisor: of a layer's number of units.
      init: (key, units) -> parameters, which a layer learns with its others; None: there are none.
      neurons: (parameters, activity [..., 1, units]) -> each class's own, [..., classes, own]; the
        positive ones first, under a polar rule.
    """

    classes: int
    divisor: int
    init: Callable[[Array, int], Array | None]
    neurons: Callable[[Array | None, Array], Array]


def groups(classes: int, polar: bool) -> Ownership:
    """Each class owns as many units, and under a polar rule as many of either half.

    Args:
      classes: number of labels.
      polar: whether the units are a positive and a negative half.

    Raises:
      ValueError: for fewer than 2 classes. `neurons` raises it for units that the classes cannot
        share.

    Reference: competition between groups of channels, Papachristodoulou et al. 2024,
    arXiv:2312.12668; there the goodness is the mean square and no half is negative.
    """
    check_integer("groups", "classes", classes, 2)
    halves = 2 if polar else 1
    return Ownership(classes, halves * classes, _nothing, partial(_of_groups, halves, classes))


def learned(classes: int, polar: bool) -> Ownership:
    """Each class learns what every unit is to it, by the layer's own loss.

    Under a polar rule the share p of a unit's squared activity is positive to the class and 1 - p
    is negative; so each class has a polarity of its own for every unit, where SFFA fixes one half
    for all. Otherwise p shares the unit out over the classes. A class sees one neuron for each
    half, the root of the mean share of squares.

    Args:
      classes: number of labels.
      polar: whether shares are of the two halves, or of the classes.

    Raises:
      ValueError: for fewer than 2 classes.
    """
    check_integer("learned", "classes", classes, 2)
    return Ownership(classes, 1, partial(_draw, polar, classes), partial(_of_shares, polar))


def _nothing(key: Key[Array, ""], units: int) -> None:
    del key, units


def _draw(
    polar: bool, classes: int, key: Key[Array, ""], units: int
) -> Float[Array, "halves classes units"]:
    # Far enough from all alike for classes to differ from the first step on.
    return 0.5 * jax.random.normal(key, (2 if polar else 1, classes, units))


def _of_groups(
    halves: int, classes: int, shares: None, h: Float[Array, "*samples one units"]
) -> Float[Array, "*samples classes own"]:
    del shares
    _check_unmarked(h)
    if h.shape[-1] % (halves * classes):
        raise reject(
            "groups",
            "h",
            f"have units that {classes} classes can share" + " in each half" * (halves == 2),
            f"shape {h.shape}",
            f"Choose a multiple of {halves * classes} units.",
        )
    own = h.reshape(*h.shape[:-2], halves, classes, -1)
    own = jnp.moveaxis(own, -3, -2)
    return own.reshape(*own.shape[:-2], -1)


def _of_shares(
    polar: bool, logits: Float[Array, "halves classes units"], h: Float[Array, "*samples one units"]
) -> Float[Array, "*samples classes halves"]:
    _check_unmarked(h)
    halves, classes, units = logits.shape
    shares = jax.nn.softmax(logits, axis=0 if polar else 1) * (1 if polar else classes)
    squares = jnp.square(h[..., 0, :]) @ shares.reshape(-1, units).T / units
    # Epsilon sits inside the root, whose slope at zero is infinite.
    neurons = jnp.sqrt(squares + 1e-12).reshape(*squares.shape[:-1], halves, classes)
    return jnp.moveaxis(neurons, -2, -1)


def _check_unmarked(h: Array) -> None:
    if h.shape[-2] != 1:
        raise reject("ownership", "h", "carry no label: one candidate", f"shape {h.shape}")
