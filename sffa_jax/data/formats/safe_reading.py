"""Reading files that may be damaged: what is said of them, and no memory that they only claim."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from sffa_jax.data.dataset import DataError

BLOCK = 1 << 20
"""Bytes read at a time."""


@contextmanager
def reading(where: str, path: object, advice: str = "Fetch the file again.") -> Iterator[None]:
    """Turns whatever a parser raises over `path` into one DataError.

    Decompressors, archives, pickles and record files raise a dozen kinds of errors on damaged
    input, some of them undocumented; to the user each means the same.
    """
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        # MemoryError has no text: it is met where a forged size is asked for.
        reason = str(error) or type(error).__name__
        raise DataError(f"{where}: {path} cannot be read: {reason}. {advice}") from None


def read_up_to(file: io.BufferedIOBase | IO[bytes], size: int) -> bytes:
    """So many bytes, or all that there are. A plain read would reserve what a header announces."""
    blocks = []
    while size > 0 and (block := file.read(min(size, BLOCK))):
        blocks.append(block)
        size -= len(block)
    return b"".join(blocks)
