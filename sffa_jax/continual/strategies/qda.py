"""Quadratic discriminant analysis of every layer's activity, from running statistics."""

from functools import partial

from jaxtyping import Array

from sffa_jax.checks import check_range
from sffa_jax.continual.readout import readout
from sffa_jax.continual.statistics import quadratic_discriminant, quadratic_scores
from sffa_jax.continual.strategy import Strategy


def qda(
    *,
    shared: float | Array = 0.1,
    ridge: float | Array = 1e-3,
    online: bool = False,
) -> Strategy:
    """Keeps the running mean and covariance of each class, and scores by the sum of the layers'
    quadratic discriminants, in closed form.

    Args:
      shared: weight of the covariance of all classes relative to the class's own, see
        `statistics.class_covariances`.
      ridge: added to the diagonal, in units of the shared covariance's mean diagonal.
      online: see `readout`.

    Raises:
      ValueError: for a number out of range.

    Reference: Friedman 1989, Regularized discriminant analysis.
    """
    check_range("qda", "shared", shared, at_least=0)
    check_range("qda", "ridge", ridge, above=0)
    return readout(
        partial(quadratic_discriminant, shared=shared, ridge=ridge),
        quadratic_scores,
        scatter="own",
        online=online,
    )
