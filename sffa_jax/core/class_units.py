"""Class units: each class has its own readout of a layer, and the input contains no label.

One forward pass then gives the logits of all labels. `groups` gives each class a fixed group of
units; with `learned`, every class learns the polarity of every unit. The rule computes the logit of
a class from the units that the class reads. `linear` is the control: a linear classifier.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from sffa_jax.checks import check_integer, check_range, reject
from sffa_jax.core.image_layout import average_places, unflatten_maps


class ClassUnits(NamedTuple):
    """Functions by which each class of a network reads a layer.

    Attributes:
      divisor: the number of units of each layer must be a multiple of it.
      init: (key, shape of the activity of one sample: units, or maps [h, w, c]) -> parameters,
        trained with those of the layer; None: no parameters.
      select: (parameters, activity [..., 1, units]) -> the activity that each class
        reads, [..., classes, units of the class]; positive units first under a polar rule.
      is_head: whether this is a trained classifier, not a goodness of the units.
    """

    divisor: int
    init: Callable[[Array, Sequence[int]], Any]
    select: Callable[[Any, Array], Array]
    is_head: bool = False


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


def learned(*, places: int | None = None, rate: float = 1.0) -> MakeClassUnits:
    """Lets each class learn a polarity for every unit, trained by the layer's loss.

    Under a polar rule, a fraction p of a unit's squared activity is positive for the class and
    1 - p is negative; SFFA uses fixed halves instead. Without polarity, the fractions divide each
    unit among the classes. A class reads one neuron per half: the root of the mean weighted square.

    Args:
      places: number of features to which the squares of maps are averaged, over squares of
        positions, see `image_layout.average_places`; None: each position has its own polarity.
      rate: how fast polarities change at a given learning rate, a factor of their parameters. They
        also start closer to 1/2: the log-odds of p have a standard deviation of 0.7 / rate. With
        few updates, random polarities at a rate of 1 are hardly learned.

    Raises:
      ValueError: for fewer than one feature, or a rate that is not positive.

    >>> params = learned()(2, True).init(jax.random.key(0), (4,))
    >>> params.shape  # halves, classes, units
    (2, 2, 4)
    """
    if places is not None:
        check_integer("learned", "places", places, 1, "None: each position has its own polarity.")
    check_range("learned", "rate", rate, above=0)
    return partial(_make_learned, places=places, rate=rate)


def linear(*, places: int | None = None) -> MakeClassUnits:
    """Gives each class a linear function of the activity: a control, see `rules.linear_head`.

    Args:
      places: number of features to which maps are averaged, as in `learned`; None: all.

    Raises:
      ValueError: for fewer than one feature.

    >>> make = linear()
    >>> {name: of.shape for name, of in make(2, False).init(jax.random.key(0), (4,)).items()}
    {'kernel': (4, 2), 'bias': (2,)}
    """
    if places is not None:
        check_integer("linear", "places", places, 1, "None: all units.")
    return partial(_make_linear, places=places)


def _make_groups(num_classes: int, polar: bool) -> ClassUnits:
    halves = 2 if polar else 1
    return ClassUnits(halves * num_classes, _no_params, partial(_group_units, halves, num_classes))


def _make_learned(
    num_classes: int, polar: bool, places: int | None = None, rate: float = 1.0
) -> ClassUnits:
    draw = partial(_draw_params, polar, num_classes, places, rate)
    return ClassUnits(1, draw, partial(_weigh_units, polar, places, rate))


def _make_linear(num_classes: int, polar: bool, places: int | None = None) -> ClassUnits:
    del polar
    draw = partial(_draw_linear, num_classes, places)
    return ClassUnits(1, draw, partial(_apply_linear, places), is_head=True)


def _no_params(key: Key[Array, ""], shape: Sequence[int]) -> None:
    del key, shape


def _num_features(places: int | None, shape: Sequence[int]) -> int:
    averaged = jax.eval_shape(lambda: _averaged(places, jnp.zeros(shape), len(shape)))
    return math.prod(averaged.shape)


def _averaged(places: int | None, h: Array, unit_axes: int) -> Array:
    """Averages maps to so many features; returns rows as they are."""
    return h if places is None or unit_axes == 1 else average_places(h, places)


def _draw_params(
    polar: bool,
    num_classes: int,
    places: int | None,
    rate: float,
    key: Key[Array, ""],
    shape: Sequence[int],
) -> Float[Array, "halves classes units"]:
    # The spread is large enough for classes to differ from the first step.
    features = _num_features(places, shape)
    spread = 0.5 / rate**2  # of logits of 0.5 / rate
    return spread * jax.random.normal(key, (2 if polar else 1, num_classes, features))


def _draw_linear(
    num_classes: int, places: int | None, key: Key[Array, ""], shape: Sequence[int]
) -> dict[str, Array]:
    features = _num_features(places, shape)
    kernel = jax.random.normal(key, (features, num_classes)) / math.sqrt(features)
    return {"kernel": kernel, "bias": jnp.zeros(num_classes)}


def _apply_linear(
    places: int | None, params: dict[str, Array], h: Array, unit_axes: int = 1
) -> Float[Array, "*samples classes one"]:
    _check_unlabeled(h, unit_axes)
    rows = _averaged(places, h, unit_axes)
    rows = rows.reshape(*rows.shape[: -unit_axes - 1], -1)
    scores = rows @ params["kernel"]
    return (scores + jnp.broadcast_to(params["bias"], scores.shape))[..., None]


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
    polar: bool,
    places: int | None,
    rate: float,
    params: Float[Array, "halves classes units"],
    h: Array,
    unit_axes: int = 1,
) -> Float[Array, "*samples classes halves"]:
    """[..., 1, *units] -> [..., classes, halves], from maps or rows."""
    _check_unlabeled(h, unit_axes)
    halves, num_classes, units = params.shape
    fractions = jax.nn.softmax(rate * params, axis=0 if polar else 1)
    fractions = fractions * (1 if polar else num_classes)
    squares = _averaged(places, jnp.square(h), unit_axes)
    if unit_axes == 3:  # one product over places and maps; the weights are laid out as the maps
        fractions = unflatten_maps(fractions, squares.shape)
    rows = squares.reshape(*h.shape[: -unit_axes - 1], units)
    weights = fractions.reshape(-1, units).T.astype(h.dtype)
    sums = jnp.matmul(rows, weights, preferred_element_type=params.dtype) / units
    # Epsilon is inside the root because the gradient of a root at zero is infinite.
    neurons = jnp.sqrt(sums + 1e-12).reshape(*sums.shape[:-1], halves, num_classes)
    return jnp.moveaxis(neurons, -2, -1)


def _check_unlabeled(h: Array, unit_axes: int) -> None:
    if h.shape[-unit_axes - 1] != 1:
        raise reject("class_units", "h", "contain no label: one candidate", f"shape {h.shape}")
