"""A local rule: everything in which two forward-only algorithms differ, as pure functions.

FFA and SFFA share the network, the update and the training loop. What sets them apart stands
in `ffa` and `sffa` below and nowhere else.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sffa_jax import goodness, losses
from sffa_jax.checks import check_choice, check_range


class LocalRule(NamedTuple):
    """How one layer learns and what it says.

    Attributes:
      goodness: activity [..., units] -> log-odds [...] that the sample is positive.
      loss: (log-odds [batch, candidates], targets [batch, candidates]) -> loss [batch].
      score: log-odds -> what this layer adds to a label's score; the label with the highest
        sum over layers is predicted.
      normalise: activity -> what the next layer sees. It removes this layer's goodness, which
        the next layer would otherwise merely read off instead of learning features.
      activity_factor: (activity, targets) -> factor on the batch's losses, or None.
      polar: whether the units are two groups, so that their number must be even.
    """

    goodness: Callable[[Array], Array]
    loss: Callable[[Array, Array], Array]
    score: Callable[[Array], Array]
    normalise: Callable[[Array], Array]
    polar: bool
    activity_factor: Callable[[Array, Array], Array] | None = None


SCORES: dict[str, Callable[[Array], Array]] = {
    "log_odds": lambda log_odds: log_odds,
    "probability": jax.nn.sigmoid,
    "log_probability": jax.nn.log_sigmoid,
}
"""What a layer adds to a label's score. The sum over layers is then the sum of the log-odds, the
sum of the probabilities, or the logarithm of their product."""


def _activity_factor(rate: float | Array | None) -> Callable[[Array, Array], Array] | None:
    return None if rate is None else partial(losses.activity_factor, rate=rate)


def unit_length(h: Float[Array, "*samples units"]) -> Float[Array, "*samples units"]:
    """Scales every row to a mean square of 1 (a row of zeros stays zero).

    Reference: Hinton 2022, arXiv:2212.13345, section 2.1; the factor sqrt(units) keeps the next
    layer's inputs at the scale that initialisers expect.
    """
    # The floor sits inside the root: the gradient of a norm at zero is undefined.
    return h / jnp.sqrt(jnp.mean(jnp.square(h), axis=-1, keepdims=True) + 1e-8)


def unit_length_halves(h: Float[Array, "*samples units"]) -> Float[Array, "*samples units"]:
    """`unit_length` of the positive and of the negative neurons, each by itself.

    Removes exactly the ratio that is SFFA's goodness. Reference: Terres-Escudero et al. 2024
    (their released code slices the batch axis here; this is the intended form).
    """
    return jnp.concatenate([unit_length(half) for half in goodness.split_polarity(h)], axis=-1)


def ffa(
    *,
    threshold: float | Array = 2.0,
    sharpness: float | Array = 1.0,
    loss: str = "bce",
    prediction: str = "log_odds",
    activity_rate: float | Array | None = None,
) -> LocalRule:
    """The Forward-Forward Algorithm: energy above a threshold is positive.

    Args:
      threshold: theta > 0, mean squared activity.
      sharpness: tau > 0; 1 in the paper.
      loss: "bce" (the paper's) or "softmax" over the candidates.
      prediction: what layers add up to score a label: "log_odds", "probability" or
        "log_probability".
      activity_rate: rate of `losses.activity_factor`; None leaves it out (the released code: 10).

    Raises:
      ValueError: for a number out of range, an unknown loss or an unknown prediction.

    Reference: Hinton 2022, arXiv:2212.13345.
    """
    check_choice("ffa", "loss", loss, losses.LOSSES)
    check_choice("ffa", "prediction", prediction, SCORES)
    if activity_rate is not None:
        check_range("ffa", "activity_rate", activity_rate, above=0, advice="None leaves it out.")
    check_range("ffa", "threshold", threshold, above=0)
    check_range("ffa", "sharpness", sharpness, above=0)
    return LocalRule(
        goodness=lambda h: goodness.energy(h, threshold=threshold, sharpness=sharpness),
        loss=losses.LOSSES[loss],
        score=SCORES[prediction],
        normalise=unit_length,
        polar=False,
        activity_factor=_activity_factor(activity_rate),
    )


def sffa(
    *,
    sharpness: float | Array = 1.0,
    floor: float | Array = 1e-9,
    loss: str = "bce",
    prediction: str = "log_odds",
    activity_rate: float | Array | None = None,
) -> LocalRule:
    """The Symmetric Forward-Forward Algorithm: activity in the positive neurons is positive.

    Args:
      sharpness: tau > 0; 1 in the paper.
      floor: epsilon > 0, squared activity; 1e-9 in the paper.
      loss: "bce" (the paper's) or "softmax" over the candidates.
      prediction: what layers add up to score a label: "log_odds", "probability" or
        "log_probability".
      activity_rate: rate of `losses.activity_factor`; None leaves it out (the released code: 10).

    Raises:
      ValueError: for a number out of range, an unknown loss or an unknown prediction.

    Reference: Terres-Escudero, Del Ser, Garcia-Bringas, CoLLAs 2024, arXiv:2409.07387.
    """
    check_choice("sffa", "loss", loss, losses.LOSSES)
    check_choice("sffa", "prediction", prediction, SCORES)
    if activity_rate is not None:
        check_range("sffa", "activity_rate", activity_rate, above=0, advice="None leaves it out.")
    check_range("sffa", "sharpness", sharpness, above=0)
    check_range("sffa", "floor", floor, above=0)
    return LocalRule(
        goodness=lambda h: goodness.polar_ratio(h, sharpness=sharpness, floor=floor),
        loss=losses.LOSSES[loss],
        score=SCORES[prediction],
        normalise=unit_length_halves,
        polar=True,
        activity_factor=_activity_factor(activity_rate),
    )
