"""What every experiment's command line shares: parsing, one-line errors, exit status."""

import contextlib
import errno
import io
import os
import re
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, Self, TypeVar

import jax
import tyro

from experiments.config.options import Common
from sffa_jax.scale.processes import connect, is_main_process
from sffa_jax.scale.resumable import Interrupted, graceful_interrupts

DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EACCES)
"""Errors that say the disk is full or cannot be written."""

KEPT = "What is done is kept; the same --out goes on from there"


class HasDefaults(Protocol):
    """Options whose defaults depend on the command line (on its `--preset`)."""

    @property
    def compilation_cache(self) -> Path | None:
        """Folder for compiled programs, or None."""

    @classmethod
    def defaults(cls, arguments: Sequence[str]) -> Self:
        """The options before the rest of the command line is read."""


Options = TypeVar("Options", bound=HasDefaults)


def parse(options: type[Options], name: str, arguments: Sequence[str] | None) -> Options:
    """Parses the command line into the options' dataclass.

    Raises:
      ValueError: for an unknown option or a value of the wrong type, in one line.
      SystemExit: after `--help`, with status 0.
    """
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            given = sys.argv[1:] if arguments is None else arguments
            return tyro.cli(
                options,
                prog=f"python -m experiments.{name}",
                args=given,
                default=options.defaults(given),
                config=(tyro.conf.FlagCreatePairsOff,),
            )
    except SystemExit as end:
        if end.code in (0, None):
            raise
        # tyro draws a box of several lines; a script's user wants the first paragraph as a line.
        paragraphs = re.split(r"^[│|] [─-]+ [│|]$", complaint.getvalue(), flags=re.MULTILINE)
        inside = re.findall(r"^[│|] (.*) [│|]$", paragraphs[0], flags=re.MULTILINE)
        message = " ".join(" ".join(inside or [complaint.getvalue()]).split())
        raise ValueError(f"{message.rstrip('.')}. See --help.") from None


def set_up(options: HasDefaults) -> None:
    """Tells JAX, before it starts, of host devices, of the folder for compiled programs and of the
    other processes of the job.

    A CPU counts as a device a core, so that runs can be shared out over the cores; a program for
    one device still uses all of them.
    """
    if "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
        jax.config.update("jax_num_cpu_devices", os.cpu_count() or 1)
    if options.compilation_cache is not None:
        jax.config.update("jax_compilation_cache_dir", str(options.compilation_cache.resolve()))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    if isinstance(options, Common):
        connect(options.coordinator, options.num_processes, options.process_id)


def execute(
    main: Callable[[Options], None],
    options: type[Options],
    name: str,
    arguments: Sequence[str] | None = None,
) -> int:
    """Runs an experiment and returns its exit status.

    0: done. 1: the disk is full or cannot be written, with one line on stderr. 2: bad usage or
    input, likewise. 130 or 143: interrupted by SIGINT or
    SIGTERM; what had ended and what was under way is on disk, and the same command goes on from
    there if it names the same `--out`.
    """
    try:
        parsed = parse(options, name, arguments)
        if arguments is None:  # a process of its own, in which JAX has not started
            set_up(parsed)
        with contextlib.ExitStack() as inside:
            inside.enter_context(graceful_interrupts())
            if not is_main_process():  # what one process says is enough
                inside.enter_context(contextlib.redirect_stdout(io.StringIO()))
            main(parsed)
    except (ValueError, TypeError) as error:
        if not _is_about_input(error):
            raise
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except OSError as error:
        if error.errno not in DISK:
            raise
        print(f"error: {error}. {KEPT}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as stopped:
        print(f"Interrupted. {KEPT}", file=sys.stderr)
        return 128 + (stopped.signal if isinstance(stopped, Interrupted) else signal.SIGINT)
    return 0


def _is_about_input(error: Exception) -> bool:
    """Whether the error was raised by this project's own checks and not from inside a library."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    # Not `__name__`: that of the module which was started is "__main__".
    spec = trace.tb_frame.f_globals.get("__spec__") if trace is not None else None
    return spec is not None and spec.name.split(".")[0] in ("sffa_jax", "experiments")
