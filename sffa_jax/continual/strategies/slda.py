"""Streaming linear discriminant analysis of every layer's activity."""

from collections.abc import Callable
from typing import Any

from jaxtyping import Array

from sffa_jax.checks import check_range
from sffa_jax.continual.readout import readout
from sffa_jax.continual.statistics import ClassStatistics, discriminant
from sffa_jax.continual.strategy import Problem, Strategy


def slda(
    problem: Problem,
    *,
    ridge: float | Array = 1e-3,
    feature_loss: Callable[[Any, Array], Array] | None = None,
    online: bool = False,
) -> Strategy:
    """Class means and one covariance, running; the sum of the layers' discriminants decides.

    Args:
      problem: what it is used on; its model's features need no label.
      ridge: is added to the covariance's diagonal, in units of its mean.
      feature_loss, online: see `readout`.

    Raises:
      ValueError: for a ridge that is not positive, or features that learn by tasks online.

    Reference: Hayes & Kanan 2020, arXiv:1909.01520 (there on a pretrained network, and the
    covariance is shrunk by 1e-4 toward the identity).
    """
    check_range("slda", "ridge", ridge, above=0)

    def solve(statistics: ClassStatistics) -> tuple[Array, Array]:
        return discriminant(statistics, ridge=ridge)

    return readout(problem, solve, scatter=True, feature_loss=feature_loss, online=online)
