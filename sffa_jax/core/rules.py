"""A local rule: everything in which two forward-only algorithms differ, as pure functions.

FFA and SFFA share the network, the update and the training loop. What sets them apart stands
in `ffa`, `sffa` and `polar_ffa` below and nowhere else.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple, TypedDict, Unpack

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sffa_jax.checks import check_choice, check_range, reject
from sffa_jax.core import goodness, losses
from sffa_jax.core.class_units import Ownership


class LocalRule(NamedTuple):
    """How one layer learns and what it says.

    Attributes:
      goodness: activity [..., units] -> log-odds [...] that the sample is positive.
      loss: (log-odds [batch, candidates], targets [batch, candidates]) -> loss [batch].
      score: log-odds -> what this layer adds to a label's score; the label with the highest
        sum over layers is predicted.
      normalize: activity -> what the next layer sees. It removes this layer's goodness, which
        the next layer would otherwise merely read off instead of learning features.
      activity_factor: (activity, targets) -> factor on the batch's losses, or None.
      polar: whether the units are two groups, so that their number must be even.
      ownership: where classes own units, see `owned`. None: the label enters the input.
    """

    goodness: Callable[[Array], Array]
    loss: Callable[[Array, Array], Array]
    score: Callable[[Array], Array]
    normalize: Callable[[Array], Array]
    polar: bool
    activity_factor: Callable[[Array, Array], Array] | None = None
    ownership: Ownership | None = None


SCORES: dict[str, Callable[[Array], Array]] = {
    "log_odds": lambda log_odds: log_odds,
    "probability": jax.nn.sigmoid,
    "log_probability": jax.nn.log_sigmoid,
}
"""What a layer adds to a label's score. The sum over layers is then the sum of the log-odds, the
sum of the probabilities, or the logarithm of their product."""


def unit_length(h: Float[Array, "*samples units"]) -> Float[Array, "*samples units"]:
    """Scales every row to a mean square of 1 (a row of zeros stays zero).

    Reference: Hinton 2022, arXiv:2212.13345, section 2.1; the factor sqrt(units) keeps the next
    layer's inputs at the scale that initializers expect.
    """
    # Epsilon sits inside the root: the gradient of a norm at zero is undefined.
    return h / jnp.sqrt(jnp.mean(jnp.square(h), axis=-1, keepdims=True) + 1e-8)


def unit_length_halves(h: Float[Array, "*samples units"]) -> Float[Array, "*samples units"]:
    """`unit_length` of the positive and of the negative neurons, each by itself.

    Removes exactly the ratio that is SFFA's goodness. Reference: Terres-Escudero et al. 2024
    (their released code slices the batch axis here; this is the intended form).
    """
    return jnp.concatenate([unit_length(half) for half in goodness.split_polarity(h)], axis=-1)


NORMALIZE: dict[str, Callable[[Array], Array]] = {
    "halves": unit_length_halves,
    "whole": unit_length,
    "none": lambda h: h,
}
"""What is taken out of an activity before the next layer sees it."""


class Choices(TypedDict, total=False):
    """What every rule below can be told beside its goodness; in brackets, what it is if not said.

    Attributes:
      loss: "bce" (the papers'), "softmax" over the candidates, or "symba". ["bce"]
      margin: of "bce". [0]
      label_smoothing: of "softmax". [0]
      activity_rate: rate of `losses.activity_factor`; None leaves it out (the released code: 10).
        [None]
      prediction: what layers add up to score a label: "log_odds", "probability" or
        "log_probability". ["log_odds"]
      normalize: "halves", "whole" or "none". ["halves" for polar rules, "whole" for FFA]
      clip: probabilities are clipped to [clip, 1 - clip], where gradients vanish (the released
        code: 1e-4); None does not. [None]
    """

    loss: str
    margin: float | Array
    label_smoothing: float | Array
    activity_rate: float | Array | None
    prediction: str
    normalize: str
    clip: float | None


def ffa(
    *,
    threshold: float | Array = 2.0,
    logit_scale: float | Array = 1.0,
    measure: str = "mean_square",
    **choices: Unpack[Choices],
) -> LocalRule:
    """The Forward-Forward Algorithm: energy above a threshold is positive.

    Args:
      threshold: theta > 0, in units of the measure.
      logit_scale: tau > 0; 1 in the paper.
      measure: of the activity, one of `goodness.MEASURES`.
      choices: see `Choices`.

    Raises:
      ValueError: for a number out of range or an unknown name.

    Reference: Hinton 2022, arXiv:2212.13345.
    """
    check_range("ffa", "threshold", threshold, above=0)
    check_range("ffa", "logit_scale", logit_scale, above=0)
    log_odds = partial(
        goodness.energy, threshold=threshold, logit_scale=logit_scale, measure=measure
    )
    return _rule("ffa", log_odds, measure, {"normalize": "whole", **choices}, polar=False)


def sffa(
    *,
    logit_scale: float | Array = 1.0,
    eps: float | Array = 1e-9,
    measure: str = "sum_square",
    **choices: Unpack[Choices],
) -> LocalRule:
    """The Symmetric Forward-Forward Algorithm: activity in the positive neurons is positive.

    Args:
      logit_scale: tau > 0; 1 in the paper.
      eps: epsilon > 0, in units of the measure; 1e-9 in the paper.
      measure: of a half's activity, one of `goodness.MEASURES`.
      choices: see `Choices`.

    Raises:
      ValueError: for a number out of range or an unknown name.

    Reference: Terres-Escudero, Del Ser, Garcia-Bringas, CoLLAs 2024, arXiv:2409.07387.
    """
    check_range("sffa", "logit_scale", logit_scale, above=0)
    check_range("sffa", "eps", eps, above=0)
    log_odds = partial(goodness.polar_ratio, logit_scale=logit_scale, eps=eps, measure=measure)
    return _rule("sffa", log_odds, measure, {"normalize": "halves", **choices}, polar=True)


def polar_ffa(
    *,
    threshold: float | Array = 0.0,
    logit_scale: float | Array = 1.0,
    measure: str = "mean_square",
    **choices: Unpack[Choices],
) -> LocalRule:
    """Polar-FFA under its sigmoid: the difference of the halves decides. (Under its symmetric
    probability it is `sffa` with another measure.)

    Args:
      threshold: theta, in units of the measure.
      logit_scale: tau > 0; 1 in the paper.
      measure: of a half's activity, one of `goodness.MEASURES`.
      choices: see `Choices`.

    Raises:
      ValueError: for a number out of range or an unknown name.

    Reference: Terres-Escudero et al. 2024, arXiv:2408.09210.
    """
    check_range("polar_ffa", "threshold", threshold)
    check_range("polar_ffa", "logit_scale", logit_scale, above=0)
    log_odds = partial(
        goodness.polar_difference, threshold=threshold, logit_scale=logit_scale, measure=measure
    )
    return _rule("polar_ffa", log_odds, measure, {"normalize": "halves", **choices}, polar=True)


def owned(rule: LocalRule, ownership: Ownership) -> LocalRule:
    """The rule on units that belong to classes: a label's log-odds are the goodness of its own.

    No label enters the input; one pass gives all labels' log-odds.

    Args:
      rule: whose goodness a class's units have.
      ownership: whose units are whose, `ownership.groups(...)` or `ownership.learned(...)`.

    Raises:
      ValueError: for a rule whose units are owned already or that has an activity factor, which
        weighs the activity of one label.
    """
    if rule.ownership is not None:
        had = f"a rule of {rule.ownership.classes} classes"
        raise reject("owned", "rule", "have units that no class owns yet", had)
    if rule.activity_factor is not None:
        raise reject("owned", "rule", "have no activity factor", "one", "Set activity_rate=None.")
    return rule._replace(ownership=ownership)


def _clipped(log_odds: Callable[[Array], Array], bound: float, h: Array) -> Array:
    return jnp.clip(log_odds(h), -bound, bound)


def _rule(
    where: str,
    log_odds: Callable[[Array], Array],
    measure: str,
    choices: Choices,
    *,
    polar: bool,
) -> LocalRule:
    """Puts a rule together from its goodness and the choices that all rules share."""
    for name in choices:
        check_choice(where, "choices", name, Choices.__annotations__)
    loss, prediction = choices.get("loss", "bce"), choices.get("prediction", "log_odds")
    margin, smoothing = choices.get("margin", 0.0), choices.get("label_smoothing", 0.0)
    clip, rate = choices.get("clip"), choices.get("activity_rate")
    check_choice(where, "measure", measure, goodness.MEASURES)
    check_choice(where, "loss", loss, losses.LOSSES)
    check_choice(where, "prediction", prediction, SCORES)
    check_choice(where, "normalize", choices["normalize"], NORMALIZE)
    check_range(where, "margin", margin, at_least=0)
    check_range(where, "label_smoothing", smoothing, at_least=0, at_most=1)
    if rate is not None:
        check_range(where, "activity_rate", rate, above=0, advice="None leaves it out.")
    if clip is not None:
        check_range(where, "clip", clip, above=0, at_most=0.4, advice="None does not clip.")
    own = {"bce": {"margin": margin}, "softmax": {"label_smoothing": smoothing}}
    return LocalRule(
        goodness=log_odds if clip is None else partial(_clipped, log_odds, math.log(1 / clip - 1)),
        loss=partial(losses.LOSSES[loss], **own.get(loss, {})),
        score=SCORES[prediction],
        normalize=NORMALIZE[choices["normalize"]],
        polar=polar,
        activity_factor=None if rate is None else partial(losses.activity_factor, rate=rate),
    )
