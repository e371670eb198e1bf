"""Output of a command, never the reason for a run to end; and limits that no command survives."""

import errno
import io
import os
import shutil
import sys
from typing import TextIO

COLUMNS = (40, 400)
"""Range of widths: help for a narrower terminal would never end."""

ADDRESS_SPACE, OPEN_FILES = 2 << 30, 64
"""Least limits under which a small run ends; measured on two cores."""


def prepare_output() -> None:
    """Makes output independent of its encoding, of its reader and of narrow terminals."""
    sys.stdout, sys.stderr = _output(sys.stdout), _output(sys.stderr)
    least, most = COLUMNS
    width = shutil.get_terminal_size().columns
    if not least <= width <= most:
        os.environ["COLUMNS"] = str(min(max(width, least), most))


def check_limits() -> None:
    """Ends the process with status 1 if a limit is too low for the imports, which would abort."""
    try:
        import resource
    except ImportError:  # Windows
        return
    for kind, least, unit, name in (
        (resource.RLIMIT_AS, ADDRESS_SPACE, 1 << 20, "MiB of address space (ulimit -v)"),
        (resource.RLIMIT_NOFILE, OPEN_FILES, 1, "open files (ulimit -n)"),
    ):
        soft, hard = resource.getrlimit(kind)
        if soft != resource.RLIM_INFINITY and soft < least:
            if hard == resource.RLIM_INFINITY or hard >= least:
                resource.setrlimit(kind, (least, hard))
                continue
            print(
                f"error: the limit of {soft // unit} {name} must be at least {least // unit}. "
                "Raise it; nothing was started.",
                file=sys.stderr,
            )
            os._exit(1)


class _Descriptor(io.RawIOBase):
    """A file descriptor that discards output once nobody reads it."""

    def __init__(self, number: int) -> None:
        self._number = number

    def fileno(self) -> int:
        return self._number

    def isatty(self) -> bool:
        return os.isatty(self._number)

    def writable(self) -> bool:
        return True

    def write(self, content: bytes) -> int:  # type: ignore[override]
        try:
            return os.write(self._number, content)
        except OSError as error:
            if error.errno not in (errno.EPIPE, errno.EIO):  # EIO: the terminal is gone
                raise
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._number)
            os.close(nowhere)
            return len(content)


def _output(stream: TextIO | None) -> TextIO:
    """Returns a stream to the same descriptor; escapes characters that its encoding lacks."""
    if stream is None:  # the descriptor is closed
        return open(os.devnull, "w", encoding="utf-8")
    return io.TextIOWrapper(
        io.BufferedWriter(_Descriptor(stream.fileno())),  # type: ignore[type-var]
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=True,
    )
