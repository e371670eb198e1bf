"""Mixtures of Gaussians of each class: their statistics in, draws out.

The components of a class differ in their means and share one covariance.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from sffa_jax.continual.statistics import ClassStatistics, class_covariances

ROUNDS = 15
"""Rounds of k-means."""


class Gaussians(NamedTuple):
    """Gaussians of one layer's input: mean + factor @ e + spread * f, with e and f standard normal.

    Attributes:
      counts: samples of each component of each class; all 0: the class is unknown.
      mean: mean of each component.
      factor: leading axes of the class's covariance around its components, times their standard
        deviations.
      spread: standard deviation of each input that the axes leave out.
    """

    counts: Float[Array, "*runs classes components"]
    mean: Float[Array, "*runs classes components inputs"]
    factor: Float[Array, "*runs classes inputs rank"]
    spread: Float[Array, "*runs classes inputs"]


def solve_gaussians(
    statistics: ClassStatistics,
    components: ClassStatistics,
    rank: int,
    *,
    shared: float | Array,
    ridge: float = 1e-3,
) -> Gaussians:
    """Computes each class's Gaussians; see `statistics.class_covariances`.

    Args:
      statistics: of the classes, each with its own scatter.
      components: counts and means of the components, those of a class one after another.
      rank: leading axes of each class.
      shared, ridge: see `statistics.class_covariances`.
    """
    classes, inputs = statistics.mean.shape
    counts = components.count.reshape(classes, -1)
    means = components.mean.reshape(classes, -1, inputs)
    moved = (means - statistics.mean[:, None]) * jnp.sqrt(counts)[..., None]
    assert statistics.scatter is not None
    # What the components' means explain is no longer scatter.
    within = statistics.scatter - jnp.einsum("cki,ckj->cij", moved, moved)
    covariances = class_covariances(statistics.replace(scatter=within), shared=shared, ridge=ridge)

    def of_known(covariance: Array) -> tuple[Array, Array]:
        variances, axes = jnp.linalg.eigh(covariance)
        factor = axes[:, -rank:] * jnp.sqrt(jnp.maximum(variances[-rank:], 0))[None]
        rest = jnp.diagonal(covariance) - jnp.sum(jnp.square(factor), axis=-1)
        return factor, jnp.sqrt(jnp.maximum(rest, 0))

    def of_class(arguments: tuple[Array, Array]) -> tuple[Array, Array]:
        count, covariance = arguments
        empty = jnp.zeros((inputs, rank)), jnp.zeros(inputs)
        # The axes of many inputs take seconds: only those of classes with samples are computed.
        return jax.lax.cond(count > 0, of_known, lambda _: empty, covariance)

    return Gaussians(counts, means, *jax.lax.map(of_class, (statistics.count, covariances)))


def draw(
    gaussians: Gaussians, key: Array, classes: Int[Array, " slots"], size: int
) -> Float[Array, "slots_times_size inputs"]:
    """Draws `size` inputs of a layer for each of some classes."""
    key_component, key_factor, key_spread = jax.random.split(key, 3)
    rank, inputs = gaussians.factor.shape[-1], gaussians.mean.shape[-1]

    def of_class(arguments: tuple[Array, Array, Array, Array]) -> Array:
        c, component, inside, outside = arguments
        moved = inside @ gaussians.factor[c].T + outside * gaussians.spread[c][None]
        return gaussians.mean[c][component] + moved

    slots = len(classes)
    log_counts = jnp.log(gaussians.counts[classes] + 1e-9)[:, None]
    component = jax.random.categorical(key_component, log_counts, shape=(slots, size))
    inside = jax.random.normal(key_factor, (slots, size, rank))
    outside = jax.random.normal(key_spread, (slots, size, inputs))
    return jax.lax.map(of_class, (classes, component, inside, outside)).reshape(-1, inputs)


def kmeans(
    key: Array, z: Float[Array, "samples inputs"], weights: Float[Array, " samples"], number: int
) -> Float[Array, "number inputs"]:
    """K-means centers of the samples with weight 1, started at random ones (Lloyd's algorithm)."""
    order = jnp.argsort(jnp.where(weights > 0, jax.random.uniform(key, weights.shape), 2.0))

    def one_round(_: Array | int, centers: Array) -> Array:
        member = jax.nn.one_hot(nearest(centers, z), number) * weights[:, None]
        count = jnp.sum(member, axis=0)[:, None]
        return jnp.where(count > 0, member.T @ z / jnp.maximum(count, 1), centers)

    return jax.lax.fori_loop(0, ROUNDS, one_round, z[order[:number]])


def class_centers(
    key: Array,
    z: Float[Array, "samples inputs"],
    class_index: Int[Array, " samples"],
    like: Float[Array, "classes components inputs"],
) -> Float[Array, "all_components inputs"]:
    """Centers of each class's components; those of a class without samples have no meaning."""
    classes, components, inputs = like.shape

    def of_class(c: Array) -> Array:
        member = (class_index == c).astype(z.dtype)
        return jax.lax.cond(
            jnp.any(member > 0),
            lambda: kmeans(jax.random.fold_in(key, c), z, member, components),
            lambda: jnp.zeros((components, inputs)),
        )

    return jax.lax.map(of_class, jnp.arange(classes)).reshape(-1, inputs)


def nearest(
    centers: Float[Array, "number inputs"],
    z: Float[Array, "samples inputs"],
    allowed: Bool[Array, "samples number"] | None = None,
) -> Int[Array, " samples"]:
    """Index of the nearest center of each sample, among the allowed ones."""
    distance = jnp.sum(jnp.square(centers), axis=-1)[None] - 2 * z @ centers.T
    return jnp.argmin(distance if allowed is None else jnp.where(allowed, distance, jnp.inf), -1)
