"""A local rule: the part of a forward-only algorithm that is specific to it, as pure functions.

FFA and SFFA share the network, the update and the training loop; they differ only in `ffa` and
`sffa` below. `make_rule` builds a custom rule.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple, TypedDict, Unpack

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sffa_jax.checks import check_function, check_range, check_type, choose, reject
from sffa_jax.core import goodness
from sffa_jax.core.class_units import MakeClassUnits, linear
from sffa_jax.core.goodness import Measure
from sffa_jax.core.image_layout import over_units
from sffa_jax.core.losses import LOSSES, Loss, activity_factor
from sffa_jax.core.second_terms import SecondTerm

Elementwise = Callable[[Array], Array]


class LocalRule(NamedTuple):
    """Logit, loss, score and normalization of a layer.

    Attributes:
      logit: activity [..., units] -> logit [...] that the sample is positive.
      loss: (logits [batch, candidates], targets [batch, candidates], allowed=None) -> loss [batch].
      score: logit -> contribution of this layer to a label's score; the network predicts the label
        with the highest sum over layers.
      normalize: activity -> input of the next layer. It removes this layer's goodness; otherwise
        the next layer could copy it instead of learning features.
      polar: whether the units (an even number) consist of a positive and a negative half.
      activity_factor: (activity, targets) -> factor on the batch's losses, or None.
      class_units: readout of each class, see `with_class_units`. None: the label enters the
        input.
      second_term: further loss of a batch's activity, see `with_second_term`. None: no such loss.

    Maps [..., h, w, c] reach a function as rows, one map after another; `logit` and `normalize` may
    have an argument `unit_axes` instead, the number of last axes that contain units.
    """

    logit: Callable[[Array], Array]
    loss: Loss
    score: Elementwise
    normalize: Callable[[Array], Array]
    polar: bool = False
    activity_factor: Callable[[Array, Array], Array] | None = None
    class_units: MakeClassUnits | None = None
    second_term: SecondTerm | None = None


def unit_length(h: Float[Array, "*samples units"], unit_axes: int = 1) -> Array:
    """Scales every sample to a mean square of 1 (a sample of zeros stays zero).

    Args:
      h: activity.
      unit_axes: number of last axes of `h` that contain units: 3 for maps [h, w, c].

    Reference: Hinton 2022, arXiv:2212.13345, section 2.1; the factor sqrt(units) keeps the next
    layer's inputs at the scale that initializers expect.

    >>> unit_length(jnp.array([3.0, 3.0]))
    Array([1., 1.], dtype=float32)
    """
    # Epsilon is inside the root because the gradient of a norm at zero is undefined.
    axes = tuple(range(-unit_axes, 0))
    # In float16, epsilon would be 0, and squares would overflow.
    wide = h.astype(jnp.float32) if h.dtype == jnp.float16 else h
    scaled = wide / jnp.sqrt(jnp.mean(jnp.square(wide), axis=axes, keepdims=True) + 1e-8)
    return scaled.astype(h.dtype)


def unit_length_halves(h: Float[Array, "*samples units"], unit_axes: int = 1) -> Array:
    """Applies `unit_length` to the positive and to the negative neurons separately.

    Removes exactly the ratio that is SFFA's goodness. Reference: Terres-Escudero et al. 2024
    (their released code slices the batch axis here; this is the intended form).

    >>> unit_length_halves(jnp.array([3.0, 3.0, 5.0, 5.0]))
    Array([1., 1., 1., 1.], dtype=float32)
    """
    halves = [unit_length(half, unit_axes) for half in goodness.split_polarity(h)]
    return jnp.concatenate(halves, axis=-1)


def euclidean_halves(h: Float[Array, "*samples units"], unit_axes: int = 1) -> Array:
    """Scales the positive and the negative neurons of each sample to a Euclidean length of 1.

    Without the factor sqrt(units) of `unit_length`: single units reach the next layer small.
    Reference: Terres-Escudero et al. 2024, arXiv:2408.09210, released code.

    >>> euclidean_halves(jnp.array([3.0, 4.0, 0.0, 2.0])).round(3)
    Array([0.6, 0.8, 0. , 1. ], dtype=float32)
    """
    units = h.shape[-1] // 2 * math.prod(h.shape[-unit_axes:-1])
    return unit_length_halves(h, unit_axes) / math.sqrt(units)


def identity(h: Array, unit_axes: int = 1) -> Array:
    """Returns its argument."""
    del unit_axes
    return h


NORMALIZE: dict[str, Callable[[Array], Array]] = {
    "halves": unit_length_halves,
    "euclidean_halves": euclidean_halves,
    "whole": unit_length,
    "none": identity,
}
"""Normalizations of the activity before the next layer, by name."""

SCORES: dict[str, Elementwise] = {"logit": identity, "probability": jax.nn.sigmoid}
"""Contributions of a layer to a label's score, by name: its logit or its probability."""


