"""Features against their definition."""

import jax
import numpy as np

from sffa_jax.continual.features import pixels, random_features, random_fourier_features

X = jax.random.normal(jax.random.key(0), (6, 64))
KEY = jax.random.key(1)


def hidden(model):
    modules, overlay = model.init(KEY, X[:1])
    (found,) = model.hidden(modules, overlay, X, None)
    return modules[0], found


def test_pixels_and_random_features():
    np.testing.assert_array_equal(hidden(pixels())[1], X)
    params, found = hidden(random_features(5))
    np.testing.assert_allclose(found, np.maximum(X @ params["w"], 0), rtol=1e-5, atol=1e-6)


def test_products_of_fourier_features_are_the_gaussian_kernel():
    _, found = hidden(random_fourier_features(4000, length_scale=0.9))
    found = np.asarray(found)
    squares = np.sum(np.square(np.asarray(X[:, None] - X[None])), axis=-1)
    np.testing.assert_allclose(found @ found.T, np.exp(-squares / (2 * 0.81 * 64)), atol=0.08)
