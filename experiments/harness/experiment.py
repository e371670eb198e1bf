"""The one skeleton of every command: parse, set up, check, run what is missing, write the report.

`execute` is the outside: the command line, one-line errors and the exit status. `run_experiment` is
the inside: it opens the output folder, runs what the folder lacks and writes the report. A command
adds its options and a `Plan`: its grid, and how the runs of the grid are made.
"""

import contextlib
import errno
import io
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, Self, TypeVar

import jax

from experiments.config.cli import HasDefaults, Options, parse
from experiments.config.options import RESUMABLE_OPTIONS, Common
from experiments.harness.run_folder import RunFolder
from experiments.reports.sections import write_report
from sffa_jax.scale.processes import connect, is_main_process
from sffa_jax.scale.resumable import Interrupted, graceful_interrupts

DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EACCES)
"""Errors that say the disk is full or cannot be written."""

KEPT = "What is done is kept; the same --out goes on from there"


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


class Cell(NamedTuple):
    """One cell of an experiment's grid; it is run once for each seed.

    Attributes:
      names: the fields that identify the cell in its records.
      content: what the experiment needs to run it.
    """

    names: Mapping[str, Any]
    content: Any = None


Missing = Sequence[tuple[Cell, Sequence[int]]]
"""Runs that a folder lacks: each cell with its seeds."""


class Plan(NamedTuple):
    """What an experiment runs. Making a plan loads the data and builds every program's parts, so
    that a wrong option ends the command before it creates a folder.

    Attributes:
      cells: the grid.
      run: takes the open folder and the runs that it lacks; yields finished records, group by
        group. A group is on disk before the next one is asked for.
      common: fields that all records have in common, such as the data set.
      data: source and content hash of the data, for `config.json`.
    """

    cells: Sequence[Cell]
    run: Callable[[RunFolder, Missing], Iterator[Sequence[Mapping[str, Any]]]]
    common: Mapping[str, Any]
    data: Mapping[str, Any] | None = None


class ExperimentOptions(Protocol):
    """What `run_experiment` needs of an experiment's options; `Common` has it."""

    @property
    def folder(self) -> Path | None:
        """The output folder, or None: one named by date and time."""

    @property
    def tensorboard(self) -> bool:
        """Whether TensorBoard events are written."""

    def command(self, name: str) -> str:
        """Returns the command that repeats the runs."""

    def resolve(self) -> Self:
        """Fills in what a preset sets and checks every option."""

    def flat(self) -> dict[str, Any]:
        """Returns every option by the name it has on the command line."""

    def absent(self) -> dict[str, Any]:
        """Returns the value of each option that an earlier version's `config.json` lacks."""

    def chosen(self, cells: Sequence[Cell]) -> list[tuple[Cell, list[int]]]:
        """Returns the cells that this process runs, each with its seeds."""


Chosen = TypeVar("Chosen", bound=ExperimentOptions)


def run_experiment(name: str, options: Chosen, make_plan: Callable[[Chosen], Plan]) -> None:
    """Runs what is missing in the output folder and writes its report.

    Args:
      name: the command's name.
      options: as they were given.
      make_plan: takes the resolved options.

    Raises:
      ValueError: if an option cannot be used, or the folder holds results of other options or data.
    """
    command = options.command(name)
    options = options.resolve()
    plan = make_plan(options)
    with RunFolder(
        options.folder,
        name,
        options.flat(),
        extra={"command": command} | ({} if plan.data is None else {"data": plan.data}),
        free=RESUMABLE_OPTIONS,
        absent=options.absent(),
        tensorboard=options.tensorboard,
    ) as folder:
        missing = []
        for cell, seeds in options.chosen(plan.cells):
            names = {**plan.common, **cell.names}
            left = [seed for seed in seeds if not folder.is_done(**names, seed=seed)]
            if left:
                missing.append((cell, left))
        for records in plan.run(folder, missing):
            folder.append(*({**plan.common, **record} for record in records))
        if is_main_process():
            write_report(folder, command)


def _is_about_input(error: Exception) -> bool:
    """Whether the error was raised by this project's own checks and not from inside a library."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    # Not `__name__`: that of the module which was started is "__main__".
    spec = trace.tb_frame.f_globals.get("__spec__") if trace is not None else None
    return spec is not None and spec.name.split(".")[0] in ("sffa_jax", "experiments")
