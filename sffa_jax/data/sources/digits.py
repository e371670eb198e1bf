"""scikit-learn's 1797 handwritten digits, 8x8 pixels; no download."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np

from sffa_jax.data.dataset import Dataset
from sffa_jax.data.splits import stratified_split


def load_digits() -> Dataset:
    """Return the digits; a fixed fifth of every class is the test split."""
    pixels, labels = _pixels_and_labels()
    images = np.round(pixels.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    labels = labels.astype(np.int32)
    train, test = stratified_split(labels, fraction=0.2, seed=0)
    return Dataset(
        name="digits",
        train_images=images[train],
        train_labels=labels[train],
        test_images=images[test],
        test_labels=labels[test],
        class_names=tuple(str(digit) for digit in range(10)),
        source="scikit-learn load_digits",
    )


def _pixels_and_labels() -> tuple[np.ndarray, np.ndarray]:
    """Reads scikit-learn's file without its package, which takes seconds to import."""
    package = find_spec("sklearn")
    if package is not None and package.origin is not None:
        file = Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"
        if file.exists():
            table = np.loadtxt(file, delimiter=",")
            return table[:, :-1], table[:, -1]
    from sklearn.datasets import load_digits as sklearn_digits

    pixels, labels = sklearn_digits(return_X_y=True)
    return pixels, labels
