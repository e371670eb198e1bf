"""Statistics of classes (counts, means, scatter matrices), and classifiers from them."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, Int

from sffa_jax.checks import check_choice, check_integer, check_range

SCATTERS = ("none", "shared", "own")
"""Scatter matrices: none, one of all classes, or one of each class."""


class ClassStatistics(struct.PyTreeNode):
    """Statistics of the samples so far.

    Attributes:
      count: samples of each class.
      mean: mean of each class.
      scatter: sum of the outer square of the samples' distance to their class's mean: over all
        samples ("shared"), over each class's ("own", with a leading axis of classes), or None.
    """

    count: Float[Array, "*runs classes"]
    mean: Float[Array, "*runs classes features"]
    scatter: Float[Array, "*runs_or_classes features features"] | None


def empty_statistics(classes: int, features: int, *, scatter: str = "shared") -> ClassStatistics:
    """Returns the statistics of zero samples.

    Args:
      classes, features: number of each.
      scatter: one of `SCATTERS`.

    Raises:
      ValueError: for no class, no feature or an unknown scatter.
    """
    check_choice("empty_statistics", "scatter", scatter, SCATTERS)
    check_integer("empty_statistics", "classes", classes, 1)
    check_integer("empty_statistics", "features", features, 1)
    leading = {"none": None, "shared": (), "own": (classes,)}[scatter]
    return ClassStatistics(
        jnp.zeros(classes),
        jnp.zeros((classes, features)),
        None if leading is None else jnp.zeros((*leading, features, features)),
    )


def add_samples(
    statistics: ClassStatistics,
    z: Float[Array, "batch features"],
    class_index: Int[Array, " batch"],
    weights: Float[Array, " batch"],
) -> ClassStatistics:
    """Adds samples to the statistics; one at a time or many at once, the result is the same.

    Args:
      statistics: statistics so far.
      z: features of each sample.
      class_index: class of each sample.
      weights: 0 excludes a sample, 1 includes it.

    Reference: Chan, Golub & LeVeque 1983 (merging of moments); streaming LDA: Hayes & Kanan 2020,
    arXiv:1909.01520, which uses the distance to the mean before and after each sample.
    """
    old = statistics
    member = jax.nn.one_hot(class_index, old.count.shape[-1]) * weights[:, None]
    new_count = jnp.sum(member, axis=0)
    new_mean = (member.T @ z) / jnp.maximum(new_count, 1)[:, None]
    count = old.count + new_count
    step = new_mean - old.mean
    mean = old.mean + step * (new_count / jnp.maximum(count, 1))[:, None]
    scatter = old.scatter
    if scatter is not None:
        within = (z - new_mean[class_index]) * jnp.sqrt(weights)[:, None]
        moved = step * jnp.sqrt(old.count * new_count / jnp.maximum(count, 1))[:, None]
        if scatter.ndim == 2:
            scatter = scatter + within.T @ within + moved.T @ moved
        else:
            scatter = _add_own(scatter, within, moved, member)
    return ClassStatistics(count, mean, scatter)


def _add_own(
    scatter: Float[Array, "classes features features"],
    within: Float[Array, "batch features"],
    moved: Float[Array, "classes features"],
    member: Float[Array, "batch classes"],
) -> Float[Array, "classes features features"]:
    """Adds to each class's scatter matrix; a class without new samples costs nothing."""

    def add(arguments: tuple[Array, Array, Array]) -> Array:
        old, step, is_member = arguments
        rows = jnp.concatenate([within * (is_member > 0)[:, None], step[None]])
        return jax.lax.cond(jnp.any(is_member > 0), lambda: old + rows.T @ rows, lambda: old)

    return jax.lax.map(add, (scatter, moved, member.T))


def nearest_mean(statistics: ClassStatistics) -> tuple[Array, Array]:
    """Returns weights [features, classes] and biases [classes]; the nearest mean scores highest."""
    mean = statistics.mean
    return mean.T, -jnp.sum(jnp.square(mean), axis=-1) / 2


def discriminant(
    statistics: ClassStatistics, *, ridge: float | Array | None
) -> tuple[Array, Array]:
    """Weights and biases of linear discriminant analysis with equal class priors.

    Args:
      statistics: with a shared scatter.
      ridge: added to the covariance's diagonal, in units of its mean; None: the covariance is the
        oracle approximating shrinkage (OAS) estimate.

    Raises:
      ValueError: for a ridge that is not positive.
    """
    assert statistics.scatter is not None
    number = jnp.sum(statistics.count)
    covariance = statistics.scatter / jnp.maximum(number, 1)
    if ridge is None:
        covariance = _oas(covariance, number)
        # Before the first sample, the covariance is zero.
        covariance = jnp.where(number > 0, covariance, jnp.eye(len(covariance)))
    else:
        check_range("discriminant", "ridge", ridge, above=0)
        size = jnp.mean(jnp.diagonal(covariance)) + 1e-12
        covariance = covariance + ridge * size * jnp.eye(len(covariance))
    weights = jax.scipy.linalg.solve(covariance, statistics.mean.T, assume_a="pos")
    return weights, -jnp.sum(statistics.mean.T * weights, axis=0) / 2


