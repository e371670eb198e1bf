"""Color and size, compared with Pillow's conversion and with images made by hand."""

import numpy as np
import pytest
from PIL import Image

from sffa_jax import data

RNG = np.random.default_rng(0)
GRAY = RNG.integers(0, 256, (3, 4, 6)).astype(np.uint8)
RGB = RNG.integers(0, 256, (3, 4, 6, 3)).astype(np.uint8)


def test_gray_is_the_luma():
    by_pillow = np.stack([np.asarray(Image.fromarray(image).convert("L")) for image in RGB])
    assert np.abs(data.to_gray(RGB).astype(int) - by_pillow).max() <= 1
    np.testing.assert_array_equal(data.to_gray(np.full((1, 1, 1, 3), 255, np.uint8)), [[[255]]])
    np.testing.assert_array_equal(data.to_gray(GRAY), GRAY)
    np.testing.assert_array_equal(data.to_gray(GRAY[..., None]), GRAY)


def test_rgb_repeats_gray():
    assert data.to_rgb(GRAY).shape == (3, 4, 6, 3)
    np.testing.assert_array_equal(data.to_gray(data.to_rgb(GRAY)), GRAY)
    np.testing.assert_array_equal(data.to_rgb(RGB), RGB)


@pytest.mark.parametrize("images", [GRAY, GRAY[..., None], RGB], ids=["gray", "channel", "rgb"])
def test_resize(images):
    assert data.resize(images, 2, 5).shape == (3, 2, 5, *images.shape[3:])
    np.testing.assert_array_equal(data.resize(images, 4, 6), images)
    # One value everywhere stays that value, and halves keep their side and their mean.
    flat = np.full_like(images, 77)
    np.testing.assert_array_equal(
        data.resize(flat, 9, 3), np.full((3, 9, 3, *images.shape[3:]), 77)
    )
    halves = np.zeros_like(images)
    halves[:, :, 3:] = 200
    small = data.resize(halves, 2, 2).astype(int)
    assert (small[:, :, 0] < 60).all()
    assert (small[:, :, 1] > 140).all()
    assert abs(small.mean() - 100) < 2


def test_resize_of_nothing():
    assert data.resize(GRAY[:0], 2, 2).shape == (0, 2, 2)


@pytest.mark.parametrize(
    "call",
    [
        lambda: data.to_gray(RGB[..., :2]),
        lambda: data.to_rgb(GRAY / 255),
        lambda: data.resize(GRAY[0], 2, 2),
    ],
    ids=["two channels", "float", "one image"],
)
def test_other_images_are_rejected(call):
    with pytest.raises(data.DataError, match="must be"):
        call()


def test_a_height_of_0_is_rejected():
    with pytest.raises(ValueError, match="resize: `height` must be at least 1, got 0"):
        data.resize(GRAY, 0, 2)