class RuleOptions(TypedDict, total=False):
    """Options of every rule; see `make_rule`."""

    loss: str | Loss
    normalize: str | Callable[[Array], Array] | None
    score: str | Elementwise
    activity_rate: float | Array | None
    clip: float | None


def make_rule(
    logit: Callable[[Array], Array],
    *,
    polar: bool = False,
    loss: str | Loss = "bce",
    normalize: str | Callable[[Array], Array] | None = None,
    score: str | Elementwise = "logit",
    activity_rate: float | Array | None = None,
    clip: float | None = None,
) -> LocalRule:
    """Makes a local rule from its logit; `ffa`, `sffa` and custom rules use it.

    Args:
      logit: activity [..., units] -> logit [...] that the sample is positive. It must not depend on
        other samples.
      polar: whether the units consist of a positive (first) and a negative half.
      loss: "bce" (the papers'), "softmax" over the candidates, "symba", or a function of the
        signature in `losses`.
      normalize: one of `NORMALIZE` or a function [..., units] -> [..., units]; None is "halves" for
        a polar rule and "whole" for any other.
      score: contribution of a layer to a label's score: "logit", "probability", or an elementwise
        function of the logit.
      activity_rate: rate of `losses.activity_factor` (the released code: 10); None: no factor.
      clip: clips probabilities to [clip, 1 - clip], where gradients vanish (the released code:
        1e-4); None: no clipping.

    Raises:
      TypeError: for a logit or a loss of another signature.
      ValueError: for an unknown name or a number out of range.

    >>> rule = make_rule(lambda h: jnp.mean(h, axis=-1) - 1.0, loss="symba")
    >>> rule.logit(jnp.array([[3.0, 1.0], [0.0, 0.0]]))
    Array([ 1., -1.], dtype=float32)
    """
    check_function("make_rule", "logit", logit, "activity")
    loss = choose("make_rule", "loss", loss, LOSSES)
    advice = "Give it `allowed=None`: continual learning passes the labels that count."
    check_function("make_rule", "loss", loss, "logits, targets, allowed", advice)
    if clip is not None:
        check_range("make_rule", "clip", clip, above=0, at_most=0.4, advice="None: no clipping.")
        logit = partial(_clipped, logit, math.log(1 / clip - 1))
    if activity_rate is not None:
        check_range("make_rule", "activity_rate", activity_rate, above=0, advice="None: no factor.")
    if normalize is None:
        normalize = "halves" if polar else "whole"
    return LocalRule(
        logit=logit,
        loss=loss,
        score=choose("make_rule", "score", score, SCORES),
        normalize=choose("make_rule", "normalize", normalize, NORMALIZE),
        polar=polar,
        activity_factor=(
            None if activity_rate is None else partial(activity_factor, rate=activity_rate)
        ),
    )


def ffa(
    *,
    threshold: float | Array = 0.3,
    logit_scale: float | Array = 20.0,
    measure: str | Measure = "mean_square",
    **options: Unpack[RuleOptions],
) -> LocalRule:
    """The Forward-Forward Algorithm: a sample is positive if its energy exceeds a threshold.

    The defaults were chosen on held-out images of MNIST.

    Args:
      threshold: theta > 0, in units of the measure; often 2 in published code.
      logit_scale: tau > 0; 1 in the paper.
      measure: of the activity, one of `goodness.MEASURES` or a function.
      options: see `make_rule`.

    Raises:
      ValueError: for a number out of range or an unknown name.

    Reference: Hinton 2022, arXiv:2212.13345.

    >>> ffa(threshold=0.5, logit_scale=1.0).logit(jnp.array([1.0, 1.0]))
    Array(0.5, dtype=float32)
    """
    check_range("ffa", "threshold", threshold, above=0)
    check_range("ffa", "logit_scale", logit_scale, above=0)
    choose("ffa", "measure", measure, goodness.MEASURES)
    logit = partial(goodness.energy, threshold=threshold, logit_scale=logit_scale, measure=measure)
    return make_rule(logit, polar=False, **options)


