"""Find published files in a folder, and report which are missing."""

from collections.abc import Sequence
from pathlib import Path

from sffa_jax.data.dataset import DataError

LISTED = 5
"""Maximum number of files that an error lists."""


def find(folder: Path, candidates: Sequence[str]) -> Path | None:
    """Return the first of the candidates that is a file in `folder`, or None.

    Some tools write a dot before "idx", or unpack each file into a folder of its own name.
    """
    spellings = [word for name in candidates for word in (name, name.replace("-idx", ".idx"))]
    paths = (path for name in spellings for path in (folder / name, folder / name / name))
    return next((path for path in paths if path.is_file()), None)


def missing(name: str, folder: Path, expected: str) -> DataError:
    """Return the error to raise if `folder` lacks files of the data set `name`.

    Args:
      name: name of the data set.
      folder: the folder.
      expected: description of the missing files.
    """
    return DataError(
        f"load: {name} needs {expected} in {folder}, which {_state(folder)}. Put the published "
        "files there, or pass another --data-dir; without one (and without SFFA_DATA_DIR) they are "
        "downloaded."
    )


def _state(folder: Path) -> str:
    """Return what a folder contains, for a message."""
    if not folder.is_dir():
        return "does not exist"
    names = sorted(path.name + "/" * path.is_dir() for path in folder.iterdir())
    if not names:
        return "is empty"
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return f"lacks it and contains {', '.join(names[:LISTED])}{more}"
