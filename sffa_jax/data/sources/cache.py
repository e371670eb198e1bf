"""The published sets in TFDS's data directory, downloaded and stored there the first time."""

import contextlib
import io
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import filelock

from sffa_jax.data.dataset import DataError
from sffa_jax.data.sources.registry import PUBLISHED

BUILDER = "sffa_images"
"""Name of the TFDS builder, and of its folder; each set is a configuration of it."""

VERSION = "1.0.0"
"""Of the stored form; another form must take another number."""


def tfds_folder() -> Path:
    """TFDS's data directory: TFDS_DATA_DIR, else the one in the home directory."""
    return Path(os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()


def open_published(name: str) -> Any:
    """TFDS's builder of a published set, prepared if it was not.

    Raises:
      DataError: if it cannot be downloaded, is not what was published, or cannot be stored.
    """
    import tensorflow_datasets as tfds

    folder = tfds_folder() / BUILDER / name / VERSION
    if not _is_whole(folder):
        _prepare(name, folder)
    return tfds.builder_from_directory(folder)


def _is_whole(folder: Path) -> bool:
    """Whether a preparation has ended and all its files are there."""
    import tensorflow_datasets as tfds

    try:
        splits = tfds.builder_from_directory(folder).info.splits
    except Exception:  # no such folder, or one cut off or damaged in whatever way
        return False
    return bool(splits) and all(
        Path(path).is_file() for split in splits.values() for path in split.filepaths
    )


def _prepare(name: str, folder: Path) -> None:
    """Downloads and stores a published set; of several processes one does, the others wait."""
    from sffa_jax.data.sources.builders import SffaImages
    from sffa_jax.data.sources.download import DownloadError

    root = tfds_folder()
    try:
        (root / BUILDER).mkdir(parents=True, exist_ok=True)
        with _held(root / BUILDER / f".{name}.lock", f"{name} is being prepared"):
            if _is_whole(folder):  # by the process that was waited for
                return
            # What a killed preparation left: TFDS would take the folder for a whole set.
            shutil.rmtree(folder, ignore_errors=True)
            for leftover in folder.parent.glob("incomplete.*"):
                shutil.rmtree(leftover, ignore_errors=True)
            builder = SffaImages(config=name, data_dir=root)
            quietly(builder.download_and_prepare)
            if not _is_whole(folder):
                raise OSError(f"{folder} is damaged and cannot be replaced")
    except DownloadError as error:
        raise DataError(
            f"load: {name} is not in {folder}, and {error}. Put {PUBLISHED[name].expected} into "
            f"DIR/{name} and pass --data-dir DIR; or, where there is a connection, run `python -c "
            f"\"from sffa_jax import data; data.load('{name}')\"` and copy {folder.parents[1]} "
            "from there."
        ) from None
    except DataError:
        raise
    except (OSError, RuntimeError) as error:
        # RuntimeError: what the record writer raises where the disk is full.
        raise DataError(
            f"load: {name} cannot be stored in {root}: {error}. Set TFDS_DATA_DIR to a folder that "
            "can be written and has room, or pass --data-dir DIR with the published files."
        ) from None


@contextlib.contextmanager
def _held(path: Path, message: str) -> Iterator[None]:
    """Holds a lock file; says so on stderr if it must wait for it."""
    lock = filelock.FileLock(path)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        print(f"{message} by another process: waiting for it", file=sys.stderr, flush=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def quietly(prepare: Callable[[], None]) -> None:
    """Runs a preparation without TFDS's remarks on stdout, which belongs to the results."""
    import tensorflow_datasets as tfds

    if not sys.stderr.isatty():
        tfds.disable_progress_bar()
    with contextlib.redirect_stdout(io.StringIO()):
        prepare()
