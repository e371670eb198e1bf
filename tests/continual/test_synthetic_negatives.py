"""Synthetic negatives: what each keeps of an image, and what it changes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sffa_jax.continual.synthetic_negatives import SYNTHETIC_NEGATIVES, hybrid, noise, shuffled

KEY = jax.random.key(0)
X = jax.random.uniform(jax.random.key(1), (200, 8 * 8))


def test_noise_is_as_large_as_the_image():
    large = jnp.concatenate([X[:1].repeat(100, 0), 5 * X[:1].repeat(100, 0)])
    added = np.asarray(noise(KEY, large, (8, 8)) - large)
    size = np.sqrt(np.mean(np.square(large), axis=-1))
    for half in (slice(100), slice(100, None)):
        assert added[half].std() == pytest.approx(size[half].mean(), rel=0.05)


def test_a_hybrid_has_each_pixel_from_one_of_two_images():
    made = np.asarray(hybrid(KEY, X, (8, 8)))
    mine, other = made == np.asarray(X), made == np.roll(X, 1, axis=0)
    assert np.all(mine | other)
    assert 0.3 < mine.mean() < 0.7
    # Smooth: a pixel mostly goes with the one beside it.
    beside = mine.reshape(-1, 8, 8)
    assert (beside[:, :, 1:] == beside[:, :, :-1]).mean() > 0.75


def test_channels_of_a_pixel_stay_together():
    x = jnp.broadcast_to(X[:, :, None], (*X.shape, 3)).reshape(200, -1)
    for make in (hybrid, shuffled):
        made = make(KEY, x, (8, 8, 3)).reshape(200, 64, 3)
        np.testing.assert_array_equal(made[..., 0], made[..., 2])


def test_shuffling_moves_whole_patches():
    made = np.asarray(shuffled(KEY, X, (8, 8)))

    def patches(image):
        return image.reshape(4, 2, 4, 2).swapaxes(1, 2).reshape(16, 4)

    kept = 0
    for old, new in zip(np.asarray(X), made, strict=True):
        before = patches(old)
        for i, patch in enumerate(patches(new)):
            (place,) = np.flatnonzero((before == patch).all(axis=1))
            kept += place == i
    assert kept / (200 * 16) == pytest.approx(0.5 + 0.5 / 16, abs=0.03)


@pytest.mark.parametrize("make", SYNTHETIC_NEGATIVES.values())
def test_images_of_another_shape_are_refused(make):
    with pytest.raises(ValueError, match=r"`x` must have 30 pixels per row, got shape \(200, 64\)"):
        make(KEY, X, (5, 6))


def test_an_image_of_one_patch_cannot_be_shuffled():
    with pytest.raises(ValueError, match="have a side that 2, 3 or 4 divides, got 7 x 7"):
        shuffled(KEY, jnp.zeros((2, 49)), (7, 7))
