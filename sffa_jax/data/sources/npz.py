"""A NumPy archive as a data set: images or a table of features, with labels."""

from collections.abc import Collection
from pathlib import Path

import numpy as np

from sffa_jax.data.dataset import DataError, Dataset
from sffa_jax.data.formats.safe_reading import reading
from sffa_jax.data.own import as_text, from_arrays

LAYOUTS = (
    *(
        (f"train_{inputs}", "train_labels", f"test_{inputs}", "test_labels")
        for inputs in ("images", "features")
    ),
    ("x_train", "y_train", "x_test", "y_test"),
    *((inputs, "labels") for inputs in ("images", "features")),
)
"""Names of the arrays: of both splits, or of one table whose test split is drawn."""


def read_arrays(
    where: str, path: Path, names: Collection[str] | None = None
) -> dict[str, np.ndarray]:
    """Read arrays of a NumPy archive by name; features of any type of number become float32.

    Args:
      where: the function or command that the message of an error names.
      path: the archive.
      names: of the arrays that are read, if they are there; None: all.

    Raises:
      DataError: if the file is missing, damaged or holds Python objects.
    """
    advice = "It must be a file that `numpy.savez` wrote, without Python objects."
    with reading(where, path, advice), path.open("rb") as file:
        if file.read(2) != b"PK":  # NumPy would take text for Python objects
            raise DataError(f"{where}: {path} is no NumPy archive. {advice}")
        file.seek(0)
        archive = np.load(file, allow_pickle=False)
        arrays = {k: archive[k] for k in archive.files if names is None or k in names}
    for key, array in arrays.items():
        if "features" in key and array.dtype.kind in "buif":
            with np.errstate(over="ignore"):
                arrays[key] = array.astype(np.float32)
    return arrays


def load_npz(path: Path, name: str, test_fraction: float | None = None) -> Dataset:
    """Load a data set from a NumPy archive, which may hold no Python objects.

    The archive holds the arrays of one of the `LAYOUTS`, and perhaps `class_names`. `images` are
    pixels or floats; `features` [samples, features] of any type of number become floats.

    Args:
      path: the archive.
      name: name of the data set.
      test_fraction: fraction of each class in the test split, if there is none; None: a fifth.

    Raises:
      DataError: if the file is missing or damaged, lacks arrays, or its arrays do not fit.
    """
    arrays = read_arrays("load", path)
    layout = next((keys for keys in LAYOUTS if {*keys} <= arrays.keys()), None)
    if layout is None:
        raise DataError(
            f"load: {path} must contain train_images, train_labels, test_images and test_labels, "
            f"or features and labels, got {', '.join(sorted(arrays)) or 'no array'}."
        )
    test = [key for key in sorted(arrays) if key.startswith("test_") or key.endswith("_test")]
    if len(layout) == 2 and test:  # it would be ignored
        raise DataError(
            f"load: {path} must name the training split, too, got {', '.join(layout)} and "
            f"{', '.join(test)}. Rename {layout[0]} to train_{layout[0]}, and {layout[1]} to "
            f"train_{layout[1]}."
        )
    names = arrays.get("class_names")
    try:
        return from_arrays(
            *(arrays[key] for key in layout),
            class_names=None if names is None else [as_text(value) for value in names],
            test_fraction=test_fraction,
            name=name,
            source=f"NumPy archive {path.name}",
        )
    except (TypeError, ValueError) as error:
        raise DataError(f"load: {path}: {error}") from None
