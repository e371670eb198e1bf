"""Images and labels from whatever users hold: converted, or refused in one sentence."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy import sparse
from unchecked import no_shape_checks

from sffa_jax.data import DataError, Dataset, statistics, stratified_split, to_images, to_labels
from sffa_jax.data.arrays import to_array

PIXELS = np.random.default_rng(0).integers(0, 256, (3, 4, 5)).astype(np.uint8)
PICTURES = [Image.fromarray(image) for image in PIXELS]


class Tensor:
    """A PyTorch tensor as far as the library touches one: on a device, with a gradient."""

    def __init__(self, array, dtype="torch.uint8"):
        self.array, self.dtype = array, dtype

    def detach(self):
        return self

    cpu = detach

    def float(self):
        return Tensor(self.array.astype(np.float32), "torch.float32")

    def numpy(self):
        assert self.dtype != "torch.bfloat16"
        return self.array

    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("requires grad")


@pytest.mark.parametrize(
    "images",
    [
        PIXELS,
        PIXELS.astype(">i2"),
        PIXELS.astype(object),
        jnp.asarray(PIXELS),
        Tensor(PIXELS),
        PIXELS.tolist(),
        list(PIXELS),
        [Tensor(image) for image in PIXELS],
        PICTURES,
        pd.Series(PICTURES),
        np.ma.array(PIXELS),
    ],
    ids=[
        *("uint8", "big-endian", "object", "jax", "torch", "lists", "arrays", "tensors", "PIL"),
        *("series of PIL", "nothing masked"),
    ],
)
def test_pixels(images):
    converted = to_images(images)
    assert converted.dtype == np.uint8
    np.testing.assert_array_equal(converted, PIXELS)


@pytest.mark.parametrize(
    "images",
    [
        (PIXELS / 255).astype(">f8"),
        (PIXELS / 255).astype(np.float16),
        jnp.asarray(PIXELS / 255, jnp.bfloat16),
        Tensor(PIXELS / 255, "torch.bfloat16"),
        (PIXELS / 255).tolist(),
    ],
    ids=["big-endian", "float16", "bfloat16", "torch bfloat16", "lists"],
)
def test_floats_stay_numbers_of_their_scale(images):
    converted = to_images(images)
    assert converted.dtype == np.float32
    np.testing.assert_allclose(converted, PIXELS / 255, atol=2e-3)


def test_rows_single_pictures_booleans_and_files(tmp_path):
    table = pd.DataFrame(PIXELS.reshape(3, -1))
    np.testing.assert_array_equal(to_images(table), PIXELS.reshape(3, -1))
    assert to_images(PICTURES[0]).shape == (1, 4, 5)
    assert to_images([PICTURES[0].convert("RGB")]).shape == (1, 4, 5, 3)
    np.testing.assert_array_equal(to_images(np.eye(2, dtype=bool)), 255 * np.eye(2))
    np.save(tmp_path / "images.npy", PIXELS)
    np.testing.assert_array_equal(to_images(np.load(tmp_path / "images.npy", "r")), PIXELS)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((2, 3, 32, 32)), r"must have the channels last, got shape \(2, 3, 32, 32\)"),
        (np.zeros((2, 1, 28, 28)), r"images\.transpose\(0, 2, 3, 1\)"),
        (np.full((1, 2, 2), np.nan), "must be finite, got 4 NaN or infinite values"),
        (np.full((1, 2, 2), 1e300), "must be finite, got 4"),
        (np.full((1, 2, 2), 256), r"must lie in \[0, 255\] if they are integers, got min 256"),
        (np.zeros(4), r"must have shape \(samples, .* Add an axis to a single image"),
        (np.zeros((1, 2, 2), complex), "must be numbers, got complex128"),
        (np.ma.array(PIXELS, mask=PIXELS > 250), "must contain no masked values, got"),
        ([PIXELS[0], PIXELS[1, :2]], r"elements of one shape, got shapes \(2, 5\) and \(4, 5\)"),
        ([PICTURES[0].convert("RGBA")], r"a PIL image of mode 'RGBA'. Call `image.convert"),
        ([PICTURES[0].convert("P")], "mode 'P'"),
        # `convert` would clip them.
        ([PICTURES[0].convert("I")], "mode 'I'. Scale its pixels to 8 bits first"),
        ({"image": PIXELS}, r"got dict. Select one column, for example `rows\['image'\]`"),
        ([{"image": PICTURES[0]}], "Select one column"),
        ("image.png", "got str. Read the file first"),
        (["a.png", "b.png"], "must be numbers, got <U5. Decode the images"),
        (iter(PIXELS), "Collect the values in a list or an array first"),
        (sparse.eye(3), r"Call `.toarray\(\)` first"),
        (None, "got NoneType"),
    ],
)
def test_other_images_are_refused_in_one_sentence(images, message):
    with pytest.raises((TypeError, ValueError), match=f"^f: `images` .*{message}"):
        to_images(images, where="f")


@pytest.mark.parametrize(
    "labels",
    [
        [2, 0],
        (2.0, 0.0),
        np.array([2, 0], ">u8"),
        np.array([2, 0], object),
        jnp.array([2, 0]),
        Tensor(np.array([2, 0]), "torch.int64"),
        [Tensor(np.array(2), "torch.int64"), Tensor(np.array(0), "torch.int64")],
        pd.Series([2, 0], dtype="category"),
        pd.Series([2, 0], dtype="Int64"),
    ],
    ids=["list", "floats", "unsigned", "object", "jax", "torch", "tensors", "category", "Int64"],
)
def test_labels(labels):
    converted = to_labels(labels, 3)
    assert converted.dtype == np.int32
    assert converted.tolist() == [2, 0]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([[0], [1]], r"\(samples,\), got a column of shape \(2, 1\). Use `numpy.ravel"),
        (pd.DataFrame({"y": [0, 1]}), "got a column"),
        (np.eye(2), r"got one-hot rows of shape \(2, 2\). Use `numpy.argmax"),
        (np.zeros((2, 2)), r"got shape \(2, 2\)"),
        ([0.0, np.nan], "be whole numbers, got 1 NaN or infinite values"),
        (pd.Series([0, pd.NA], dtype="Int64"), "got 1 NaN|missing values"),
        ([0, None], "Fill or drop missing values"),
        (np.array(["a", np.nan], object), "have no missing value, got 1 NaN"),
        ([0.5, 1.0], "be whole numbers, got 0.5"),
        ([True, False], "be integers, got booleans"),
        (["a", "b"], "got text. `np.unique.* `sffa_jax.sklearn` accepts any labels"),
        (pd.Series(["a", "b"], dtype="category"), "got text"),
        (np.ma.array([0, 1], mask=[0, 1]), "contain no masked values, got 1"),
        ([-1, 1], r"lie in \[0, 2\), got min -1, max 1. `np.unique"),
        (np.array([0, 255], np.uint8), "got min 0, max 255. Relabel the data, or use 256 classes"),
        (np.array([2**40]), r"got min 1099511627776, max 1099511627776. `np.unique"),
        ([1e300], "lie in .* got min 1e.300"),
        (3, "got int"),
    ],
)
def test_other_labels_are_refused_in_one_sentence(labels, message):
    with pytest.raises((TypeError, ValueError), match=f"^f: `labels` must .*{message}"):
        to_labels(labels, 2, where="f")


def test_values_must_be_known():
    with pytest.raises(TypeError, match=r"got a tracer. Call this function outside of `jax.jit`"):
        jax.eval_shape(to_array, jnp.arange(3))


def test_data_sets_splits_and_statistics_take_the_same():
    labels = [0.0, 1.0, 0.0]
    with no_shape_checks():  # its attributes are arrays, its arguments need not be
        dataset = Dataset("mine", PICTURES, labels, PIXELS.tolist(), labels, ("a", "b"), "test")
    np.testing.assert_array_equal(dataset.train_images, dataset.test_images)
    assert dataset.train_labels.dtype == np.int32
    with pytest.raises(DataError, match="Dataset mine, train: `labels` must .* got a column"):
        Dataset("mine", PIXELS, np.zeros((3, 1)), PIXELS, np.zeros(3), ("a", "b"), "test")
    assert [len(part) for part in stratified_split(["a", "b"] * 2, 0.5, seed=0)] == [2, 2]
    for images in (PICTURES, PIXELS / 255):
        mean, std = statistics(images)
        assert mean == pytest.approx((PIXELS / 255).mean(), rel=1e-6)
        assert std == pytest.approx((PIXELS / 255).std(), rel=1e-6)
