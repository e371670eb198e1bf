"""The data set in memory: its checks, its statistics, the embedded digits."""

import numpy as np
import pytest

from sffa_jax import data


def test_digits_are_embedded_and_split_for_good():
    digits = data.load("digits")
    assert digits.train_images.shape[1:] == (8, 8)
    assert len(digits.train_labels) + len(digits.test_labels) == 1797
    assert digits.train_images.max() == 255
    assert np.bincount(digits.test_labels).min() >= 34
    assert digits.sha256 == data.load("digits").sha256


@pytest.mark.parametrize("shape", [(7, 4, 4), (7, 4, 4, 3)])
def test_statistics_are_exact(shape):
    images = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    mean, std = data.statistics(images)
    axes = (0, 1, 2)
    np.testing.assert_allclose(mean, (images / 255).mean(axis=axes), rtol=1e-6)
    np.testing.assert_allclose(std, (images / 255).std(axis=axes), rtol=1e-6)


@pytest.mark.parametrize("images", [np.zeros((0, 4, 4), np.uint8), np.zeros((3, 0))])
def test_there_are_no_statistics_of_nothing(images):
    with pytest.raises(ValueError, match="`images` must contain pixels or features, got shape"):
        data.statistics(images)


def test_float_images():
    np.testing.assert_array_equal(data.to_uint8(np.array([0.0, 0.5, 1.0])), [0, 128, 255])
    for bad, message in [
        ([0.0, np.nan], "must be finite, got 1 NaN"),
        ([0.0, 255.0], r"must lie in \[0, 1\], got min 0, max 255"),
        ([0, 1], "must be uint8 or float, got int64"),
    ]:
        with pytest.raises(data.DataError, match=message):
            data.to_uint8(np.array(bad))


IMAGES, LABELS = np.zeros((2, 3, 3), np.uint8), np.array([0, 1], np.int32)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train_images": IMAGES / 255}, "training images' type float32, got uint8"),
        ({"train_labels": LABELS[:1]}, "2 images and 1 labels"),
        ({"test_images": IMAGES[:0], "test_labels": LABELS[:0]}, "0 images and 0 labels"),
        ({"test_labels": LABELS - 1}, r"labels` must lie in \[0, 2\), got min -1"),
        ({"test_labels": LABELS > 0}, "labels` must be integers, got booleans"),
        ({"test_images": IMAGES[:, :2]}, r"training images' shape \(3, 3\), got \(2, 3\)"),
    ],
    ids=["float", "counts", "empty", "negative", "boolean labels", "other shape"],
)
def test_a_data_set_is_checked_when_it_is_built(changes, message):
    arrays = {
        "train_images": IMAGES,
        "train_labels": LABELS,
        "test_images": IMAGES,
        "test_labels": LABELS,
    }
    with pytest.raises(data.DataError, match=message):
        data.Dataset(name="x", class_names=("a", "b"), source="test", **(arrays | changes))
