"""Separability against scikit-learn and closed forms."""

import jax.numpy as jnp
import numpy as np
from sklearn.datasets import make_blobs
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics import silhouette_score

from sffa_jax.analysis import separability


def test_fisher_ratio_by_hand():
    h = jnp.array([[0.0], [2.0], [10.0], [12.0]])
    # Between: four times 5^2. Within: four times 1.
    np.testing.assert_allclose(separability.fisher_ratio(h, jnp.array([0, 0, 1, 1]), 2), 25)


def test_fisher_ratio_against_the_covariances():
    h, labels = make_blobs(300, 5, centers=3, random_state=0)
    model = LinearDiscriminantAnalysis(store_covariance=True).fit(h, labels)
    within = 300 * np.trace(model.covariance_)
    total = 300 * np.trace(np.cov(h.T, bias=True))
    found = separability.fisher_ratio(jnp.asarray(h, jnp.float32), jnp.asarray(labels), 3)
    np.testing.assert_allclose(found, (total - within) / within, rtol=1e-4)


def test_silhouette_of_samples_in_order_of_their_class():
    """The first samples have one class, of which scikit-learn has no silhouette."""
    h, labels = make_blobs(600, 5, centers=4, cluster_std=3.0, random_state=1)
    order = np.argsort(labels, kind="stable")
    found = separability.silhouette(separability.Labeled(h[order], labels[order]), at_most=150)
    assert abs(found - silhouette_score(h, labels)) < 0.03


def test_probes_rise_with_distance():
    found = []
    for spread in (8.0, 1.0):
        h, labels = make_blobs(400, 5, centers=4, cluster_std=spread, random_state=1)
        train = separability.Labeled(h[:300], labels[:300])
        test = separability.Labeled(h[300:], labels[300:])
        found.append(
            (
                separability.silhouette(train, at_most=200),
                separability.linear_probe(train, test),
                separability.nearest_neighbors(train, test),
            )
        )
    for far, near in zip(*found, strict=True):
        assert far < near
    assert min(found[1][1:]) > 0.95
