"""Local losses: log-odds of a sample's label candidates -> one loss per sample.

Each sample comes with its candidate labels: the true one (the positive sample) and wrong ones
(the negative samples). `targets` marks the true one. Losses are not averaged over the batch.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from sffa_jax.checks import check_range, reject


def _check(where: str, log_odds: Array, targets: Array) -> None:
    if log_odds.shape != targets.shape:
        raise reject(
            where, "targets", f"have the shape of `log_odds` {log_odds.shape}", targets.shape
        )


def _among(targets: Array, allowed: Array | None) -> Array:
    """Weight of each candidate in a mean over the wrong ones that compete."""
    wrong = ~targets if allowed is None else ~targets & allowed
    return wrong / jnp.maximum(jnp.sum(wrong, axis=-1, keepdims=True), 1)


def binary_cross_entropy(
    log_odds: Float[Array, "batch candidates"],
    targets: Bool[Array, "batch candidates"],
    *,
    margin: float | Array = 0.0,
    allowed: Bool[Array, "batch candidates"] | None = None,
) -> Float[Array, " batch"]:
    """Every candidate by itself: 1/2 softplus(m - l) of the positive + 1/2 mean softplus(m + l)
    of the negatives, so that positives and negatives weigh the same however many there are.

    Args:
      log_odds: log-odds that each candidate is positive.
      targets: true at the sample's own label, once a row.
      margin: m, by how much the log-odds should clear 0 on their side. FFA with one threshold for
        positive and a lower one for negative samples is a margin of half their distance.
      allowed: candidates that compete, the target among them; None: all.

    Returns:
      Loss in nats, >= 0; log 2 where all log-odds are 0 and there is no margin.

    Raises:
      ValueError: if the shapes differ, or for a negative margin.

    Reference: Hinton 2022, arXiv:2212.13345, equation 1, with one negative; Terres-Escudero et
    al. 2024, arXiv:2409.07387.
    """
    _check("binary_cross_entropy", log_odds, targets)
    check_range("binary_cross_entropy", "margin", margin, at_least=0)
    losses = jax.nn.softplus(margin + jnp.where(targets, -log_odds, log_odds))
    return 0.5 * jnp.sum(losses * jnp.where(targets, 1.0, _among(targets, allowed)), axis=-1)


def softmax_cross_entropy(
    log_odds: Float[Array, "batch candidates"],
    targets: Bool[Array, "batch candidates"],
    *,
    label_smoothing: float | Array = 0.0,
    allowed: Bool[Array, "batch candidates"] | None = None,
) -> Float[Array, " batch"]:
    """Candidates against each other: cross-entropy of softmax(log-odds) with the true one.

    Still local: one layer's own log-odds, no other layer's.

    Args:
      log_odds: log-odds that each candidate is positive.
      targets: true at the sample's own label, once a row.
      label_smoothing: share of the target's mass that is spread evenly over all that compete.
      allowed: candidates that compete, the target among them; None: all.

    Returns:
      Loss in nats, >= 0; log(candidates) where all log-odds are equal.

    Raises:
      ValueError: if the shapes differ, or for a share outside [0, 1].
    """
    _check("softmax_cross_entropy", log_odds, targets)
    check_range("softmax_cross_entropy", "label_smoothing", label_smoothing, at_least=0, at_most=1)
    positive = jnp.sum(jnp.where(targets, log_odds, 0.0), axis=-1)
    mean = jnp.mean(log_odds, axis=-1, where=allowed)
    expected = (1 - label_smoothing) * positive + label_smoothing * mean
    return jax.nn.logsumexp(log_odds, axis=-1, where=allowed) - expected


def symba(
    log_odds: Float[Array, "batch candidates"],
    targets: Bool[Array, "batch candidates"],
    *,
    allowed: Bool[Array, "batch candidates"] | None = None,
) -> Float[Array, " batch"]:
    """The difference counts: mean over the negatives of softplus(l of the negative - l of the
    positive). Thresholds cancel out of it.

    Args:
      log_odds: log-odds that each candidate is positive.
      targets: true at the sample's own label, once a row.
      allowed: candidates that compete, the target among them; None: all.

    Returns:
      Loss in nats, >= 0; log 2 where all log-odds are equal. With one negative it is
      `softmax_cross_entropy`.

    Raises:
      ValueError: if the shapes differ.

    Reference: Lee & Song 2023, arXiv:2303.08418, equation 4; its scale alpha is the goodness's
    logit_scale here.
    """
    _check("symba", log_odds, targets)
    positive = jnp.sum(jnp.where(targets, log_odds, 0.0), axis=-1, keepdims=True)
    losses = jax.nn.softplus(log_odds - positive)
    return jnp.sum(losses * _among(targets, allowed), axis=-1)


def activity_factor(
    h: Float[Array, "batch candidates *units"],
    targets: Bool[Array, "batch candidates"],
    *,
    rate: float | Array,
) -> Float[Array, ""]:
    """1 + exp(-rate (mean h+ + mean h-)): a factor on the loss that keeps layers from dying.

    Args:
      h: the layer's activity, >= 0.
      targets: true at the sample's own label, once a row.
      rate: how soon the factor falls to 1 as activity grows.

    Returns:
      One factor for the whole batch, in (1, 2] for activity >= 0. h+ and h- are the activities of
      the positive and of the negative samples, averaged over units and samples.

    Raises:
      ValueError: for a rate that is not positive.

    Reference: released SFFA code, rate 10.
    """
    check_range("activity_factor", "rate", rate, above=0)
    mean = jnp.mean(h.reshape(*h.shape[:2], -1), axis=-1)
    kinds = (targets, ~targets)
    total = sum(jnp.sum(jnp.where(kind, mean, 0.0)) / jnp.sum(kind) for kind in kinds)
    return 1 + jnp.exp(-rate * total)


LOSSES: dict[str, Callable[..., Array]] = {
    "bce": binary_cross_entropy,
    "softmax": softmax_cross_entropy,
    "symba": symba,
}
