"""What a record says about a run's predictions on the test split, from which reports are made."""

import base64
import io
import math
from typing import Any

import jax
import numpy as np

from sffa_jax import data
from sffa_jax.analysis.precision import Predictions, calibration_error
from sffa_jax.training.learner import State

NUM_WORST = 6
"""Number of images recorded for each run: those with the lowest probability of their label."""

MOST_CLASSES = 50
"""Largest number of classes with a confusion matrix in the records."""

THUMBNAIL = 64
"""Largest side of a recorded image, pixels."""


def describe(
    predicted: Predictions, dataset: data.Dataset, *, probable: bool = True
) -> dict[str, Any]:
    """Returns the fields of a record about the predictions of one run.

    `nll` in nats, `ece` as a fraction; `class_accuracies` [classes], null for a class without
    test images; `confusion` [true label, predicted label] counts, if there are at most
    `MOST_CLASSES` classes; `reliability` [bins, (mean confidence, accuracy, fraction of the
    images)]; `correct`: one bit for each test image, see `unpack_bits`; `worst`: the most wrong
    images with index, labels, probability of the predicted label and a PNG in base64.

    Args:
      predicted: for the test images, as NumPy arrays.
      dataset: the data.
      probable: whether the network has probabilities of the labels; otherwise there are no `nll`,
        `ece` and `reliability`, and no probabilities of the images.
    """
    labels, classes, diagram = dataset.test_labels, dataset.num_classes, predicted.diagram
    totals = np.bincount(labels, minlength=classes)
    right = np.bincount(labels[predicted.labels == labels], minlength=classes)
    worst = np.argsort(-predicted.nll, kind="stable")[:NUM_WORST]
    record: dict[str, Any] = {
        "class_accuracies": [
            r / n if n else None for r, n in zip(right.tolist(), totals.tolist(), strict=True)
        ],
        "correct": pack_bits(np.asarray(predicted.labels) == labels),
        "worst": [_wrong_image(predicted, dataset, int(index), probable) for index in worst],
    }
    if probable:
        bins = np.stack([diagram.confidence, diagram.frequency, diagram.fraction], axis=-1)
        record |= {
            "nll": float(np.mean(predicted.nll, dtype=np.float64)),
            "ece": float(calibration_error(diagram)),
            "reliability": bins.astype(float).round(6).tolist(),
        }
    if classes <= MOST_CLASSES:
        pairs = np.bincount(labels * classes + predicted.labels, minlength=classes**2)
        record["confusion"] = pairs.reshape(classes, classes).tolist()
    return record


def pack_bits(flags: np.ndarray) -> str:
    """Returns booleans as text: their number, and their bits in base64."""
    return f"{len(flags)}:{base64.b64encode(np.packbits(flags).tobytes()).decode()}"


def unpack_bits(text: str) -> np.ndarray:
    """Returns the booleans of `pack_bits`.

    >>> unpack_bits(pack_bits(np.array([True, False, True]))).tolist()
    [True, False, True]
    """
    number, _, bits = text.partition(":")
    packed = np.frombuffer(base64.b64decode(bits), np.uint8)
    return np.unpackbits(packed, count=int(number)).astype(bool)


def _wrong_image(
    predicted: Predictions, dataset: data.Dataset, index: int, probable: bool
) -> dict[str, Any]:
    return {
        "index": index,
        "label": int(dataset.test_labels[index]),
        "predicted": int(predicted.labels[index]),
        "probability": float(predicted.confidence[index]) if probable else None,
        "png": _png(dataset.test_images[index]),
    }


def _png(image: np.ndarray) -> str | None:
    """Returns a picture of at most `THUMBNAIL` pixels in base64; None if it is no image."""
    if (
        image.dtype != np.uint8
        or image.ndim not in (2, 3)
        or image.shape[2:] not in ((), (1,), (3,))
    ):
        return None
    from PIL import Image

    picture = Image.fromarray(image.reshape(image.shape[:2]) if image.shape[2:] == (1,) else image)
    picture.thumbnail((THUMBNAIL, THUMBNAIL))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()


def num_parameters(states: State) -> int:
    """Returns the number of trained parameters of one of several stacked runs."""
    layers = getattr(states.params, "layers", states.params)  # without the label overlay
    return sum(math.prod(leaf.shape[1:]) for leaf in jax.tree.leaves(layers))
