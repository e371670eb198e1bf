"""The IDX format of MNIST, Fashion-MNIST, KMNIST and EMNIST, gzipped or plain."""

import gzip
import io
import math
from pathlib import Path

import numpy as np

from sffa_jax.data.dataset import DataError
from sffa_jax.data.formats.files import find, missing
from sffa_jax.data.formats.safe_reading import read_up_to, reading

UINT8 = 0x08
LARGEST = 1 << 30
"""Maximum number of values of one file: ten times the largest published file."""


def read_idx(path: Path | str, ndim: int) -> np.ndarray:
    """Read one IDX file of unsigned bytes; detects gzip by content, not by name.

    Args:
      path: the file.
      ndim: expected number of axes: 3 for images, 1 for labels.

    Returns:
      uint8 array of `ndim` axes.

    Raises:
      DataError: if the file cannot be read, is not IDX, or has another type, rank or length.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "labels"
    >>> _ = path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 5, 0, 4]))
    >>> read_idx(str(path), 1)
    array([5, 0, 4], dtype=uint8)
    """
    with reading("read_idx", path), Path(path).open("rb") as raw:
        compressed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        if not compressed:
            return parse_idx(raw, ndim, path)
        with gzip.open(raw) as file:
            return parse_idx(file, ndim, path)


def parse_idx(file: io.BufferedIOBase, ndim: int, path: object) -> np.ndarray:
    """Return the array of an open, uncompressed IDX file.

    The format: two zero bytes, the type (8: unsigned byte), the number of axes, the size of each
    axis as a big-endian 32-bit integer, then the values row by row.

    A forged header reserves no memory: it only limits how much is read.

    Args:
      file: the file, at its first byte.
      ndim: expected number of axes.
      path: name of the file in errors.

    Raises:
      DataError: if the file is not IDX, or has another type, rank or length than expected.

    Reference: the format's description with the original MNIST files.
    """
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0":
        raise DataError(
            f"read_idx: {path} must be an IDX file (starting with two zero bytes), got "
            f"{magic.hex() or 'no bytes'}."
        )
    if magic[2] != UINT8 or magic[3] != ndim:
        raise DataError(
            f"read_idx: {path} must hold unsigned bytes (type 8) in {ndim} axes, got type "
            f"{magic[2]} in {magic[3]} axes. Are the images' and the labels' files swapped?"
        )
    header = file.read(4 * ndim)
    if len(header) < 4 * ndim:
        raise DataError(f"read_idx: {path} is truncated in its header.")
    shape = tuple(int(size) for size in np.frombuffer(header, ">u4"))
    expected = math.prod(shape)
    if expected > LARGEST:
        raise DataError(
            f"read_idx: {path} must hold at most {LARGEST} values, got a header that announces "
            f"{expected} of shape {shape}. Fetch the file again."
        )
    content = read_up_to(file, expected)
    if len(content) < expected:
        raise DataError(
            f"read_idx: {path} is truncated: its header announces {expected} values of "
            f"shape {shape}, got {len(content)}. Fetch the file again."
        )
    if file.read(1):
        raise DataError(
            f"read_idx: {path} holds more than the {expected} values of shape {shape} that "
            "its header announces. Fetch the file again."
        )
    return np.frombuffer(content, np.uint8).reshape(shape)


def read_idx_set(name: str, folder: Path) -> dict[str, np.ndarray]:
    """Read the four files of MNIST, Fashion-MNIST or KMNIST.

    Args:
      name: name of the data set in errors.
      folder: folder of the files, each gzipped or not.

    Returns:
      The arrays of a `Dataset`, by name.

    Raises:
      DataError: if a file is missing or damaged.
    """
    arrays = {}
    for split, prefix in (("train", "train"), ("test", "t10k")):
        for kind, ndim in (("images", 3), ("labels", 1)):
            stem = f"{prefix}-{kind}-idx{ndim}-ubyte"
            path = find(folder, [f"{stem}.gz", stem])
            if path is None:
                raise missing(name, folder, f"the file {stem} or {stem}.gz")
            arrays[f"{split}_{kind}"] = read_idx(path, ndim)
    return arrays
