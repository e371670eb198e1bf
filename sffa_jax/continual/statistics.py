"""Statistics of classes: counts, means, and a common scatter matrix."""

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, Int

from sffa_jax.checks import check_integer, check_range


class ClassStatistics(struct.PyTreeNode):
    """Statistics of the samples so far.

    Attributes:
      count: samples of each class.
      mean: mean of each class.
      scatter: sum over all samples of the outer square of their distance to their class's mean;
        None if not needed.
    """

    count: Float[Array, "*runs classes"]
    mean: Float[Array, "*runs classes features"]
    scatter: Float[Array, "*runs features features"] | None


def empty_statistics(classes: int, features: int, *, scatter: bool = True) -> ClassStatistics:
    """Returns the statistics of zero samples.

    Raises:
      ValueError: for no class or no feature.
    """
    check_integer("empty_statistics", "classes", classes, 1)
    check_integer("empty_statistics", "features", features, 1)
    return ClassStatistics(
        jnp.zeros(classes),
        jnp.zeros((classes, features)),
        jnp.zeros((features, features)) if scatter else None,
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
        within = (z - new_mean[class_index]) * weights[:, None]
        between = step * (old.count * new_count / jnp.maximum(count, 1))[:, None]
        scatter = scatter + within.T @ within + between.T @ step
    return ClassStatistics(count, mean, scatter)


def nearest_mean(statistics: ClassStatistics) -> tuple[Array, Array]:
    """Returns weights [features, classes] and biases [classes]; the nearest mean scores highest."""
    mean = statistics.mean
    return mean.T, -jnp.sum(jnp.square(mean), axis=-1) / 2


def discriminant(statistics: ClassStatistics, *, ridge: float | Array) -> tuple[Array, Array]:
    """Weights and biases of linear discriminant analysis with equal class priors.

    Args:
      statistics: with scatter.
      ridge: added to the covariance's diagonal, in units of its mean.

    Raises:
      ValueError: for a ridge that is not positive.
    """
    check_range("discriminant", "ridge", ridge, above=0)
    assert statistics.scatter is not None
    covariance = statistics.scatter / jnp.maximum(jnp.sum(statistics.count), 1)
    size = jnp.mean(jnp.diagonal(covariance)) + 1e-12
    covariance = covariance + ridge * size * jnp.eye(len(covariance))
    weights = jax.scipy.linalg.solve(covariance, statistics.mean.T, assume_a="pos")
    return weights, -jnp.sum(statistics.mean.T * weights, axis=0) / 2
