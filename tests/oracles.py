"""The formulas again, in NumPy float64, one sample and one unit at a time, from the papers."""

import math

import numpy as np


def sigmoid(z: float) -> float:
    return 1 / (1 + math.exp(-z))


def ffa_probability(h, threshold: float, logit_scale: float = 1.0) -> float:
    total = 0.0
    for unit in h:
        total += float(unit) ** 2
    return sigmoid(logit_scale * (total / len(h) - threshold))


def sffa_probability(h, eps: float) -> float:
    """The paper's goodness: fraction of the activity in the positive half."""
    half = len(h) // 2
    plus = sum(float(u) ** 2 for u in h[:half])
    everything = sum(float(u) ** 2 for u in h)
    return (plus + eps) / (everything + 2 * eps)


def two_pass_loss(p_positive: float, p_negative: float) -> float:
    return -(math.log(p_positive) + math.log(1 - p_negative)) / 2


def k_winners(h, k: int) -> np.ndarray:
    """Keeps all units that reach the k-th largest of their half."""
    out = np.zeros(len(h))
    half = len(h) // 2
    for start in (0, half):
        group = list(h[start : start + half])
        threshold = sorted(group, reverse=True)[k - 1]
        for i, value in enumerate(group):
            if value >= threshold:
                out[start + i] = value
    return out


def adam_first_step(gradient: np.ndarray, learning_rate: float, eps: float = 1e-8) -> np.ndarray:
    """Adam's first update: moments are the gradient and its square after bias correction."""
    return -learning_rate * gradient / (np.abs(gradient) + eps)


def measure(h, name: str) -> float:
    """Each measure of activity, from its name."""
    squares = [float(u) ** 2 for u in h]
    return {
        "sum_square": sum(squares),
        "mean_square": sum(squares) / len(h),
    }[name]


def softplus(z: float) -> float:
    return math.log(1 + math.exp(z))


def plateau_scales(losses, factor: float = 0.1) -> np.ndarray:
    """The scale of a learning rate after each loss; a loss that is no new best multiplies it."""
    best, scale, scales = math.inf, 1.0, []
    for loss in losses:
        if loss < (1 - 1e-4) * best:
            best = float(loss)
        else:
            scale *= factor
        scales.append(scale)
    return np.array(scales)
