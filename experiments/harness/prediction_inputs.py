"""Inputs of `experiments.predict`: pictures and tables of features, chunk by chunk."""

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sffa_jax import data
from sffa_jax.checks import reject
from sffa_jax.data.formats.safe_reading import reading
from sffa_jax.data.sources.npz import read_arrays
from sffa_jax.training.saved import Saved

CHUNK = 500
"""Number of samples that are predicted at once."""

TABLES = (".npz", ".csv")
"""Suffixes of files that hold many samples."""


class Chunk(NamedTuple):
    """Attributes: names: of each sample; images: [samples, ...] raw pixels or features."""

    names: list[str]
    images: np.ndarray


def find_files(paths: Sequence[Path]) -> list[Path]:
    """Returns the files that the paths name; of a folder, its pictures, sorted by name.

    Raises:
      ValueError: if a path does not exist, or a folder has no pictures.
    """
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in data.SUFFIXES)
            if not inside:
                raise reject("predict", "images", "contain pictures", f"none in {path}")
            files += inside
        elif path.exists():
            files.append(path)
        else:
            raise reject("predict", "images", "exist", str(path))
    if not files:
        raise reject("predict", "images", "name at least one picture or table", "none")
    return files


def read_pictures(files: Sequence[Path], saved: Saved, resize: bool) -> np.ndarray:
    """Returns pictures as images of the training images' shape.

    Raises:
      ValueError: for a damaged picture, one of another size without `resize`, or a network that was
        not trained on pictures.
    """
    shape = saved.info.get("image_shape")
    if not saved.pixels or not shape or len(shape) not in (2, 3):
        advice = "It takes tables: .npz or .csv."
        raise reject("predict", "run", "be a network for pictures", "one for other data", advice)
    height, width = shape[:2]
    color = "rgb" if len(shape) == 3 and shape[2] == 3 else "gray"
    images = []
    for file in files:
        image = data.read_picture(file)
        if image.shape[:2] != (height, width) and not resize:
            got = f"{image.shape[0]}x{image.shape[1]} in {file}"
            rule = f"be {height}x{width} pixels, like the training images"
            raise reject("predict", "images", rule, got, "--resize stretches pictures.")
        images.append(data.unify(image[None], (height, width), color)[0])
    return np.stack(images)


def read_table(file: Path, saved: Saved) -> np.ndarray:
    """Returns the samples of an archive or of a table of features, in the order of the file.

    An archive holds `features` or `images`. A CSV file holds one sample in a row and nothing but
    features, in the order of the training data; a first row without any number is a header.

    Raises:
      ValueError: for a damaged file, values that are not finite numbers, or another number of
        features than the network has.
    """
    samples = _read_npz(file) if file.suffix.lower() == ".npz" else _read_csv(file)
    images = data.to_images(samples, where=f"predict: {file}")
    if not len(images):
        raise reject("predict", "images", "contain samples", f"none in {file}")
    features = images.reshape(len(images), -1).shape[1]
    if features != saved.num_features:
        rule = f"have {saved.num_features} features, like the training data"
        advice = "Leave out labels and other columns."
        raise reject("predict", "images", rule, f"{features} in {file}", advice)
    return images


def _read_npz(file: Path) -> np.ndarray:
    arrays = read_arrays("predict", file, ("features", "images"))
    if len(arrays) != 1:
        got = f"{' and '.join(arrays) or 'neither'} in {file}"
        raise reject("predict", "images", "contain an array `features` or `images`", got)
    (array,) = arrays.values()
    return array


def _read_csv(file: Path) -> np.ndarray:
    import pandas as pd

    advice = "It must hold one sample in each row, separated by commas."
    with reading("predict", file, advice):
        table = pd.read_csv(file, header=None, dtype=str, keep_default_na=False)
        numbers = table.apply(pd.to_numeric, errors="coerce")
    header = int(numbers.iloc[0].isna().all())
    bad = np.argwhere(~np.isfinite(numbers.to_numpy(np.float32)[header:]))
    if len(bad):
        row, column = bad[0] + (header, 0)
        got = f"{table.iat[row, column]!r} in row {row + 1}, column {column + 1} of {file}"
        raise reject("predict", "images", "hold finite numbers as features", got)
    return numbers.to_numpy(np.float32)[header:]


def read_chunks(files: Sequence[Path], saved: Saved, resize: bool) -> Iterator[Chunk]:
    """Yields the samples of all files, in their order; those of a table are named `file:number`.

    Raises:
      ValueError: see `read_pictures` and `read_table`.
    """
    for tables, group in itertools.groupby(files, lambda file: file.suffix.lower() in TABLES):
        if not tables:
            pictures = list(group)
            for start in range(0, len(pictures), CHUNK):
                chunk = pictures[start : start + CHUNK]
                yield Chunk(list(map(str, chunk)), read_pictures(chunk, saved, resize))
            continue
        for file in group:
            images = read_table(file, saved)
            for start in range(0, len(images), CHUNK):
                part = images[start : start + CHUNK]
                yield Chunk([f"{file}:{start + i + 1}" for i in range(len(part))], part)
