"""EMNIST letters: IDX files with transposed images, in one zip with the other EMNIST sets."""

import gzip
import zipfile
from pathlib import Path

import numpy as np

from sffa_jax.data.dataset import DataError
from sffa_jax.data.formats.files import find, missing
from sffa_jax.data.formats.idx import parse_idx, read_idx
from sffa_jax.data.formats.safe_reading import reading

ARCHIVE = "gzip.zip"


def read_emnist_letters(name: str, folder: Path) -> dict[str, np.ndarray]:
    """Read the letters from the extracted files, gzipped or not, or from the published zip.

    The files store each image column by column and number the letters from 1. The returned images
    are upright and the labels lie in [0, 26).

    Args:
      name: name of the data set in errors.
      folder: folder of the files or of the zip.

    Returns:
      The arrays of a `Dataset`, by name.

    Raises:
      DataError: if a file is missing or damaged.

    Reference: Cohen, Afshar, Tapson, van Schaik 2017, arXiv:1702.05373.
    """
    arrays = {}
    for split in ("train", "test"):
        images = _read(name, folder, f"emnist-letters-{split}-images-idx3-ubyte", 3)
        labels = _read(name, folder, f"emnist-letters-{split}-labels-idx1-ubyte", 1)
        if labels.size and labels.min() < 1:
            raise DataError(f"load: {name}, {split}: labels must lie in [1, 26], got min 0.")
        arrays[f"{split}_images"] = np.ascontiguousarray(images.transpose(0, 2, 1))
        arrays[f"{split}_labels"] = labels - 1
    return arrays


def _read(name: str, folder: Path, stem: str, ndim: int) -> np.ndarray:
    path = find(folder, [f"{stem}.gz", stem, f"gzip/{stem}.gz", f"gzip/{stem}"])
    if path is not None:
        return read_idx(path, ndim)
    archive = find(folder, [ARCHIVE])
    if archive is None:
        raise missing(name, folder, f"the file {stem}, {stem}.gz or {ARCHIVE}")
    member = f"gzip/{stem}.gz"
    with reading("read_emnist_letters", archive), zipfile.ZipFile(archive) as files:
        try:
            raw = files.open(member)
        except KeyError:
            raise DataError(
                f"read_emnist_letters: {archive} must hold {member}, got an archive without it. "
                "Fetch the file again."
            ) from None
        with raw, gzip.open(raw) as file:
            return parse_idx(file, ndim, f"{archive}/{member}")
