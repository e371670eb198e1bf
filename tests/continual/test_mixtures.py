"""Mixtures of Gaussians: their moments, and k-means."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from pattern_stream import KEY

from sffa_jax.continual.mixtures import draw, kmeans, solve_gaussians
from sffa_jax.continual.statistics import add_samples, empty_statistics


def test_a_mixture_has_the_mean_and_covariance_of_its_class():
    """Components explain a part of the covariance; draws have all of it."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(600, 4)) @ rng.normal(size=(4, 4)) + 6 * (np.arange(600) % 2)[:, None]
    z = jnp.asarray(z, jnp.float32)

    @partial(jax.jit, static_argnums=0)
    def counts_and_draws(rank, z):
        ones, zeros = jnp.ones(600), jnp.zeros(600, jnp.int32)
        totals = (
            add_samples(empty_statistics(2, 4, scatter="own"), z, zeros, ones),
            add_samples(empty_statistics(4, 4, scatter="none"), z, jnp.arange(600) % 2, ones),
        )
        gaussians = solve_gaussians(*totals, rank, shared=0.0, ridge=1e-6)
        return gaussians.counts, draw(gaussians, KEY, jnp.zeros(1, jnp.int32), 40_000)

    whole = np.cov(np.asarray(z).T, bias=True)
    for rank in (1, 4):
        counts, drawn = map(np.asarray, counts_and_draws(rank, z))
        assert counts.tolist() == [[300, 300], [0, 0]]
        np.testing.assert_allclose(drawn.mean(axis=0), z.mean(axis=0), atol=0.1)
        found = np.cov(drawn.T, bias=True)
        np.testing.assert_allclose(np.diagonal(found), np.diagonal(whole), rtol=0.05)
        if rank == 4:
            np.testing.assert_allclose(found, whole, atol=0.05 * whole.max())


def test_kmeans_finds_clusters_of_the_samples_that_count():
    rng = np.random.default_rng(0)
    z = np.concatenate([rng.normal(0, 0.1, (20, 2)), rng.normal(5, 0.1, (20, 2)), np.ones((9, 2))])
    weights = np.arange(49) < 40
    centers = kmeans(jax.random.key(1), jnp.asarray(z), jnp.asarray(weights, float), 2)
    expected = [z[:20].mean(axis=0), z[20:40].mean(axis=0)]
    np.testing.assert_allclose(sorted(np.asarray(centers).tolist()), expected, rtol=1e-4)
