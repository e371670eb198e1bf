"""IDX files: good, truncated, forged, mislabeled and missing."""

import gzip
import os

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from published_files import idx_bytes, idx_files, write_files

from sffa_jax import data
from sffa_jax.data.formats import idx

IMAGES = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)


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
        (b"\0\0\x08\x03" + b"\xff" * 12, "must hold at most 1073741824 values, got a header"),
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


def test_reading_stops_at_the_limit(tmp_path, monkeypatch):
    """A small gzip that unpacks without end stops at the limit."""
    monkeypatch.setattr(idx, "LARGEST", 20)
    path = tmp_path / "images"
    path.write_bytes(gzip.compress(idx_bytes(IMAGES)))
    with pytest.raises(data.DataError, match="at most 20 values, got a header that announces 24"):
        data.read_idx(path, 3)


def write_set(folder, train_labels=(0, 9), zipped=True):
    write_files(folder, idx_files(IMAGES, train_labels, IMAGES, (1, 2), zipped))


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "kmnist"])
def test_a_folder_of_idx_files(tmp_path, monkeypatch, name, zipped):
    write_set(tmp_path / name, zipped=zipped)
    monkeypatch.setenv("SFFA_DATA_DIR", str(tmp_path))
    dataset = data.load(name)
    np.testing.assert_array_equal(dataset.train_images, IMAGES)
    assert dataset.train_labels.tolist() == [0, 9]
    assert dataset.num_classes == 10
    # Files that are zipped anew have another checksum, too.
    expected = "" if name == "kmnist" and not zipped else " (not the published data)"
    assert dataset.source == f"IDX files, folder {name}{expected}"
    assert dataset.sha256 == data.load(name, tmp_path).sha256


@pytest.mark.parametrize("spelling", ["{0}", "{0}/{0}"])
def test_files_as_other_tools_name_them(tmp_path, spelling):
    files = idx_files(IMAGES, (0, 9), IMAGES, (1, 2), False)
    dotted = {spelling.format(k.replace("-idx", ".idx")): v for k, v in files.items()}
    write_files(tmp_path / "mnist", dotted)
    assert data.load("mnist", tmp_path).train_labels.tolist() == [0, 9]


def test_missing_and_mislabeled_files(tmp_path):
    with pytest.raises(data.DataError, match="which does not exist"):
        data.load("mnist", tmp_path)
    (tmp_path / "kmnist").mkdir()
    with pytest.raises(data.DataError, match="needs the file train-images.*which is empty"):
        data.load("kmnist", tmp_path)
    write_set(tmp_path / "mnist")
    (tmp_path / "mnist" / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(
        data.DataError,
        match=r"t10k-labels.*\.gz in .*lacks it and contains t10k-im",
    ):
        data.load("mnist", tmp_path)
    write_set(tmp_path / "mnist", train_labels=(0, 10))
    with pytest.raises(data.DataError, match=r"labels` must lie in \[0, 10\), got min 0, max 10"):
        data.load("mnist", tmp_path)
    write_set(tmp_path / "fashion_mnist", train_labels=(0, 1, 2))
    with pytest.raises(data.DataError, match="2 images and 3 labels"):
        data.load("fashion_mnist", tmp_path)


@pytest.mark.slow
def test_the_published_mnist():
    dataset = data.load("mnist", os.environ["SFFA_DATA_DIR"])
    assert dataset.train_images.shape == (60000, 28, 28)
    mean, std = data.statistics(dataset.train_images)
    assert (round(float(mean), 4), round(float(std), 4)) == (0.1307, 0.3081)
    assert dataset.source == "IDX files, folder mnist"
