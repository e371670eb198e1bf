"""The IDX format of MNIST and its relatives, gzipped or plain."""

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
"""Most values read from one file: ten times the largest published one."""


def read_idx(path: Path, ndim: int) -> np.ndarray:
    """Reads one IDX file of unsigned bytes; gzip is recognized by its content, not by its name.

    Args:
      path: the file.
      ndim: axes expected: 3 for images, 1 for labels.

    Returns:
      uint8 array.

    Raises:
      DataError: as `parse_idx`, or if the file cannot be read.
    """
    with reading("read_idx", path), path.open("rb") as raw:
        zipped = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        if not zipped:
            return parse_idx(raw, ndim, path)
        with gzip.open(raw) as file:
            return parse_idx(file, ndim, path)


def parse_idx(file: io.BufferedIOBase, ndim: int, path: object) -> np.ndarray:
    """The array that an open, uncompressed IDX file holds.

    Two zero bytes, the type (8: unsigned byte), the number of axes, each axis as a big-endian
    32-bit number, then the values row by row.

    Args:
      file: at its first byte.
      ndim: axes expected.
      path: what an error calls the file.

    Raises:
      DataError: if the file is not IDX, of another type or rank, or shorter or longer than its
        header says. The header is never trusted with memory: no more is read than it announces,
        and no more is reserved than was read.

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
    content = read_up_to(file, min(expected, LARGEST))
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
    """Reads the four files of MNIST, Fashion-MNIST or KMNIST.

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
