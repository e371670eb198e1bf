"""Readers on good, truncated, forged, mislabelled and missing files."""

import gzip
import os
import struct

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sffa_jax import data

IMAGES = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)


def idx_bytes(array):
    header = struct.pack(">BBBB", 0, 0, 8, array.ndim) + struct.pack(
        f">{array.ndim}I", *array.shape
    )
    return header + array.tobytes()


@given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=3, max_dims=3, min_side=0)), st.booleans())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_idx_round_trip(tmp_path, array, zipped):
    path = tmp_path / "images"
    path.write_bytes(gzip.compress(idx_bytes(array)) if zipped else idx_bytes(array))
    np.testing.assert_array_equal(data.read_idx(path, 3), array)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "must be an IDX file .* got no bytes"),
        (b"\x89PNG rest", "must be an IDX file .* got 89504e47"),
        (
            idx_bytes(IMAGES[0, 0]),
            "got type 8 in 1 axes. Are the images' and the labels'",
        ),
        (b"\0\0\x0d\x03" + b"\0" * 12, "got type 13 in 3 axes"),
        (idx_bytes(IMAGES)[:9], "truncated in its header"),
        (idx_bytes(IMAGES)[:-1], r"truncated: its header announces 24 values .* got 23"),
        (idx_bytes(IMAGES) + b"x", "holds more than the 24 values"),
        (b"\0\0\x08\x03" + b"\xff" * 12, "truncated: its header announces"),
        (gzip.compress(idx_bytes(IMAGES))[:-12], "cannot be read"),
        (b"\x1f\x8bnot gzip", "cannot be read"),
    ],
    ids=[
        *("empty", "png", "labels for images", "floats", "short header", "one byte short"),
        *("one byte over", "forged size", "torn gzip", "not gzip"),
    ],
)
def test_damaged_idx(tmp_path, content, message):
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(data.DataError, match=message):
        data.read_idx(path, 3)


def write_set(folder, train_labels=(0, 9), zipped=True):
    folder.mkdir(parents=True)
    for prefix, labels in (("train", train_labels), ("t10k", (1, 2))):
        for stem, array in (
            (f"{prefix}-images-idx3-ubyte", IMAGES),
            (f"{prefix}-labels-idx1-ubyte", np.array(labels, np.uint8)),
        ):
            content = idx_bytes(array)
            if zipped:
                (folder / f"{stem}.gz").write_bytes(gzip.compress(content))
            else:
                (folder / stem).write_bytes(content)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_folder_of_idx_files(tmp_path, monkeypatch, zipped):
    write_set(tmp_path / "mnist", zipped=zipped)
    monkeypatch.setenv("SFFA_DATA_DIR", str(tmp_path))
    dataset = data.load("mnist")
    np.testing.assert_array_equal(dataset.train_images, IMAGES)
    assert dataset.train_labels.tolist() == [0, 9]
    assert dataset.num_classes == 10
    assert dataset.sha256 == data.load("mnist", tmp_path).sha256


def test_missing_and_mislabelled_files(tmp_path, monkeypatch):
    monkeypatch.delenv("SFFA_DATA_DIR", raising=False)
    with pytest.raises(data.DataError, match="`data_dir` must name the folder .* --data-dir"):
        data.load("mnist")
    with pytest.raises(data.DataError, match="which does not exist"):
        data.load("mnist", tmp_path)
    (tmp_path / "kmnist").mkdir()
    with pytest.raises(data.DataError, match="needs the file train-images.*which is empty"):
        data.load("kmnist", tmp_path)
    write_set(tmp_path / "mnist", train_labels=(0, 10))
    with pytest.raises(data.DataError, match=r"labels must lie in \[0, 10\), got min 0, max 10"):
        data.load("mnist", tmp_path)
    write_set(tmp_path / "fashion_mnist", train_labels=(0, 1, 2))
    with pytest.raises(data.DataError, match="2 images and 3 labels"):
        data.load("fashion_mnist", tmp_path)
    with pytest.raises(data.DataError, match="`dataset` must be one of .* got 'mnsit'"):
        data.load("mnsit", tmp_path)


def test_digits_are_embedded_and_split_for_good():
    digits = data.load("digits")
    assert digits.train_images.shape[1:] == (8, 8)
    assert len(digits.train_labels) + len(digits.test_labels) == 1797
    assert digits.train_images.max() == 255
    assert np.bincount(digits.test_labels).min() >= 34
    assert digits.sha256 == data.load("digits").sha256


@given(
    hnp.arrays(np.int32, st.integers(20, 80), elements=st.integers(0, 3)),
    st.floats(0.05, 0.9),
    st.integers(0, 99),
)
def test_stratified_split(labels, fraction, seed):
    labels = np.concatenate([labels, [0, 0, 1, 1, 2, 2, 3, 3]])
    kept, held = data.stratified_split(labels, fraction, seed)
    assert sorted([*kept, *held]) == list(range(len(labels)))
    for label in range(4):
        total = (labels == label).sum()
        assert abs((labels[held] == label).sum() - fraction * total) <= 1
        assert 0 < (labels[kept] == label).sum() < total
    again = data.stratified_split(labels, fraction, seed)
    np.testing.assert_array_equal(again[1], held)


def test_split_refusals():
    with pytest.raises(data.DataError, match=r"`fraction` must lie between 0 and 1, got 1.5"):
        data.stratified_split(np.array([0, 0]), 1.5, 0)
    with pytest.raises(data.DataError, match="class 1 must have at least 2 samples, got 1"):
        data.stratified_split(np.array([0, 0, 1]), 0.5, 0)


@pytest.mark.parametrize("shape", [(7, 4, 4), (7, 4, 4, 3)])
def test_statistics_are_exact(shape):
    images = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    mean, std = data.statistics(images)
    axes = (0, 1, 2)
    np.testing.assert_allclose(mean, (images / 255).mean(axis=axes), rtol=1e-6)
    np.testing.assert_allclose(std, (images / 255).std(axis=axes), rtol=1e-6)


def test_float_images():
    np.testing.assert_array_equal(data.to_uint8(np.array([0.0, 0.5, 1.0])), [0, 128, 255])
    for bad, message in [
        ([0.0, np.nan], "must be finite, got 1 NaN"),
        ([0.0, 255.0], r"must lie in \[0, 1\], got min 0, max 255"),
        ([0, 1], "must be uint8 or float, got int64"),
    ]:
        with pytest.raises(data.DataError, match=message):
            data.to_uint8(np.array(bad))


@pytest.mark.slow
def test_the_published_mnist():
    dataset = data.load("mnist", os.environ["SFFA_DATA_DIR"])
    assert dataset.train_images.shape == (60000, 28, 28)
    mean, std = data.statistics(dataset.train_images)
    assert (round(float(mean), 4), round(float(std), 4)) == (0.1307, 0.3081)