def sffa(
    *,
    logit_scale: float | Array = 6.0,
    eps: float | Array = 1.0,
    measure: str | Measure = "sum_square",
    **options: Unpack[RuleOptions],
) -> LocalRule:
    """The Symmetric Forward-Forward Algorithm: positive neurons are active for positive samples.

    The defaults were chosen on held-out images of MNIST.

    Args:
      logit_scale: tau > 0; 1 in the paper.
      eps: epsilon > 0, in units of the measure; 1e-9 in the paper.
      measure: of a half's activity, one of `goodness.MEASURES` or a function.
      options: see `make_rule`.

    Raises:
      ValueError: for a number out of range or an unknown name.

    Reference: Terres-Escudero, Del Ser, Garcia-Bringas, CoLLAs 2024, arXiv:2409.07387.

    >>> sffa().logit(jnp.array([1.0, 1.0]))  # a positive and a negative neuron, equally active
    Array(0., dtype=float32)
    """
    check_range("sffa", "logit_scale", logit_scale, above=0)
    check_range("sffa", "eps", eps, above=0)
    choose("sffa", "measure", measure, goodness.MEASURES)
    logit = partial(goodness.polar_ratio, logit_scale=logit_scale, eps=eps, measure=measure)
    return make_rule(logit, polar=True, **options)


def with_class_units(rule: LocalRule, class_units: MakeClassUnits) -> LocalRule:
    """Returns the rule for a network with class units.

    The logit of a label is the rule's logit of that class's units. The input contains no label, so
    one forward pass gives the logits of all labels; the network's overlay must be
    `overlays.none()`.

    Args:
      rule: a rule without class units.
      class_units: `class_units.groups()` or `class_units.learned()`.

    Raises:
      TypeError: for a rule or class units of another type.
      ValueError: for a rule that has class units already, or an activity factor, which weighs the
        activity under one label.

    >>> from sffa_jax.core.class_units import groups
    >>> with_class_units(sffa(), groups()).polar
    True
    """
    advice = "Call the function that makes it, e.g. `sffa()`."
    check_type("with_class_units", "rule", rule, LocalRule, "be a `LocalRule`", advice)
    advice = "Call the function that makes it, e.g. `class_units.learned()`."
    check_function("with_class_units", "class_units", class_units, "num_classes, polar", advice)
    if rule.class_units is not None:
        raise reject("with_class_units", "rule", "have no class units yet", "a rule with them")
    if rule.activity_factor is not None:
        raise reject(
            "with_class_units", "rule", "have no activity factor", "one", "Set activity_rate=None."
        )
    return rule._replace(class_units=class_units)


def with_second_term(rule: LocalRule, second_term: SecondTerm) -> LocalRule:
    """Returns the rule with a second term of the loss, which compares the samples of a batch.

    Args:
      rule: a rule with class units.
      second_term: e.g. `second_terms.supervised_contrast()`.

    Raises:
      TypeError: for a second term of another type.
      ValueError: for a rule without class units, whose input contains the label, or with a second
        term.

    >>> from sffa_jax.core import class_units, second_terms
    >>> rule = with_class_units(sffa(), class_units.learned())
    >>> with_second_term(rule, second_terms.similarity_matching(weight=5.0)).second_term.weight
    5.0
    """
    advice = "`second_terms.supervised_contrast()` returns one."
    check_type(
        "with_second_term", "second_term", second_term, SecondTerm, "be a `SecondTerm`", advice
    )
    if rule.class_units is None:
        advice = "Use `with_class_units`: a label in the input would give the classes away."
        raise reject("with_second_term", "rule", "have class units", "a rule without", advice)
    if rule.second_term is not None:
        raise reject("with_second_term", "rule", "have no second term yet", "a rule with one")
    return rule._replace(second_term=second_term)


def linear_head(
    *,
    places: int | None = None,
    loss: str | Loss = "softmax",
    normalize: str | Callable[[Array], Array] | None = None,
) -> LocalRule:
    """A control: a linear classifier on each layer, trained by a local loss; no goodness.

    It shows what a goodness adds to or loses against plain local supervision. The label does not
    enter the input: the network's overlay must be `overlays.none()`.

    Args:
      places: number of features to which maps are averaged, see `class_units.learned`; None: all.
      loss, normalize: as in `make_rule`; the loss is the cross-entropy of the classes.

    Raises:
      ValueError: for a number out of range or an unknown name.

    Reference: local classifiers, Nokland & Eidnes 2019, arXiv:1901.06656, section 2.2.

    >>> linear_head(places=2048).polar
    False
    """
    rule = make_rule(_first_unit, loss=loss, normalize=normalize)
    return rule._replace(class_units=linear(places=places))


def _first_unit(h: Array) -> Array:
    return h[..., 0]


def _clipped(logit: Callable[[Array], Array], bound: float, h: Array, unit_axes: int = 1) -> Array:
    return jnp.clip(over_units(logit, h, unit_axes), -bound, bound)
