"""Reading CIFAR's python batches without running what a pickle may ask for.

A pickle is a program: loading one calls any function it names. The published batches need two
of NumPy's constructors and plain containers, so nothing else is known here, and even those two
are stand-ins that hold what they are given until it has been checked. The interpreter is
Python's own in its pure-Python form, whose memo is a dictionary: a forged size cannot reserve
memory in it.
"""

import io
import pickle
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from sffa_jax.data.dataset import DataError


class _Dtype:
    """Stand-in for `numpy.dtype`: its code, and nothing of its pickled state."""

    def __init__(self, code: object, *_: object) -> None:
        self.is_bytes = code in ("u1", b"u1")

    def __setstate__(self, state: object) -> None:
        """Byte order and alignment: one-byte numbers have neither."""


class _Array:
    """Stand-in for `numpy.ndarray`: filled by its pickled state, then checked."""

    values: np.ndarray | None = None

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, column_major, content = state
        content = content.encode("latin1") if isinstance(content, str) else content
        sizes_fit = (
            isinstance(content, bytes) and len(shape) == 2 and shape[0] * shape[1] == len(content)
        )
        if not (isinstance(dtype, _Dtype) and dtype.is_bytes and sizes_fit):
            raise pickle.UnpicklingError("an array not made of rows of bytes as its shape says")
        values = np.frombuffer(content, np.uint8)
        self.values = values.reshape(shape, order="F" if column_major else "C")


def _reconstruct(*_: object) -> _Array:
    """Stand-in for NumPy's function of that name, which reserves memory as it is told."""
    return _Array()


def _encode(text: object, encoding: object = None) -> bytes:
    """Stand-in for `_codecs.encode`, by which Python 3 writes bytes in an old protocol."""
    if not isinstance(text, str) or encoding != "latin1":
        raise pickle.UnpicklingError("bytes are encoded in an unknown way")
    return text.encode("latin1")


class _Fields(dict[Any, Any]):
    """A dictionary of named fields: keys that are no names are not even hashed."""

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
"""Every name that a batch may ask for, and what it gets."""

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
"""What a pickle of arrays, numbers, strings, lists, tuples and dictionaries consists of."""


class _Batch(pickle._Unpickler):
    """Python's own unpickler with a short list of instructions and of names."""

    stack: list[Any]
    dispatch: ClassVar[dict[int, Callable[..., None]]] = {
        code[0]: pickle._Unpickler.dispatch[code[0]] for code in OPCODES
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no batch needs")
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


def parse_python_batch(content: bytes, path: object) -> tuple[np.ndarray, list[int]]:
    """The image rows and the labels of one `data_batch_N` of the python version.

    Args:
      content: of the file.
      path: what an error calls it.

    Returns:
      [samples, values] uint8, and as many labels.

    Raises:
      DataError: if the pickle is damaged, asks for anything but arrays and plain containers, or
        does not hold an array `data` and a list `labels`.
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
        raise DataError(f"read_cifar10: {path} must hold whole numbers as labels. Fetch it again.")
    return rows, labels
