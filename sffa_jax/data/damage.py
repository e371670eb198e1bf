"""What a reader says of a file that it cannot read."""

from collections.abc import Iterator
from contextlib import contextmanager

from sffa_jax.data.dataset import DataError


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
