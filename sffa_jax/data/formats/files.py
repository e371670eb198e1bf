"""Finding published files in a folder, and saying which ones are missing."""

from collections.abc import Sequence
from pathlib import Path

from sffa_jax.data.dataset import DataError


def find(folder: Path, candidates: Sequence[str]) -> Path | None:
    """The first of the candidates that is a file in `folder`, if any."""
    return next((path for name in candidates if (path := folder / name).is_file()), None)


def missing(name: str, folder: Path, wanted: str) -> DataError:
    """The error to raise where the set `name` lacks its files in `folder`."""
    if not folder.is_dir():
        state = "which does not exist"
    elif not any(folder.iterdir()):
        state = "which is empty"
    else:
        state = "which lacks it"
    return DataError(
        f"load: {name} needs {wanted} in {folder}, {state}. Put the published files there, or "
        "pass another --data-dir; without one (and without SFFA_DATA_DIR) they are downloaded."
    )
