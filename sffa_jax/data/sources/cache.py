"""The published data sets in TFDS's data directory; the first use downloads and stores them."""

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
from sffa_jax.data.sources.registry import BUILDER, PUBLISHED, VERSION


def tfds_folder() -> Path:
    """Return TFDS's data directory: TFDS_DATA_DIR, or ~/tensorflow_datasets.

    Raises:
      DataError: if there is no home directory.
    """
    try:
        return Path(os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()
    except RuntimeError:
        raise DataError(
            "load: data sets are stored in the home directory, and there is none. Set "
            "TFDS_DATA_DIR to a folder, or pass --data-dir DIR with the published files."
        ) from None


def open_published(name: str) -> Any:
    """Return TFDS's builder of a published data set; prepares the set if it is not stored.

    Raises:
      DataError: if the set cannot be downloaded or stored, or a checksum differs.
    """
    import tensorflow_datasets as tfds

    folder = tfds_folder() / BUILDER / name / VERSION
    if not _is_complete(folder):
        _prepare(name, folder)
    return tfds.builder_from_directory(folder)


def _is_complete(folder: Path) -> bool:
    """Return whether a preparation has finished and all its files exist."""
    import tensorflow_datasets as tfds

    try:
        splits = tfds.builder_from_directory(folder).info.splits
    except Exception:  # no such folder, or an incomplete or damaged one
        return False
    return bool(splits) and all(
        Path(path).is_file() for split in splits.values() for path in split.filepaths
    )


def _prepare(name: str, folder: Path) -> None:
    """Download and store a published data set; one process does it, the others wait."""
    from sffa_jax.data.sources.builders import SffaImages
    from sffa_jax.data.sources.download import DownloadError

    root = tfds_folder()
    try:
        (root / BUILDER).mkdir(parents=True, exist_ok=True)
        with _locked(root / BUILDER / f".{name}.lock", f"{name} is being prepared"):
            if _is_complete(folder):  # another process finished it while this one waited
                return
            # Leftovers of a killed preparation: TFDS would take the folder for a complete set.
            shutil.rmtree(folder, ignore_errors=True)
            for leftover in folder.parent.glob("incomplete.*"):
                shutil.rmtree(leftover, ignore_errors=True)
            builder = SffaImages(config=name, data_dir=root)
            quietly(builder.download_and_prepare)
            if not _is_complete(folder):
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
        # The record writer raises RuntimeError if the disk is full.
        raise DataError(
            f"load: {name} cannot be stored in {root}: {error}. Set TFDS_DATA_DIR to a writable "
            "folder with free space, or pass --data-dir DIR with the published files."
        ) from None


@contextlib.contextmanager
def _locked(path: Path, message: str) -> Iterator[None]:
    """Hold a lock file; print a line to stderr when waiting for it."""
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
    """Run a preparation with TFDS's output on stdout suppressed: stdout is for results."""
    import tensorflow_datasets as tfds

    if not sys.stderr.isatty():
        tfds.disable_progress_bar()
    with contextlib.redirect_stdout(io.StringIO()):
        prepare()
