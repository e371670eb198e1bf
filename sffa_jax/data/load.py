"""Data sets by name, from wherever they are."""

import os
from pathlib import Path

from sffa_jax.data.dataset import DataError, Dataset
from sffa_jax.data.sources.cache import open_published
from sffa_jax.data.sources.digits import load_digits
from sffa_jax.data.sources.records import OnDisk, in_memory, on_disk
from sffa_jax.data.sources.registry import PUBLISHED, read_published
from sffa_jax.data.sources.tfds import NAME, PREFIX, open_tfds

NAMES = ("digits", *PUBLISHED)
"""Every data set that `load` knows, besides tfds:NAME."""


def check_name(name: str) -> None:
    """Raises DataError unless `load` knows a set of that name; reads nothing."""
    if not isinstance(name, str) or (name not in NAMES and not NAME.fullmatch(name)):
        raise DataError(
            f"load: `dataset` must be one of {', '.join(sorted(NAMES))} or tfds:NAME (a set that "
            f"tensorflow-datasets knows), got {name!r}."
        )


def load(name: str, data_dir: str | os.PathLike[str] | None = None) -> Dataset:
    """Loads a data set into memory.

    "digits" is embedded. Where a folder is given, the published files are read from it and from
    nowhere else; else the set is read from TFDS's data directory, and downloaded and stored
    there the first time. A tfds: set is always TFDS's.

    Args:
      name: one of `NAMES`, or tfds:NAME, tfds:NAME/CONFIG, tfds:NAME:VERSION.
      data_dir: folder with one sub-folder a set, which holds the published files; the environment
        variable SFFA_DATA_DIR where it is left out.

    Raises:
      DataError: for an unknown name, a missing folder or file, files that are damaged or do not
        belong together, or a download that failed.
    """
    check_name(name)
    if name == "digits":
        return load_digits()
    where = data_dir or os.environ.get("SFFA_DATA_DIR")
    if name.startswith(PREFIX) or not where:
        return in_memory(open_on_disk(name))
    published = PUBLISHED[name]
    return Dataset(
        name=name,
        class_names=published.class_names,
        source=f"{published.form}, folder {name}",
        **read_published(name, Path(where) / name),
    )


def open_on_disk(name: str) -> OnDisk:
    """Opens a set whose images stay on disk, for `stream`; downloads it the first time.

    Args:
      name: as `load` takes it, other than "digits".

    Raises:
      DataError: as `load`, or for "digits", which is too small to be stored.
    """
    check_name(name)
    if name == "digits":
        raise DataError("open_on_disk: `name` must be a set on disk, got 'digits'. Use `load`.")
    builder = open_tfds(name) if name.startswith(PREFIX) else open_published(name)
    return on_disk(name, builder)
