"""Read CIFAR's Python batches without running the code in a pickle.

A pickle is a program: loading it calls any function that it names. The published batches need two
NumPy constructors and plain containers. This reader accepts only those, and replaces the two
constructors by classes that store their arguments until these are checked. It derives from Python's
pure-Python unpickler, whose memo is a dictionary: a forged size reserves no memory.
"""

import io
import pickle
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from sffa_jax.data.dataset import DataError


class _Dtype:
    """Replacement for `numpy.dtype`: keeps the type code and ignores the pickled state."""

    def __init__(self, code: object, *_: object) -> None:
        self.is_bytes = code in ("u1", b"u1")

    def __setstate__(self, state: object) -> None:
        """Ignore byte order and alignment, which bytes do not have."""


class _Array:
    """Replacement for `numpy.ndarray`: checks the pickled state before it is used."""

    values: np.ndarray | None = None

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, column_major, content = state
        content = content.encode("latin1") if isinstance(content, str) else content
        sizes_fit = (
            isinstance(content, bytes) and len(shape) == 2 and shape[0] * shape[1] == len(content)
        )
        if not (isinstance(dtype, _Dtype) and dtype.is_bytes and sizes_fit):
            raise pickle.UnpicklingError("an array that is no matrix of bytes")
        values = np.frombuffer(content, np.uint8)
        self.values = values.reshape(shape, order="F" if column_major else "C")


def _reconstruct(*_: object) -> _Array:
    """Replacement for NumPy's function of that name, which reserves any requested memory."""
    return _Array()


def _encode(text: object, encoding: object = None) -> bytes:
    """Replacement for `_codecs.encode`, with which Python 3 stores bytes in old protocols."""
    if not isinstance(text, str) or encoding != "latin1":
        raise pickle.UnpicklingError("bytes are encoded in an unknown way")
    return text.encode("latin1")


class _Fields(dict[Any, Any]):
    """A dictionary of named fields; rejects other keys before they are hashed."""

    def __setitem__(self, key: object, value: object) -> None:
        if not isinstance(key, bytes | str):
            raise pickle.UnpicklingError("a dictionary's key is not a name")
        super().__setitem__(key.decode("latin1") if isinstance(key, bytes) else key, value)


ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("_codecs", "encode"): _encode,
}
"""The names that a batch may use, and their replacements."""

OPCODES = (
    *(pickle.PROTO, pickle.FRAME, pickle.STOP, pickle.MARK, pickle.GLOBAL, pickle.STACK_GLOBAL),
    *(pickle.REDUCE, pickle.BUILD, pickle.NONE, pickle.NEWTRUE, pickle.NEWFALSE),
    *(pickle.BININT, pickle.BININT1, pickle.BININT2, pickle.LONG1),
    *(pickle.SHORT_BINSTRING, pickle.BINSTRING),
    *(pickle.BINUNICODE, pickle.SHORT_BINUNICODE, pickle.SHORT_BINBYTES, pickle.BINBYTES),
    *(pickle.EMPTY_LIST, pickle.APPEND, pickle.APPENDS),
    *(pickle.EMPTY_DICT, pickle.SETITEM, pickle.SETITEMS),
    *(pickle.EMPTY_TUPLE, pickle.TUPLE, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3),
    *(pickle.BINPUT, pickle.LONG_BINPUT, pickle.BINGET, pickle.LONG_BINGET, pickle.MEMOIZE),
)
"""The instructions in a pickle of arrays, numbers, strings, lists, tuples and dictionaries."""


class _Batch(pickle._Unpickler):
    """Python's unpickler, restricted to `OPCODES` and `ALLOWED`."""

    stack: list[Any]
    dispatch: ClassVar[dict[int, Callable[..., None]]] = {
        code[0]: pickle._Unpickler.dispatch[code[0]] for code in OPCODES
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f"one that asks for {module}.{name}")
        return ALLOWED[module, name]

    def _load_fields(self) -> None:
        self.stack.append(_Fields())

    def _load_state(self) -> None:
        state = self.stack.pop()
        if not isinstance(self.stack[-1], _Array | _Dtype):
            raise pickle.UnpicklingError("state is given to something other than an array")
        self.stack[-1].__setstate__(state)

    dispatch[pickle.EMPTY_DICT[0]] = _load_fields
    dispatch[pickle.BUILD[0]] = _load_state


def parse_python_batch(content: bytes | bytearray, path: object) -> tuple[np.ndarray, list[int]]:
    """Return the rows of pixels and the labels of one `data_batch_N` of the Python version.

    Args:
      content: bytes of the file.
      path: name of the file in errors.

    Returns:
      [samples, values] uint8, and one label per sample.

    Raises:
      DataError: if the pickle is damaged, holds anything but arrays and plain containers, or lacks
        the array `data` or the list `labels`.
    """
    try:
        batch = _Batch(io.BytesIO(content), encoding="bytes").load()
    except Exception as error:
        reason = f"unknown instruction {error}" if isinstance(error, KeyError) else error
        raise DataError(
            f"read_cifar10: {path} must be a pickle of arrays and plain containers, got {reason}. "
            "Fetch the file again."
        ) from None
    fields = batch if isinstance(batch, _Fields) else {}
    data, labels = fields.get("data"), fields.get("labels")
    rows = data.values if isinstance(data, _Array) else None
    if rows is None or rows.ndim != 2 or not isinstance(labels, list):
        raise DataError(
            f"read_cifar10: {path} must hold an array `data` with a row for each image and a list "
            "`labels`, got other fields. Is it one of data_batch_1..5 or test_batch?"
        )
    if not all(type(label) is int and 0 <= label < 256 for label in labels):
        raise DataError(f"read_cifar10: {path} must hold integers as labels. Fetch it again.")
    return rows, labels
