"""Data sets by name, and where their files lie."""

import os
from pathlib import Path

import numpy as np

from sffa_jax.data.dataset import DataError, Dataset
from sffa_jax.data.digits import load_digits
from sffa_jax.data.idx import read_idx

DIGITS = tuple(str(digit) for digit in range(10))
CLOTHES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
HIRAGANA = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")

IDX_SETS = {"mnist": DIGITS, "fashion_mnist": CLOTHES, "kmnist": HIRAGANA}
NAMES = ("digits", *IDX_SETS)
"""Every data set that `load` knows."""

FILES = {"train": "train", "test": "t10k"}
"""How the published files name each split."""


def load(name: str, data_dir: str | os.PathLike[str] | None = None) -> Dataset:
    """Loads a data set into memory.

    Args:
      name: one of `NAMES`.
      data_dir: folder with one sub-folder a set, which holds the published files, gzipped or
        not; the environment variable SFFA_DATA_DIR where it is left out. "digits" needs none.

    Raises:
      DataError: for an unknown name, a missing folder or file, or files that are damaged or do
        not belong together.
    """
    if name == "digits":
        return load_digits()
    if name not in IDX_SETS:
        raise DataError(f"load: `dataset` must be one of {', '.join(NAMES)}, got {name!r}.")
    where = data_dir or os.environ.get("SFFA_DATA_DIR")
    if not where:
        raise DataError(
            f"load: `data_dir` must name the folder with {name}/{FILES['train']}-images-idx3-ubyte"
            "[.gz] and its companions, got nothing. Pass --data-dir or set SFFA_DATA_DIR."
        )
    folder = Path(where) / name
    arrays: dict[str, np.ndarray] = {}
    for split, prefix in FILES.items():
        arrays[f"{split}_images"] = read_idx(_find(name, folder, f"{prefix}-images-idx3-ubyte"), 3)
        labels = read_idx(_find(name, folder, f"{prefix}-labels-idx1-ubyte"), 1)
        arrays[f"{split}_labels"] = labels.astype(np.int32)
    return Dataset(
        name=name, class_names=IDX_SETS[name], source=f"IDX files, folder {name}", **arrays
    )


def _find(name: str, folder: Path, stem: str) -> Path:
    for path in (folder / f"{stem}.gz", folder / stem):
        if path.is_file():
            return path
    state = "which does not exist" if not folder.is_dir() else "which lacks it"
    if folder.is_dir() and not any(folder.iterdir()):
        state = "which is empty"
    raise DataError(
        f"load: {name} needs the file {stem} or {stem}.gz in {folder}, {state}. Put the four "
        "published files there, or pass another --data-dir."
    )
