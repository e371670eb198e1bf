"""The nearest class mean: the baseline of methods without a buffer."""

from sffa_jax.continual.readout import readout
from sffa_jax.continual.statistics import linear_scores, nearest_mean
from sffa_jax.continual.strategy import Strategy


def ncm(*, online: bool = False) -> Strategy:
    """Assigns each sample to the nearest class mean of every layer's activity, in closed form.

    Args:
      online: see `readout`.
    """
    return readout(nearest_mean, linear_scores, scatter="none", online=online)
