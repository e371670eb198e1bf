"""The nearest class mean: the least that any method without a memory has to beat."""

from sffa_jax.continual.readout import readout
from sffa_jax.continual.statistics import nearest_mean
from sffa_jax.continual.strategy import Problem, Strategy


def ncm(problem: Problem, *, online: bool = False) -> Strategy:
    """The nearest class mean of every layer's activity; `online` as in `readout`."""
    return readout(problem, nearest_mean, scatter=False, online=online)
