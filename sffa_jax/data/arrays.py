"""Images and labels from what users hold: arrays, lists, tables, PIL images, tensors.

Every function of the library that takes images or labels from a user calls `to_images` or
`to_labels`; both return plain NumPy arrays or say in one sentence what they expect.
"""

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sffa_jax.checks import LARGEST, check_integer, reject, reject_type

ENCODE = "`np.unique(labels, return_inverse=True)[1]` numbers them from 0"


def to_images(images: Any, *, where: str = "to_images") -> np.ndarray:
    """Return images as [samples, ...] uint8 pixels or float32 numbers; the dtype decides which.

    Integers from 0 to 255 and booleans (white where true) are pixels and become uint8. Floats stay
    numbers of the caller's scale, for example in [0, 1] or standardized, and become float32.

    Args:
      images: [samples, height, width], [samples, height, width, channels] or [samples, pixels]: a
        NumPy or JAX array of any dtype and byte order, a tensor, a DataFrame, a PIL image, or a
        list of images.
      where: name of the function in error messages.

    Raises:
      TypeError: for what is not an array of numbers: a path, a dictionary, a sparse matrix, text.
      ValueError: for masked values, NaN, infinity, integers outside [0, 255], images of different
        shapes, or channels before height and width.

    >>> to_images([[[0, 255], [0, 0]]]).dtype
    dtype('uint8')
    >>> to_images(np.zeros((2, 3, 28, 28)))
    Traceback (most recent call last):
    ...
    ValueError: to_images: `images` must have the channels last, got shape (2, 3, 28, 28). For \
arrays: `images.transpose(0, 2, 3, 1)`.
    """
    images = [images] if hasattr(images, "getbands") else images  # a single PIL image
    array = to_array(images, where=where, argument="images")
    shape, kind = array.shape, array.dtype.kind
    if kind not in "buif":
        rule = "be numbers"
        raise reject_type(where, "images", rule, array.dtype, "Decode the images to arrays first.")
    if array.ndim not in (2, 3, 4):
        rule = "have shape (samples, height, width[, channels]) or (samples, pixels)"
        advice = "Add an axis to a single image: `images[None]`." if array.ndim == 1 else ""
        raise reject(where, "images", rule, f"shape {shape}", advice)
    if array.ndim == 4 and shape[1] in (1, 3) and shape[3] > 4:
        rule, advice = "have the channels last", "For arrays: `images.transpose(0, 2, 3, 1)`."
        raise reject(where, "images", rule, f"shape {shape}", advice)
    if array.dtype == np.uint8 or not array.size:
        return array.astype(np.float32 if kind == "f" else np.uint8, copy=False)
    if kind == "b":
        return array * np.uint8(255)
    if kind in "ui":
        lowest, highest = int(array.min()), int(array.max())
        if lowest < 0 or highest > 255:
            rule, advice = "lie in [0, 255] if they are integers", "Scale them to floats in [0, 1]."
            raise reject(where, "images", rule, f"min {lowest}, max {highest}", advice)
        return array.astype(np.uint8)
    with np.errstate(over="ignore"):
        numbers = array.astype(np.float32, copy=False)
    bad = numbers.size - int(np.count_nonzero(np.isfinite(numbers)))
    if bad:
        raise reject(where, "images", "be finite", f"{bad} NaN or infinite values")
    return numbers


def to_labels(
    labels: Any, num_classes: int | None = None, *, where: str = "to_labels"
) -> np.ndarray:
    """Return class labels as [samples] int32.

    Args:
      labels: [samples] integers in [0, num_classes), or floats that are whole numbers: an array, a
        tensor, a list or a Series.
      num_classes: number of labels; None: not checked.
      where: name of the function in error messages.

    Raises:
      TypeError: for booleans, text and other types that are no numbers.
      ValueError: for a column, one-hot rows, NaN, fractions, masked values, or a label that is out
        of range.

    >>> to_labels([2.0, 0.0])
    array([2, 0], dtype=int32)
    >>> to_labels([[0], [2]])
    Traceback (most recent call last):
    ...
    ValueError: to_labels: `labels` must have shape (samples,), got a column of shape (2, 1). Use \
`numpy.ravel(labels)`.
    """
    if num_classes is not None:
        check_integer(where, "num_classes", num_classes, 1)
    array = to_array(labels, where=where, argument="labels")
    if array.dtype.kind not in "uif":
        kind = {"b": "booleans", "U": "text", "S": "text"}.get(array.dtype.kind, array.dtype)
        advice = f"{ENCODE}; `sffa_jax.sklearn` accepts any labels."
        raise reject_type(where, "labels", "be integers", kind, advice)
    if array.ndim != 1:
        raise reject(where, "labels", "have shape (samples,)", *_wrong_rank(array))
    if array.dtype.kind == "f":
        bad = array.size - int(np.count_nonzero(np.isfinite(array)))
        if bad:
            raise reject(where, "labels", "be whole numbers", f"{bad} NaN or infinite values")
        fractions = array[array != np.floor(array)]
        if fractions.size:
            advice = "These look like regression targets; `fit` learns classes."
            raise reject(where, "labels", "be whole numbers", fractions[0], advice)
    if array.size:
        _check_label_range(where, array.min().item(), array.max().item(), num_classes)
    return array.astype(np.int32)


