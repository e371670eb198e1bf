"""Load a data set by name: embedded, from a folder, from TFDS, or downloaded."""

import os
from pathlib import Path

from sffa_jax.data.dataset import DataError, Dataset
from sffa_jax.data.sources.cache import open_published
from sffa_jax.data.sources.digits import load_digits
from sffa_jax.data.sources.records import OnDisk, in_memory, on_disk
from sffa_jax.data.sources.registry import PUBLISHED, read_published
from sffa_jax.data.sources.tfds import NAME, PREFIX, open_tfds

NAMES = ("digits", *PUBLISHED)
"""The data sets that `load` knows besides tfds:NAME."""


def check_name(name: str) -> None:
    """Raise DataError unless `load` accepts the name; reads nothing."""
    if not isinstance(name, str) or (name not in NAMES and not NAME.fullmatch(name)):
        raise DataError(
            f"load: `dataset` must be one of {', '.join(sorted(NAMES))} or tfds:NAME (a set of "
            f"tensorflow-datasets), got {name!r}."
        )


def load(name: str, data_dir: str | os.PathLike[str] | None = None) -> Dataset:
    """Load a data set into memory.

    "digits" is embedded in scikit-learn. With a folder, the published files are read from it and
    from nowhere else. Without one, the set is read from TFDS's data directory; the first call
    downloads and stores it there. A tfds: set always comes from TFDS's data directory.

    Args:
      name: one of `NAMES`, or tfds:NAME, tfds:NAME/CONFIG, tfds:NAME:VERSION.
      data_dir: folder with a sub-folder NAME that holds the published files; default: the
        environment variable SFFA_DATA_DIR.

    Raises:
      DataError: for an unknown name, a missing folder or file, damaged or inconsistent files, or
        a failed download.

    >>> digits = load("digits")
    >>> digits.train_images.shape, digits.test_images.shape, digits.num_classes
    ((1438, 8, 8), (359, 8, 8), 10)
    """
    check_name(name)
    if name == "digits":
        return load_digits()
    folder = data_dir or os.environ.get("SFFA_DATA_DIR")
    if name.startswith(PREFIX) or not folder:
        return in_memory(open_on_disk(name))
    published = PUBLISHED[name]
    return Dataset(
        name=name,
        class_names=published.class_names,
        source=f"{published.form}, folder {name}",
        **read_published(name, Path(folder) / name),
    )


def open_on_disk(name: str) -> OnDisk:
    """Open a data set whose images stay on disk; the first call downloads it.

    `sffa_jax.scale.streaming` trains on it, `batches` reads it.

    Args:
      name: as in `load`, but not "digits", which is never stored.

    Raises:
      DataError: as in `load`, or for "digits".
    """
    check_name(name)
    if name == "digits":
        raise DataError(
            "open_on_disk: `name` must be a data set on disk, got 'digits'. Use `load`."
        )
    builder = open_tfds(name) if name.startswith(PREFIX) else open_published(name)
    return on_disk(name, builder)
