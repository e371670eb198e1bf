"""Features against their definition, one patch at a time."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from sffa_jax.continual.features import (
    VARIANCE_EPS,
    box_means,
    maps,
    pixels,
    random_features,
    random_fourier_features,
)

X = jax.random.normal(jax.random.key(0), (6, 64))
KEY = jax.random.key(1)


def hidden(model):
    modules, overlay = model.init(KEY, X[:1])
    (found,) = model.hidden(modules, overlay, X, None)
    return modules[0], found


def test_box_means_share_a_number_between_boxes():
    np.testing.assert_allclose(box_means(4, 2), [[0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5]])
    np.testing.assert_allclose(box_means(3, 2), [[2 / 3, 1 / 3, 0], [0, 1 / 3, 2 / 3]])
    with pytest.raises(ValueError, match="`parts` must be at most 3, got 4"):
        box_means(3, 4)


def test_pixels_and_random_features():
    np.testing.assert_array_equal(hidden(pixels())[1], X)
    params, found = hidden(random_features(5))
    np.testing.assert_allclose(found, np.maximum(X @ params["w"], 0), rtol=1e-5, atol=1e-6)


def test_products_of_fourier_features_are_the_gaussian_kernel():
    _, found = hidden(random_fourier_features(4000, length_scale=0.9))
    found = np.asarray(found)
    squares = np.sum(np.square(np.asarray(X[:, None] - X[None])), axis=-1)
    np.testing.assert_allclose(found @ found.T, np.exp(-squares / (2 * 0.81 * 64)), atol=0.08)


def test_a_map_is_the_cosine_of_patch_and_filter():
    model, loss = maps((8, 8), 12, kernel=3, stride=2, grid=2)
    params, found = hidden(model)
    w = np.float64(params["w"]).reshape(9, 3)
    w = w - w.mean(axis=0)
    w = w / np.sqrt((w**2).mean(axis=0))
    images = np.float64(X - X.min(axis=-1, keepdims=True)).reshape(-1, 8, 8)
    # SAME with stride 2 adds one row and column at the end.
    padded = np.pad(images, ((0, 0), (0, 1), (0, 1)))
    cosines = np.zeros((6, 4, 4, 3))
    for i in range(4):
        for j in range(4):
            patch = padded[:, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3].reshape(6, 9)
            contrast = np.sqrt(patch.var(axis=1) + VARIANCE_EPS)
            cosines[:, i, j] = patch @ w / 9 / contrast[:, None]
    pooled = np.maximum(cosines, 0).reshape(6, 2, 2, 2, 2, 3).mean(axis=(2, 4))
    np.testing.assert_allclose(found, pooled.reshape(6, -1), rtol=1e-4, atol=1e-5)
    expected = (1 - cosines.max(axis=-1)).mean(axis=(1, 2))
    np.testing.assert_allclose(loss(params, X), expected, rtol=1e-4)


def test_filters_turn_towards_the_patches():
    model, loss = maps((8, 8), 32, kernel=3, stride=1, grid=2)
    params, _ = hidden(model)

    def mean_loss(p):
        return loss(p, X).mean()

    optimizer = optax.adam(0.05)
    state, first = optimizer.init(params), float(mean_loss(params))

    @jax.jit
    def step(params, state):
        updates, state = optimizer.update(jax.grad(mean_loss)(params), state)
        return optax.apply_updates(params, updates), state

    for _ in range(50):
        params, state = step(params, state)
    assert mean_loss(params) < 0.8 * first


def test_what_cannot_be_shared_out_is_refused():
    with pytest.raises(ValueError, match="`width` must be a multiple of 16 areas, got 20"):
        maps((8, 8), 20)
    model, _ = maps((8, 8), 16)
    with pytest.raises(ValueError, match=r"`x` must be images of shape \(8, 8\)"):
        model.init(KEY, jnp.zeros((1, 9)))
