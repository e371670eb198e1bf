"""Local losses: logits of a sample's label candidates -> one loss per sample.

Each sample comes with its candidate labels: the true one (the positive sample) and wrong ones (the
negative samples). Every loss has the same contract, `loss(logits, targets, allowed=None)`:
`targets` marks the true label, and `allowed` the candidates that count (continual learning excludes
classes not seen so far). Losses are not averaged over the batch.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from sffa_jax.checks import check_range, reject, reject_type

Loss = Callable[..., Array]
"""(logits [batch, candidates], targets [batch, candidates], allowed=None) -> loss [batch]."""


def sample_losses(
    loss: Loss,
    logits: Float[Array, "batch candidates"],
    targets: Bool[Array, "batch candidates"],
    allowed: Bool[Array, "batch candidates"] | None = None,
) -> Float[Array, " batch"]:
    """The loss of each sample.

    Raises:
      ValueError: for another shape, e.g. a mean over the batch, whose samples have no weights.

    >>> sample_losses(binary_cross_entropy, jnp.zeros((3, 2)), jnp.array([[True, False]] * 3)).shape
    (3,)
    """
    values = loss(logits, targets, allowed)
    if values.shape != logits.shape[:1]:
        rule, got = "return one value for each sample", f"shape {values.shape}"
        advice = f"Expected shape {logits.shape[:1]}, from logits of shape {logits.shape}."
        raise reject("sample_losses", "loss", rule, got, advice)
    return values


def _check_targets(where: str, logits: Array, targets: Array) -> None:
    if logits.shape != targets.shape:
        raise reject(where, "targets", f"have the shape of `logits` {logits.shape}", targets.shape)
    _check_bool(where, targets)


def _check_bool(where: str, targets: Array) -> None:
    if targets.dtype != jnp.bool_:
        raise reject_type(where, "targets", "be bool", targets.dtype, "Compare: `targets == 1`.")


def _negative_weights(targets: Array, allowed: Array | None) -> Array:
    """Weight of each candidate in a mean over the allowed wrong candidates."""
    wrong = ~targets if allowed is None else ~targets & allowed
    return wrong / jnp.maximum(jnp.sum(wrong, axis=-1, keepdims=True), 1)


def _weighted_sum(losses: Array, weights: Array) -> Array:
    """Sum over candidates; a loss without weight may be infinite."""
    return jnp.sum(jnp.where(weights > 0, losses * weights, 0.0), axis=-1)


def binary_cross_entropy(
    logits: Float[Array, "batch candidates"],
    targets: Bool[Array, "batch candidates"],
    allowed: Bool[Array, "batch candidates"] | None = None,
) -> Float[Array, " batch"]:
    """Binary cross-entropy: 1/2 softplus(-l) of the positive + 1/2 mean softplus(l) of negatives.

    Positives and negatives have the same total weight for any number of negatives.

    Args:
      logits: logit that each candidate is positive.
      targets: true at the sample's label, once per row.
      allowed: candidates that take part, the target among them; None: all.

    Returns:
      Loss in nats, >= 0; log 2 if all logits are 0.

    Raises:
      TypeError: for targets that are not bool.
      ValueError: if the shapes differ.

    Reference: Hinton 2022, arXiv:2212.13345, equation 1, with one negative; Terres-Escudero et
    al. 2024, arXiv:2409.07387.

    >>> binary_cross_entropy(jnp.zeros((1, 3)), jnp.array([[True, False, False]]))
    Array([0.6931472], dtype=float32)
    """
    _check_targets("binary_cross_entropy", logits, targets)
    losses = jax.nn.softplus(jnp.where(targets, -logits, logits))
    weights = jnp.where(targets, 1.0, _negative_weights(targets, allowed))
    return 0.5 * _weighted_sum(losses, weights)


def softmax_cross_entropy(
    logits: Float[Array, "batch candidates"],
    targets: Bool[Array, "batch candidates"],
    allowed: Bool[Array, "batch candidates"] | None = None,
    *,
    label_smoothing: float | Array = 0.0,
) -> Float[Array, " batch"]:
    """Cross-entropy of softmax(logits over the candidates) with the true label.

    The loss is local: it depends on the logits of one layer only.

    Args:
      logits: logit that each candidate is positive.
      targets: true at the sample's label, once per row.
      allowed: candidates that take part, the target among them; None: all.
      label_smoothing: fraction of the target's mass that is spread evenly over all candidates that
        take part.

    Returns:
      Loss in nats, >= 0; log(candidates) if all logits are equal.

    Raises:
      TypeError: for targets that are not bool.
      ValueError: if the shapes differ, or for a fraction outside [0, 1].

    >>> softmax_cross_entropy(jnp.zeros((1, 3)), jnp.array([[True, False, False]]))
    Array([1.0986123], dtype=float32)
    """
    _check_targets("softmax_cross_entropy", logits, targets)
    check_range("softmax_cross_entropy", "label_smoothing", label_smoothing, at_least=0, at_most=1)
    positive = jnp.sum(jnp.where(targets, logits, 0.0), axis=-1)
    mean = jnp.mean(logits, axis=-1, where=allowed)
    expected = (1 - label_smoothing) * positive + label_smoothing * mean
    return jax.nn.logsumexp(logits, axis=-1, where=allowed) - expected


def symba(
    logits: Float[Array, "batch candidates"],
    targets: Bool[Array, "batch candidates"],
    allowed: Bool[Array, "batch candidates"] | None = None,
) -> Float[Array, " batch"]:
    """SymBa: mean over the negatives of softplus(l of the negative - l of the positive).

    Only differences of logits matter, so a threshold has no effect.

    Args:
      logits: logit that each candidate is positive.
      targets: true at the sample's label, once per row.
      allowed: candidates that take part, the target among them; None: all.

    Returns:
      Loss in nats, >= 0; log 2 if all logits are equal. With one negative it equals
      `softmax_cross_entropy`.

    Raises:
      TypeError: for targets that are not bool.
      ValueError: if the shapes differ.

    Reference: Lee & Song 2023, arXiv:2303.08418, equation 4; its scale alpha is the rule's
    logit_scale here.

    >>> symba(jnp.zeros((1, 3)), jnp.array([[True, False, False]]))
    Array([0.6931472], dtype=float32)
    """
    _check_targets("symba", logits, targets)
    positive = jnp.sum(jnp.where(targets, logits, 0.0), axis=-1, keepdims=True)
    losses = jax.nn.softplus(logits - positive)
    return _weighted_sum(losses, _negative_weights(targets, allowed))


def activity_factor(
    h: Float[Array, "batch candidates *units"],
    targets: Bool[Array, "batch candidates"],
    *,
    rate: float | Array,
) -> Float[Array, ""]:
    """1 + exp(-rate (mean h+ + mean h-)): a factor on the loss that keeps layers from dying.

    Args:
      h: the layer's activity, >= 0.
      targets: true at the sample's label, once per row.
      rate: exponential rate at which the factor falls to 1 as activity grows.

    Returns:
      One factor per batch, in (1, 2] for activity >= 0. h+ and h- are the activities of
      the positive and of the negative samples, averaged over units and samples.

    Raises:
      TypeError: for targets that are not bool.
      ValueError: for a rate that is not positive.

    Reference: released SFFA code, rate 10.

    >>> activity_factor(jnp.zeros((1, 2, 3)), jnp.array([[True, False]]), rate=10.0)
    Array(2., dtype=float32)
    """
    check_range("activity_factor", "rate", rate, above=0)
    _check_bool("activity_factor", targets)
    # Maps may be of type bfloat16; means over units need float32.
    rows = h.reshape(*h.shape[:2], -1)
    mean = jnp.mean(rows, axis=-1, dtype=jnp.promote_types(h.dtype, jnp.float32))
    kinds = (targets, ~targets)
    total = sum(jnp.sum(jnp.where(kind, mean, 0.0)) / jnp.sum(kind) for kind in kinds)
    return 1 + jnp.exp(-rate * total)


LOSSES: dict[str, Loss] = {
    "bce": binary_cross_entropy,
    "softmax": softmax_cross_entropy,
    "symba": symba,
}
"""Losses by name."""
