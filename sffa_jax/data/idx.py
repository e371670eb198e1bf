"""The IDX format of MNIST and its relatives, gzipped or plain."""

import gzip
import math
import zlib
from pathlib import Path

import numpy as np

from sffa_jax.data.dataset import DataError

UINT8 = 0x08


def read_idx(path: Path, ndim: int) -> np.ndarray:
    """Reads one IDX file of unsigned bytes.

    Two zero bytes, the type (8: unsigned byte), the number of axes, each axis as a big-endian
    32-bit number, then the values row by row.

    Args:
      path: the file; gzip is recognised by its content, not by its name.
      ndim: axes expected: 3 for images, 1 for labels.

    Returns:
      uint8 array.

    Raises:
      DataError: if the file is not IDX, of another type or rank, or shorter or longer than its
        header says. The header is never trusted with memory: no more is read than it announces.

    Reference: the format's description with the original MNIST files.
    """
    try:
        with path.open("rb") as raw:
            zipped = raw.read(2) == b"\x1f\x8b"
        with gzip.open(path, "rb") if zipped else path.open("rb") as file:
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
            blocks, missing = [], expected
            while missing and (block := file.read(min(missing, 1 << 24))):
                blocks.append(block)
                missing -= len(block)
            if missing:
                raise DataError(
                    f"read_idx: {path} is truncated: its header announces {expected} values of "
                    f"shape {shape}, got {expected - missing}. Fetch the file again."
                )
            if file.read(1):
                raise DataError(
                    f"read_idx: {path} holds more than the {expected} values of shape {shape} that "
                    "its header announces. Fetch the file again."
                )
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(
            f"read_idx: {path} cannot be read: {error}. Fetch the file again."
        ) from None
    return np.frombuffer(b"".join(blocks), np.uint8).reshape(shape)
