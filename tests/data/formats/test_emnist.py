"""EMNIST's letters: transposed, numbered from 1, extracted or in the published zip."""

import gzip

import numpy as np
import pytest
from published_files import emnist_files, emnist_zip, idx_bytes, write_files

from sffa_jax import data

# Not square, so that a missing or doubled transposition changes the shape.
UPRIGHT = np.random.default_rng(0).integers(0, 256, (5, 4, 3)).astype(np.uint8)
FILES = emnist_files(UPRIGHT, (0, 25, 3, 3, 7), UPRIGHT[:2], (1, 2))
ZIPPED = {f"{stem}.gz": gzip.compress(content) for stem, content in FILES.items()}
LAYOUTS = {
    "extracted": FILES,
    "gzipped": ZIPPED,
    "folder of the zip": {f"gzip/{path}": content for path, content in ZIPPED.items()},
    "zip": {"gzip.zip": emnist_zip(FILES)},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_letters_stand_upright_and_count_from_zero(tmp_path, layout):
    write_files(tmp_path / "emnist_letters", LAYOUTS[layout])
    letters = data.load("emnist_letters", tmp_path)
    np.testing.assert_array_equal(letters.train_images, UPRIGHT)
    np.testing.assert_array_equal(letters.test_images, UPRIGHT[:2])
    assert letters.train_labels.tolist() == [0, 25, 3, 3, 7]
    assert letters.class_names[letters.train_labels[1]] == "z"
    assert letters.num_classes == 26


def changed(**changes):
    return FILES | {f"emnist-letters-{key.replace('_', '-')}": v for key, v in changes.items()}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "needs the file emnist-letters-train-images-idx3-ubyte.* or gzip.zip"),
        ({"gzip.zip": b"PK\x03\x04 no zip"}, "gzip.zip cannot be read"),
        ({"gzip.zip": LAYOUTS["zip"]["gzip.zip"][:-40]}, "gzip.zip cannot be read"),
        (
            {"gzip.zip": emnist_zip({"emnist-digits-train-images-idx3-ubyte": b""})},
            "must hold gzip/emnist-letters-train-images-idx3-ubyte.gz",
        ),
        (
            changed(train_labels_idx1_ubyte=idx_bytes(np.array([0, 1, 1, 1, 1], np.uint8))),
            r"labels must lie in \[1, 26\], got min 0",
        ),
        (
            changed(train_labels_idx1_ubyte=idx_bytes(np.array([1, 27, 1, 1, 1], np.uint8))),
            r"labels` must lie in \[0, 26\), got min 0, max 26",
        ),
        (
            changed(test_labels_idx1_ubyte=idx_bytes(np.array([1], np.uint8))),
            "2 images and 1 labels",
        ),
    ],
    ids=["empty", "no zip", "torn zip", "other zip", "label 0", "label 27", "counts differ"],
)
def test_refused(tmp_path, files, message):
    (tmp_path / "emnist_letters").mkdir()
    write_files(tmp_path / "emnist_letters", files)
    with pytest.raises(data.DataError, match=message):
        data.load("emnist_letters", tmp_path)
