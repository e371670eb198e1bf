"""How well the goodness separates true from wrong labels, and how well it is calibrated."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from sffa_jax.checks import check_integer


def auroc(right: Float[Array, " right"], wrong: Float[Array, " wrong"]) -> Float[Array, ""]:
    """Probability that the logit of a true label exceeds that of a wrong one; ties count half."""
    ordered = jnp.sort(wrong)
    below = jnp.searchsorted(ordered, right, side="left")
    up_to = jnp.searchsorted(ordered, right, side="right")
    return jnp.mean((below + up_to) / (2 * wrong.shape[0]), dtype=jnp.float32)


class Reliability(NamedTuple):
    """A reliability diagram.

    Attributes:
      confidence: [bins] mean probability of the cases in each bin; 0 in an empty one.
      frequency: [bins] fraction of them with a true outcome.
      fraction: [bins] fraction of all cases.
    """

    confidence: Float[Array, " bins"]
    frequency: Float[Array, " bins"]
    fraction: Float[Array, " bins"]


def reliability(
    probabilities: Float[Array, " cases"],
    outcomes: Bool[Array, " cases"],
    *,
    weights: Float[Array, " cases"] | None = None,
    bins: int = 15,
) -> Reliability:
    """Sorts cases by probability into bins of equal width over [0, 1].

    Args:
      probabilities: forecast of each case.
      outcomes: whether it came true.
      weights: of the cases; None: all weigh the same.
      bins: number of bins.

    Raises:
      ValueError: for no bins.
    """
    check_integer("reliability", "bins", bins, 1)
    bin_of = jnp.clip((probabilities * bins).astype(jnp.int32), 0, bins - 1)
    of_case = jnp.ones(probabilities.shape, jnp.float32) if weights is None else weights
    counts, sums, true = (
        jax.ops.segment_sum(values.astype(jnp.float32), bin_of, bins)
        for values in (of_case, of_case * probabilities, of_case * outcomes)
    )
    filled = jnp.where(counts > 0, counts, 1)
    return Reliability(sums / filled, true / filled, counts / jnp.sum(of_case))


def calibration_error(diagram: Reliability) -> Float[Array, ""]:
    """Expected calibration error: mean distance of frequency and confidence over all cases.

    Reference: Naeini et al. 2015, AAAI; Guo et al. 2017, arXiv:1706.04599, equation 3.
    """
    return jnp.sum(diagram.fraction * jnp.abs(diagram.frequency - diagram.confidence))


class Predictions(NamedTuple):
    """A network's predictions for the samples of a split.

    Attributes:
      labels: label with the highest probability.
      confidence: probability of that label.
      nll: negative log-likelihood of the true label, nats.
      diagram: reliability of the confidence; its outcomes are right predictions.
    """

    labels: Int[Array, " samples"]
    confidence: Float[Array, " samples"]
    nll: Float[Array, " samples"]
    diagram: Reliability


def predictions(
    scores: Float[Array, "samples classes"], labels: Int[Array, " samples"]
) -> Predictions:
    """Predictions from summed scores, whose softmax is the probability of each label.

    Args:
      scores: summed over the scored layers.
      labels: the true labels.

    >>> predicted = predictions(jnp.array([[0.0, 0.0], [0.0, 9.0]]), jnp.array([1, 1]))
    >>> predicted.labels.tolist(), predicted.confidence.round(2).tolist()
    ([0, 1], [0.5, 1.0])
    """
    log_probability = jax.nn.log_softmax(scores)
    nll = -jnp.take_along_axis(log_probability, labels[:, None], axis=-1)[:, 0]
    predicted = jnp.argmax(scores, axis=-1)
    confidence = jnp.exp(jnp.max(log_probability, axis=-1))
    return Predictions(predicted, confidence, nll, reliability(confidence, predicted == labels))


class Histograms(NamedTuple):
    """Logits of true and of wrong labels.

    Attributes:
      edges: [bins + 1], the same for both.
      right, wrong: [bins] fractions, each adding up to 1.
    """

    edges: Float[np.ndarray, " edges"]
    right: Float[np.ndarray, " bins"]
    wrong: Float[np.ndarray, " bins"]

    @property
    def overlap(self) -> float:
        """Common area of both, at most 1."""
        return float(np.minimum(self.right, self.wrong).sum())


def histograms(
    right: Float[Array, " right"], wrong: Float[Array, " wrong"], *, bins: int = 60
) -> Histograms:
    """Sorts both kinds into bins of equal width over their common range.

    Raises:
      ValueError: for no bins.
    """
    check_integer("histograms", "bins", bins, 1)
    kinds = [np.asarray(right, np.float64), np.asarray(wrong, np.float64)]
    edges = np.histogram_bin_edges(np.concatenate(kinds), bins)
    fractions = [np.histogram(kind, edges)[0] / len(kind) for kind in kinds]
    return Histograms(edges, *fractions)


def right_and_wrong(
    scores: Float[Array, "samples classes"], labels: Int[Array, " samples"]
) -> tuple[Float[Array, " samples"], Float[Array, " others"]]:
    """Logits of each sample's true label, and of all its wrong labels."""
    num_samples, classes = scores.shape
    right = jnp.take_along_axis(scores, labels[:, None], axis=1)[:, 0]
    others = (labels[:, None] + jnp.arange(1, classes)[None]) % classes
    return right, jnp.take_along_axis(scores, others, axis=1).reshape(num_samples * (classes - 1))


def agreement(scores: Float[Array, "layers samples classes"]) -> Float[Array, "layers layers"]:
    """Fraction of samples for which two layers predict the same label."""
    labels = jnp.argmax(scores, axis=-1)
    return jnp.mean(labels[:, None] == labels[None], axis=-1, dtype=jnp.float32)
