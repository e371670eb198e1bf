"""Load a data set by name: embedded, from a folder, from TFDS, downloaded, or a user's own."""

import dataclasses
import difflib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from sffa_jax.checks import check_choice
from sffa_jax.data.dataset import DataError, Dataset
from sffa_jax.data.formats.pictures import COLORS, check_image_size, unify
from sffa_jax.data.records import OnDisk, in_memory
from sffa_jax.data.sources.cache import open_published
from sffa_jax.data.sources.digits import load_digits
from sffa_jax.data.sources.folder import open_folder
from sffa_jax.data.sources.npz import load_npz
from sffa_jax.data.sources.records import on_disk
from sffa_jax.data.sources.registry import PUBLISHED, read_published
from sffa_jax.data.sources.tfds import NAME, PREFIX, open_tfds
from sffa_jax.data.splits import check_test_fraction

NAMES = ("digits", *PUBLISHED)
"""The data sets that `load` knows besides tfds:NAME and a user's own."""

FOLDER, NPZ = "folder:", "npz:"
"""Prefixes of a user's own data: a folder of pictures, a NumPy archive."""


def check_name(name: str) -> None:
    """Raise DataError unless `load` accepts the name; reads nothing."""
    if isinstance(name, str) and (name in NAMES or NAME.fullmatch(name) or _own_path(name)):
        return
    close = difflib.get_close_matches(str(name).lower(), NAMES, n=1)
    raise DataError(
        f"load: `dataset` must be one of {', '.join(sorted(NAMES))}, folder:DIR (pictures, one "
        "sub-folder for each class), npz:FILE (arrays) or tfds:NAME (a set of "
        f"tensorflow-datasets), got {name!r}." + (f" Did you mean {close[0]!r}?" if close else "")
    )


def _own_path(name: str) -> Path | None:
    """Return the path in folder:DIR or npz:FILE; None for another name."""
    path = next((name.removeprefix(p) for p in (FOLDER, NPZ) if name.startswith(p)), "")
    return Path(path).expanduser() if path else None


def load(
    name: str,
    data_dir: str | os.PathLike[str] | None = None,
    *,
    image_size: Sequence[int] = (),
    color: str = "auto",
    test_fraction: float | None = None,
) -> Dataset:
    """Load a data set into memory.

    "digits" is embedded in scikit-learn. With a folder, the published files are read from it and
    from nowhere else; a line on stderr tells if their checksums differ from the published ones.
    Without one, the set is read from TFDS's data directory; the first call
    downloads and stores it there. A tfds: set always comes from TFDS's data directory.

    Args:
      name: one of `NAMES`; folder:DIR (one sub-folder of pictures for each class, in train/ and
        test/ or without); npz:FILE (`train_images`, `train_labels`, `test_images`, `test_labels`,
        or one table of `features` and `labels`); or tfds:NAME, tfds:NAME/CONFIG, tfds:NAME:VERSION.
      data_dir: folder with a sub-folder NAME that holds the published files; default: the
        environment variable SFFA_DATA_DIR.
      image_size: (height, width) to which all images are stretched, or (size,) for both; ():
        images keep their size.
      color: channels of the images: "gray", "rgb", or "auto": as they are.
      test_fraction: fraction of each class that becomes the test split, for data without one;
        None: a fifth.

    Raises:
      DataError: for an unknown name, a missing folder or file, damaged or inconsistent files, a
        failed download, or a test fraction for data that has a test split.
      TypeError, ValueError: for a bad size, color or fraction.

    >>> digits = load("digits")
    >>> digits.train_images.shape, digits.test_images.shape, digits.num_classes
    ((1438, 8, 8), (359, 8, 8), 10)
    """
    check_name(name)
    size = check_image_size("load", image_size)
    check_choice("load", "color", color, COLORS)
    check_test_fraction("load", test_fraction)
    if name.startswith(FOLDER):
        return in_memory(
            open_on_disk(name, image_size=size, color=color, test_fraction=test_fraction)
        )
    if path := _own_path(name):
        dataset = load_npz(path, name, test_fraction)
    elif test_fraction is not None:
        raise DataError(f"load: {name} has a test split. Leave --test-fraction out.")
    else:
        dataset = _load_named(name, data_dir)
    if not size and color == "auto":
        return dataset
    train_images, test_images = (
        unify(images, size, color) for images in (dataset.train_images, dataset.test_images)
    )
    return dataclasses.replace(dataset, train_images=train_images, test_images=test_images)


def _load_named(name: str, data_dir: str | os.PathLike[str] | None) -> Dataset:
    if name == "digits":
        return load_digits()
    folder = data_dir or os.environ.get("SFFA_DATA_DIR")
    if name.startswith(PREFIX) or not folder:
        return in_memory(open_on_disk(name))
    published, path = PUBLISHED[name], Path(folder) / name
    dataset = Dataset(
        name=name,
        class_names=published.class_names,
        source=f"{published.form}, folder {name}",
        **read_published(name, path),
    )
    if published.is_authentic(dataset, path):
        return dataset
    print(
        f"warning: {path} does not hold the published {name}: checksums differ. Results are not "
        "comparable with those of others; config.json records it.",
        file=sys.stderr,
        flush=True,
    )
    return dataclasses.replace(dataset, source=f"{dataset.source} (not the published data)")


def open_on_disk(
    name: str,
    *,
    image_size: Sequence[int] = (),
    color: str = "auto",
    test_fraction: float | None = None,
) -> OnDisk:
    """Open a data set whose images stay on disk; the first call downloads a named one.

    `sffa_jax.scale.streaming` trains on it, `batches` reads it.

    Args:
      name: as in `load`, but not "digits", which is never stored.
      image_size, color, test_fraction: of folder:DIR, as in `load`.

    Raises:
      DataError: as in `load`, or for "digits".
      TypeError, ValueError: as in `load`.
    """
    check_name(name)
    if name.startswith(NPZ):
        raise DataError(
            "open_on_disk: `name` must be no npz:FILE, which is read whole. Use `load`."
        )
    if path := _own_path(name):
        return open_folder(
            path, name, image_size=image_size, color=color, test_fraction=test_fraction
        )
    if name == "digits":
        raise DataError(
            "open_on_disk: `name` must be a data set on disk, got 'digits'. Use `load`."
        )
    if image_size or color != "auto" or test_fraction is not None:
        raise DataError(
            f"open_on_disk: `image_size`, `color` and `test_fraction` must be left out for {name}: "
            "only pictures in a folder are converted when they are read."
        )
    builder = open_tfds(name) if name.startswith(PREFIX) else open_published(name)
    return on_disk(name, builder)
