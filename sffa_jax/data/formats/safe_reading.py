"""Read files that may be damaged: one kind of error, and no memory reserved by a forged size."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from sffa_jax.data.dataset import DataError

BLOCK = 1 << 20
"""Number of bytes read at once."""


@contextmanager
def reading(where: str, path: object, advice: str = "Fetch the file again.") -> Iterator[None]:
    """Convert any exception raised while reading `path` into a DataError.

    Decompressors, archives, pickles and record files raise a dozen kinds of errors on damaged
    input, some of them undocumented; to the user they mean the same.
    """
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        # MemoryError, raised for a forged size, has no text.
        reason = str(error) or type(error).__name__
        raise DataError(f"{where}: {path} cannot be read: {reason}. {advice}") from None


def read_up_to(file: io.BufferedIOBase | IO[bytes], size: int) -> bytearray:
    """Return `size` bytes, or all if there are fewer.

    `file.read(size)` would reserve all of `size`, which may come from a forged header; joining
    blocks would hold the content twice.
    """
    content = bytearray()
    while len(content) < size and (block := file.read(min(size - len(content), BLOCK))):
        content += block
    return content
