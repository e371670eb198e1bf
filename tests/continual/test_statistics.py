"""Running statistics against those of all samples at once, and scikit-learn's analysis."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal
from sklearn.covariance import OAS
from sklearn.discriminant_analysis import (
    LinearDiscriminantAnalysis,
    QuadraticDiscriminantAnalysis,
)
from sklearn.neighbors import NearestCentroid

from sffa_jax.continual.statistics import (
    add_samples,
    class_covariances,
    discriminant,
    empty_statistics,
    nearest_mean,
    quadratic_discriminant,
    quadratic_scores,
)

add = jax.jit(add_samples)
RNG = np.random.default_rng(0)
PLACES = np.arange(300) % 3
Z = (RNG.normal(size=(300, 6)) @ RNG.normal(size=(6, 6)) + 4 * PLACES[:, None] + 50).astype(
    np.float32
)
NEW = (RNG.normal(size=(100, 6)) * 4 + 54).astype(np.float32)


def scores(solved):
    weights, bias = map(np.asarray, solved)
    return NEW @ weights + bias


def streamed(chunk, order=slice(None), padding=0, scatter="shared"):
    found = empty_statistics(3, 6, scatter=scatter)
    z, places = Z[order], PLACES[order]
    for start in range(0, 300, chunk):
        part, label = z[start : start + chunk], places[start : start + chunk]
        weights = np.ones(len(part), np.float32)
        if padding:
            part = np.concatenate([part, np.full((padding, 6), 1e3, np.float32)])
            label = np.concatenate([label, np.zeros(padding, int)])
            weights = np.concatenate([weights, np.zeros(padding, np.float32)])
        found = add(found, part, label, weights)
    return found


@pytest.mark.parametrize("chunk", [1, 7, 300])
@pytest.mark.parametrize("order", [slice(None), np.argsort(PLACES, kind="stable")])
def test_the_stream_is_all_samples_at_once(chunk, order):
    found = streamed(chunk, order, padding=2 * (chunk == 7))
    means = np.stack([np.float64(Z)[c == PLACES].mean(axis=0) for c in range(3)])
    within = np.float64(Z) - means[PLACES]
    assert found.count.tolist() == [100, 100, 100]
    np.testing.assert_allclose(found.mean, means, rtol=1e-5)
    np.testing.assert_allclose(found.scatter, within.T @ within, rtol=1e-3, atol=1e-1)


def test_discriminants_are_scikit_learns():
    weights, bias = discriminant(streamed(10), ridge=1e-6)
    theirs = LinearDiscriminantAnalysis(solver="lsqr", priors=[1 / 3] * 3).fit(Z, PLACES)
    ours = np.argmax(scores((weights, bias)), axis=-1)
    np.testing.assert_array_equal(ours, theirs.predict(NEW))
    mine, other = np.asarray(scores((weights, bias))), theirs.decision_function(NEW)
    np.testing.assert_allclose(np.diff(mine), np.diff(other), rtol=5e-2, atol=5e-2)


def test_the_nearest_mean_is_scikit_learns():
    weights, bias = nearest_mean(streamed(10))
    theirs = NearestCentroid().fit(Z, PLACES).predict(NEW)
    np.testing.assert_array_equal(np.argmax(scores((weights, bias)), axis=-1), theirs)


def test_a_large_ridge_makes_the_discriminant_the_nearest_mean():
    statistics = streamed(10)
    by_ridge, by_mean = discriminant(statistics, ridge=1e4), nearest_mean(statistics)
    np.testing.assert_array_equal(np.argmax(scores(by_ridge), -1), np.argmax(scores(by_mean), -1))


@pytest.mark.parametrize("chunk", [7, 300])
@pytest.mark.parametrize("order", [slice(None), np.argsort(PLACES, kind="stable")])
def test_each_class_has_its_own_scatter(chunk, order):
    found = streamed(chunk, order, padding=2 * (chunk == 7), scatter="own")
    for c in range(3):
        expected = 100 * np.cov(np.float64(Z[c == PLACES]).T, bias=True)
        np.testing.assert_allclose(found.scatter[c], expected, rtol=1e-3, atol=1e-1)


def test_quadratic_scores_are_log_densities():
    found = streamed(300, scatter="own")
    solution = quadratic_discriminant(found, shared=0.5, ridge=0.01)
    covariances = np.float64(class_covariances(found, shared=0.5, ridge=0.01))
    own = [np.cov(np.float64(Z[c == PLACES]).T, bias=True) for c in range(3)]
    shared = np.mean(own, axis=0)
    ridge = 0.01 * np.trace(shared) / 6 * np.eye(6)
    for c in range(3):
        np.testing.assert_allclose(covariances[c], (own[c] + 0.5 * shared) / 1.5 + ridge, rtol=1e-3)
    mine = np.asarray(quadratic_scores(solution, jnp.asarray(NEW)))
    theirs = np.stack(
        [
            multivariate_normal(mean, covariance).logpdf(NEW)
            for mean, covariance in zip(np.float64(found.mean), covariances, strict=True)
        ],
        axis=1,
    )
    np.testing.assert_allclose(np.diff(mine), np.diff(theirs), rtol=1e-2, atol=1e-2)


def test_quadratic_discriminants_are_scikit_learns():
    solution = quadratic_discriminant(streamed(10, scatter="own"), shared=1e-6, ridge=1e-6)
    theirs = QuadraticDiscriminantAnalysis(priors=[1 / 3] * 3).fit(Z, PLACES).predict(NEW)
    ours = np.argmax(np.asarray(quadratic_scores(solution, jnp.asarray(NEW))), axis=-1)
    np.testing.assert_array_equal(ours, theirs)


def test_shrinkage_without_a_ridge_is_scikit_learns_oas():
    means = np.stack([Z[c == PLACES].mean(axis=0) for c in range(3)])
    covariance = OAS(assume_centered=True).fit(Z - means[PLACES]).covariance_
    weights = np.linalg.solve(covariance, means.T)
    expected = NEW @ weights - (means.T * weights).sum(axis=0) / 2
    ours = scores(discriminant(streamed(10), ridge=None))
    np.testing.assert_allclose(np.diff(ours), np.diff(expected), rtol=1e-2, atol=1e-2)