def linear_scores(
    solution: tuple[Array, Array], z: Float[Array, "batch features"]
) -> Float[Array, "batch classes"]:
    """Scores from the weights and biases of `nearest_mean` or `discriminant`."""
    weights, bias = solution
    return z @ weights + bias[None]


def _oas(
    covariance: Float[Array, "features features"], number: float | Array
) -> Float[Array, "features features"]:
    """Oracle approximating shrinkage (OAS) of the covariance of `number` samples.

    Reference: Chen, Wiesel, Eldar & Hero 2010, arXiv:0907.4698, as in scikit-learn's `OAS`.
    """
    features = len(covariance)
    size = jnp.mean(jnp.diagonal(covariance))
    spread = jnp.mean(jnp.square(covariance))
    above = (number + 1) * (spread - jnp.square(size) / features)
    amount = jnp.minimum((spread + jnp.square(size)) / jnp.maximum(above, 1e-30), 1)
    return (1 - amount) * covariance + amount * size * jnp.eye(features)


def class_covariances(
    statistics: ClassStatistics, *, shared: float | Array, ridge: float | Array
) -> Float[Array, "classes features features"]:
    """Covariance of each class, shrunk toward the covariance of all classes.

    Args:
      statistics: with a scatter matrix of each class.
      shared: weight s of the shared covariance, (own + s shared) / (1 + s).
      ridge: added to the diagonal, in units of the shared covariance's mean diagonal.

    Raises:
      ValueError: for a number out of range.
    """
    check_range("class_covariances", "shared", shared, at_least=0)
    check_range("class_covariances", "ridge", ridge, above=0)
    assert statistics.scatter is not None
    total = jnp.sum(statistics.scatter, axis=0) / jnp.maximum(jnp.sum(statistics.count), 1)
    own = statistics.scatter / jnp.maximum(statistics.count, 1)[:, None, None]
    size = jnp.mean(jnp.diagonal(total)) + 1e-12
    shrunk = (own + shared * total[None]) / (1 + shared)
    return shrunk + ridge * size * jnp.eye(len(total))[None]


class QuadraticDiscriminant(NamedTuple):
    """Quadratic scores: bias - |z whiten - center|^2 / 2 for each class.

    Attributes:
      whiten: transposed inverse Cholesky factor of each class's covariance.
      center: whitened mean.
      bias: minus half the logarithm of the determinant.
    """

    whiten: Float[Array, "*runs classes features features"]
    center: Float[Array, "*runs classes features"]
    bias: Float[Array, "*runs classes"]


def quadratic_discriminant(
    statistics: ClassStatistics, *, shared: float | Array, ridge: float | Array
) -> QuadraticDiscriminant:
    """Quadratic discriminant analysis with equal class priors; see `class_covariances`.

    Reference: Friedman 1989, Regularized discriminant analysis (there the samples of both
    covariances are pooled).
    """

    def of_class(arguments: tuple[Array, Array]) -> tuple[Array, Array, Array]:
        covariance, mean = arguments
        lower = jnp.linalg.cholesky(covariance)
        identity = jnp.eye(len(mean))
        whiten = jax.scipy.linalg.solve_triangular(lower, identity, lower=True).T
        return whiten, mean @ whiten, -jnp.sum(jnp.log(jnp.diagonal(lower)))

    # Before the first sample, all covariances are about zero; any finite scores will do.
    covariances = class_covariances(statistics, shared=shared, ridge=ridge)
    return QuadraticDiscriminant(*jax.lax.map(of_class, (covariances, statistics.mean)))


def quadratic_scores(
    solution: QuadraticDiscriminant, z: Float[Array, "batch features"]
) -> Float[Array, "batch classes"]:
    """Scores each sample: its log-density under each class's Gaussian, but for a constant."""

    def of_class(arguments: tuple[Array, Array, Array]) -> Array:
        whiten, center, bias = arguments
        return bias - jnp.sum(jnp.square(z @ whiten - center[None]), axis=-1) / 2

    return jax.lax.map(of_class, (solution.whiten, solution.center, solution.bias)).T