def _wrong_rank(labels: np.ndarray) -> tuple[str, str]:
    """What labels of another rank are, and what to do."""
    if labels.ndim == 2 and labels.shape[1] == 1:
        return f"a column of shape {labels.shape}", "Use `numpy.ravel(labels)`."
    ones = np.isin(labels, (0, 1)).all() and labels.size
    if labels.ndim == 2 and ones and (labels.sum(axis=1) == 1).all():
        return f"one-hot rows of shape {labels.shape}", "Use `numpy.argmax(labels, axis=1)`."
    return f"shape {labels.shape}", ""


def _check_label_range(where: str, lowest: float, highest: float, num_classes: int | None) -> None:
    bound = LARGEST if num_classes is None else num_classes
    if lowest >= 0 and highest < bound:
        return
    advice = f"{ENCODE}."
    if lowest >= 0 and num_classes is not None and highest < LARGEST:
        advice = f"Relabel the data, or use {int(highest) + 1} classes."
    raise reject(
        where, "labels", f"lie in [0, {bound})", f"min {lowest:.15g}, max {highest:.15g}", advice
    )


def check_counts(images: np.ndarray, labels: np.ndarray, *, where: str) -> None:
    """Raise ValueError unless there is one label for each image, and at least one."""
    if len(images) != len(labels) or not len(images):
        rule = "contain one label for each image, at least one"
        got = f"{len(images)} images and {len(labels)} labels"
        raise reject(where, "labels", rule, got)


def to_array(value: Any, *, where: str = "to_array", argument: str = "value") -> np.ndarray:
    """Return an array-like as a NumPy array in native byte order; it never pickles or copies more
    than needed.

    Raises:
      TypeError: for what is not array-like.
      ValueError: for masked values, or parts of different shapes.

    >>> to_array(np.ma.array([1, 2], mask=[False, True]))
    Traceback (most recent call last):
    ...
    ValueError: to_array: `value` must contain no masked values, got 1. Fill or drop them.
    """
    if isinstance(value, jax.core.Tracer):
        advice = "Call this function outside of `jax.jit`."
        raise reject_type(where, argument, "be an array of known values", "a tracer", advice)
    advice = _no_array(value)
    if advice:
        raise reject_type(where, argument, "be an array", type(value).__name__, advice)
    if isinstance(value, np.ma.MaskedArray):
        masked = int(np.ma.getmaskarray(value).sum())
        if masked:
            advice = "Fill or drop them."
            raise reject(where, argument, "contain no masked values", masked, advice)
        value = value.data
    array = _plain(value, where, argument)
    if array.dtype == object:
        array = _stack(where, argument, array)
    if array.dtype.kind == "V" and jnp.issubdtype(array.dtype, jnp.floating):
        return array.astype(np.float32)  # bfloat16 and smaller types of ml_dtypes
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _no_array(value: Any) -> str:
    """Advice for a value that is known not to be an array; empty for any other."""
    if isinstance(value, str | bytes | PurePath):
        return "Read the file first."
    if isinstance(value, Mapping) or hasattr(value, "column_names"):
        return "Select one column, for example `rows['image']` or `rows['label']`."
    if hasattr(value, "nnz") and hasattr(value, "toarray"):
        return "Call `.toarray()` first."
    if value is None or type(value).__name__ == "NAType":
        return "Fill or drop missing values."
    if isinstance(value, set | frozenset) or not any(
        hasattr(value, name) for name in ("__array__", "__array_interface__", "__len__")
    ):
        return "Collect the values in a list or an array first."
    return ""


def _plain(value: Any, where: str, argument: str) -> np.ndarray:
    """Return one array, or an object array of parts to be stacked."""
    if hasattr(value, "detach"):  # PyTorch
        value = value.detach().cpu()
        value = value.float() if str(value.dtype) == "torch.bfloat16" else value
        return np.asarray(value.numpy())
    if hasattr(value, "getbands"):  # PIL; `np.asarray` of a palette would return its indices
        if value.mode not in ("1", "L", "RGB"):
            rule, advice = "be gray or RGB images", "Call `image.convert('RGB')` first."
            if value.mode[0] in "IF":  # `convert` would clip its pixels
                advice = "Scale its pixels to 8 bits first."
            raise reject(where, argument, rule, f"a PIL image of mode {value.mode!r}", advice)
        return np.asarray(value)
    if hasattr(value, "to_numpy"):  # pandas, polars
        return np.asarray(value.to_numpy())
    if hasattr(value, "__array__"):
        return np.asarray(value)
    elements = list(value)
    parts = np.empty(len(elements), object)
    for i, element in enumerate(elements):
        parts[i] = element
    return parts


def _stack(where: str, argument: str, parts: np.ndarray) -> np.ndarray:
    """Return one array from an object array of arrays or of scalars."""
    elements = [
        element if np.isscalar(element) else to_array(element, where=where, argument=argument)
        for element in parts.ravel()
    ]
    shapes = sorted({np.shape(element) for element in elements})
    if len(shapes) > 1:
        rule, advice = "have elements of one shape", "Resize the images first."
        raise reject(where, argument, rule, f"shapes {shapes[0]} and {shapes[1]}", advice)
    stacked = np.asarray(elements)
    if stacked.dtype.kind in "US":  # NumPy would write a missing text as "nan"
        missing = sum(isinstance(e, float) and e != e for e in elements)
        if missing:
            advice = "Fill or drop missing values."
            raise reject(where, argument, "have no missing value", f"{missing} NaN", advice)
    return stacked.reshape(parts.shape + stacked.shape[1:])


def next_power_of_two(number: int) -> int:
    """Return the least power of two that is not below `number` >= 1: few sizes, few programs.

    >>> [next_power_of_two(number) for number in (1, 4, 5)]
    [1, 4, 8]
    """
    return 1 << (number - 1).bit_length()
