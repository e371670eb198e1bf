"""Calibration: one temperature for the summed logits, from samples that were not trained on."""

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

MIN_SAMPLES = 10
"""Smallest number of samples to calibrate on."""

LOG_BOUND = 10.0
"""Largest absolute logarithm of a temperature."""


def hold_out(
    rng: np.random.Generator, class_index: Int[np.ndarray, " samples"], fraction: float
) -> Bool[np.ndarray, " samples"]:
    """Draw the samples to hold out: the fraction of each class, never all of a class.

    >>> hold_out(np.random.default_rng(0), np.array([0] * 20 + [1]), 0.1).sum()
    np.int64(2)
    """
    held = np.zeros(len(class_index), bool)
    for label in np.unique(class_index):
        members = np.flatnonzero(class_index == label)
        # Random rounding: small batches, too, hold out the fraction on average.
        number = min(int(fraction * len(members) + rng.random()), len(members) - 1)
        held[rng.permutation(members)[:number]] = True
    return held


def temperature(
    scores: Float[np.ndarray, "samples classes"],
    class_index: Int[np.ndarray, " samples"],
    weights: Float[np.ndarray, " samples"] | None = None,
) -> float:
    """Return the temperature that calibrates softmax(scores / temperature).

    It minimizes the cross-entropy under two weak priors, so that a few samples, all classified
    correctly, do not give a temperature of 0: its logarithm is normal around 0 with deviation 1,
    and half a sample is misclassified as its runner-up.

    Reference: Guo et al. 2017, arXiv:1706.04599; Platt 1999 smooths targets by one sample.

    >>> scores = np.array([[9.0, 0.0]] * 9 + [[0.0, 9.0]])
    >>> round(temperature(scores, np.zeros(10, int)), 1)
    3.7
    """
    samples, classes = scores.shape
    if classes < 2:
        return 1.0
    every = np.arange(samples)
    logits = scores - scores[every, class_index][:, None]
    wrong = logits.copy()
    wrong[every, class_index] = -np.inf
    runner_up = wrong.max(axis=1)
    smoothing = 0.5 / (samples + 1)

    def loss(log_temperature: float) -> float:
        factor = np.exp(-log_temperature)
        terms = logsumexp(factor * logits, axis=1) - smoothing * factor * runner_up
        prior = log_temperature**2 / (2 * samples)
        return float(np.average(terms, weights=weights)) + prior

    best = minimize_scalar(loss, bounds=(-LOG_BOUND, LOG_BOUND), method="bounded")
    return float(np.exp(best.x))
