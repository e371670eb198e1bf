"""Quadratic discriminant analysis of every layer's activity, from running statistics."""

from collections.abc import Callable
from functools import partial
from typing import Any

from jaxtyping import Array

from sffa_jax.checks import check_range
from sffa_jax.continual.readout import readout
from sffa_jax.continual.statistics import quadratic_discriminant, quadratic_scores
from sffa_jax.continual.strategy import Strategy


def qda(
    *,
    shared: float | Array = 0.1,
    ridge: float | Array = 1e-3,
    feature_loss: Callable[[Any, Array], Array] | None = None,
    online: bool = False,
) -> Strategy:
    """Keeps the running mean and covariance of each class, and scores by the sum of the layers'
    quadratic discriminants, in closed form.

    Args:
      shared: weight of the covariance of all classes relative to the class's own, see
        `statistics.class_covariances`.
      ridge: added to the shared covariance's diagonal, in units of its mean.
      feature_loss, online: see `readout`.

    Raises:
      ValueError: for a number that is not positive, or features that learn by tasks online.

    Reference: Friedman 1989, Regularized discriminant analysis.
    """
    check_range("qda", "shared", shared, above=0)
    check_range("qda", "ridge", ridge, above=0)
    return readout(
        partial(quadratic_discriminant, shared=shared, ridge=ridge),
        quadratic_scores,
        scatter="own",
        feature_loss=feature_loss,
        online=online,
    )
