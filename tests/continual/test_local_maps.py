"""Local maps against their definition, one patch at a time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sffa_jax.continual.local_maps import (
    VARIANCE_EPS,
    box_means,
    maps,
    normalize_patches,
    spherical_kmeans,
    whitening,
)

X = jax.random.normal(jax.random.key(0), (6, 64))
KEY = jax.random.key(1)


def test_box_means_share_a_number_between_boxes():
    np.testing.assert_allclose(box_means(4, 2), [[0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5]])
    np.testing.assert_allclose(box_means(3, 2), [[2 / 3, 1 / 3, 0], [0, 1 / 3, 2 / 3]])
    with pytest.raises(ValueError, match="`parts` must be at most 3, got 4"):
        box_means(3, 4)


def test_maps_are_rectified_responses_averaged_over_areas(monkeypatch):
    monkeypatch.setattr("sffa_jax.continual.local_maps.FILTERS_AT_ONCE", 2)  # two parts, one padded
    model = maps((8, 8), 24, kernel=3, stride=2, grid=2)
    (params,), overlay = model.init(KEY, X[:1])
    params = params | {"shift": jnp.array([0.1, -0.2, 0.3])}
    (found,) = jax.jit(lambda: model.hidden((params,), overlay, X, None))()
    images = np.float64(X).reshape(-1, 8, 8)
    h = np.zeros((6, 3, 3, 3))
    for i in range(3):
        for j in range(3):
            patch = images[:, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3].reshape(6, 9)
            patch = patch - patch.mean(axis=1, keepdims=True)
            patch = patch / np.sqrt(patch.var(axis=1, keepdims=True) + VARIANCE_EPS)
            h[:, i, j] = patch @ np.float64(params["w"]) - np.float64(params["shift"])
    means = box_means(3, 2)
    sides = [
        np.einsum("gi,hj,bijf->bghf", means, means, np.maximum(side - 0.25, 0)) for side in (h, -h)
    ]
    expected = np.concatenate([side.reshape(6, -1) for side in sides], axis=1)
    np.testing.assert_allclose(found, np.sqrt(expected + 1e-12), rtol=1e-3, atol=1e-4)
    both = maps((8, 8), 24, kernel=3, stride=2, grid=2, mirrored=True)
    mirrored = X.reshape(-1, 8, 8)[:, :, ::-1].reshape(6, 64)
    (of_mirrored,), (averaged,), (again,) = (
        jax.jit(m.hidden)((params,), overlay, x, None)
        for m, x in ((model, mirrored), (both, X), (both, mirrored))
    )
    np.testing.assert_allclose(averaged, again, atol=1e-5)
    mean = (np.square(found) + np.square(of_mirrored)) / 2
    np.testing.assert_allclose(np.square(averaged), mean, atol=1e-5)


def test_patches_are_normalized_and_whitened():
    patches = normalize_patches(X.reshape(-1, 8))
    np.testing.assert_allclose(patches.mean(axis=-1), 0, atol=1e-5)
    np.testing.assert_allclose(patches.std(axis=-1), 1, atol=0.05)
    assert not normalize_patches(jnp.full((1, 4), 3.0)).any()
    mean, whiten = whitening(X[:, :3], 1e-6)
    np.testing.assert_allclose(
        np.cov((X[:, :3] - mean[None]) @ whiten, rowvar=False, bias=True), np.eye(3), atol=1e-2
    )


def test_filters_turn_to_clusters_of_either_sign():
    directions = np.eye(3, 5)
    signs = np.random.default_rng(0).choice([-1, 1], (90, 1))
    patches = signs * directions[np.arange(90) % 3] + np.random.default_rng(1).normal(
        0, 0.05, (90, 5)
    )
    begin = directions + 0.4 * np.random.default_rng(2).random((3, 5))
    filters = spherical_kmeans(jnp.asarray(begin), jnp.asarray(patches), rounds=5)
    np.testing.assert_allclose(np.abs(filters), directions, atol=0.1)


def test_learned_maps_change_and_random_maps_stay(monkeypatch):
    monkeypatch.setattr("sffa_jax.continual.local_maps.PATCHES", 500)
    model = maps((8, 8), 16, kernel=3)
    start, _ = model.init(KEY, X[:1])
    (learned,) = jax.jit(model.fit)(KEY, start, X)
    assert not np.allclose(start[0]["w"], learned["w"])
    assert maps((8, 8), 16, kernel=3, learned=False).fit is None


def test_sizes_that_do_not_fit_are_rejected():
    with pytest.raises(
        ValueError, match="`width` must be a multiple of 8 features a filter, got 20"
    ):
        maps((8, 8), 20)
    with pytest.raises(ValueError, match="`kernel` must be at most 8, got 9"):
        maps((8, 8), 16, kernel=9)
    with pytest.raises(ValueError, match=r"`x` must be images of shape \(8, 8\)"):
        maps((8, 8), 16).init(KEY, jnp.zeros((1, 9)))
