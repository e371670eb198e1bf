"""The skeleton of every command: parse, set up, check, run the missing runs, write the report.

`execute` handles the command line, one-line errors and the exit status. `run_experiment` opens the
output folder, runs what the folder lacks and writes the report. A command adds its options and a
`Plan`: its grid and the function that runs it.
"""

import contextlib
import io
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import jax

from experiments.config.cli import Options, parse
from experiments.config.options import RESUMABLE_OPTIONS, RUNTIME_OPTIONS, Common
from experiments.harness.compilation import Clock, use_cache
from experiments.harness.failures import describe, end_on_thread_failure
from experiments.harness.records import run_of
from experiments.harness.run_folder import RunFolder
from experiments.harness.signals import SAVED, ignore_signals
from experiments.reports.sections import write_report
from sffa_jax.checks import reject
from sffa_jax.scale.limits import usable_cores
from sffa_jax.scale.processes import connect, is_main_process
from sffa_jax.scale.resumable import Interrupted, graceful_interrupts


def set_up(options: object) -> None:
    """Configures JAX before it starts: host devices, the cache of compiled programs, and the
    processes of the job.

    Each usable CPU core counts as a device, so that runs can be distributed over cores; a program
    for one device still uses all cores.
    """
    end_on_thread_failure()
    cores = usable_cores()
    if cores < (os.cpu_count() or 1):
        os.environ.setdefault("NPROC", str(cores))  # XLA's threads
    chosen = "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
    if not chosen and "JAX_NUM_CPU_DEVICES" not in os.environ:
        jax.config.update("jax_num_cpu_devices", cores)
    use_cache()
    if isinstance(options, Common):
        connect(options.coordinator, options.num_processes, options.process_id)
    try:
        jax.devices()
    except (AssertionError, RuntimeError) as error:  # AssertionError: CUDA without a GPU
        wanted, reason = os.environ.get("JAX_PLATFORMS", ""), str(error).partition("\n")[0]
        rule = "name a platform that this machine has"
        advice = f"{reason} Leave it unset to use what is available.".strip()
        raise reject("JAX", "JAX_PLATFORMS", rule, repr(wanted), advice) from None


def execute(
    main: Callable[[Options], None],
    options: type[Options],
    name: str,
    arguments: Sequence[str] | None = None,
) -> int:
    """Runs an experiment and returns its exit status.

    0: done. 1: the system failed (a full disk, a limit, memory), with one line on stderr. 2: bad
    usage or input, likewise. 128 + n: interrupted by signal n, of `signals.SIGNALS`; finished runs
    and checkpoints of unfinished runs are on disk, and the same command with the same `--out`
    resumes.
    """
    from_shell = arguments is None
    try:
        parsed = parse(options, name, arguments)
        if from_shell:  # JAX has not started
            set_up(parsed)
        with contextlib.ExitStack() as inside:
            inside.enter_context(graceful_interrupts())
            if not is_main_process():  # only one process prints
                inside.enter_context(contextlib.redirect_stdout(io.StringIO()))
            clock = inside.enter_context(Clock())
            main(parsed)
            if clock.programs and is_main_process():
                print(clock.summary(), file=sys.stderr)  # stdout is for results
    except KeyboardInterrupt as stopped:
        if from_shell:
            ignore_signals()
        print(f"Interrupted. {SAVED}", file=sys.stderr)
        return 128 + (stopped.signal if isinstance(stopped, Interrupted) else signal.SIGINT)
    except Exception as error:
        failure = describe(error)
        if failure is None:
            raise
        print(f"error: {failure.sentence}", file=sys.stderr)
        if from_shell and failure.status == 1 and jax.process_count() == 1:
            os._exit(1)  # threads of libraries that met the same error print tracebacks at exit
        return failure.status
    finally:
        if from_shell:  # else they would kill Python while it ends: it restores their default
            ignore_signals()
    return 0


class Cell(NamedTuple):
    """One cell of an experiment's grid; it is run once for each seed.

    Attributes:
      names: the fields that identify the cell in its records.
      content: input of the experiment for this cell.
    """

    names: Mapping[str, Any]
    content: Any = None


Missing = Sequence[tuple[Cell, Sequence[int]]]
"""Runs that a folder lacks: each cell with its seeds."""


class Plan(NamedTuple):
    """The grid of an experiment and the function that runs it.

    Making a plan loads the data and builds the parts of every program, so that an invalid option
    ends the command before it creates a folder.

    Attributes:
      cells: the grid.
      run: takes the open folder and the runs that it lacks; yields finished records, group by
        group. A group is on disk before the next one is requested.
      data: source and content hash of the data, for `config.json`.
    """

    cells: Sequence[Cell]
    run: Callable[[RunFolder, Missing], Iterator[Sequence[Mapping[str, Any]]]]
    data: Mapping[str, Any]


Chosen = TypeVar("Chosen", bound=Common)


def run_experiment(name: str, options: Chosen, make_plan: Callable[[Chosen], Plan]) -> None:
    """Runs what the output folder lacks and writes its report.

    Args:
      name: the command's name.
      options: from the command line.
      make_plan: takes the resolved options.

    Raises:
      ValueError: for an invalid option, or if the folder contains results of other options or data.
    """
    given, options = options, options.resolve()
    plan = make_plan(options)
    if not plan.cells:
        advice = "Give each option that lists values at least one."
        raise reject(name, "grid", "hold at least one run", "none", advice)
    settings: dict[str, list[str]] = {}
    for cell in plan.cells:
        if "setting" in cell.names:
            settings.setdefault(cell.names["algorithm"], []).append(cell.names["setting"])
    with RunFolder(
        options.folder,
        name,
        options.flat(),
        extra={"data": plan.data},
        # A part of another grid would have other runs.
        free=RESUMABLE_OPTIONS if options.shard is None else RUNTIME_OPTIONS,
        absent=options.absent(),
        settings=settings,
        tensorboard=options.tensorboard,
    ) as folder:
        recorded = folder.config["options"]
        chosen = options.chosen(plan.cells)
        entries: dict[str, Any] = {"command": given.command(name, recorded)}
        if options.shard is not None:
            number, of = options.part()
            runs = sum(len(seeds) for _, seeds in chosen)
            entries["part"] = {"number": number, "of": of, "runs": runs}
        folder.keep(**entries)
        names = {"dataset": recorded["dataset"]}  # the data may lie elsewhere at a later start
        done = set(map(run_of, folder.records))
        missing = []
        for cell, seeds in chosen:
            left = [s for s in seeds if run_of({**names, **cell.names, "seed": s}) not in done]
            if left:
                missing.append((cell, left))
        for records in plan.run(folder, missing):
            folder.append(*({**names, **record} for record in records))
        finished: dict[str, set[int]] = {}
        for cell, seeds in chosen:
            finished.setdefault(cell.names["algorithm"], set()).update(seeds)
        for algorithm, of_algorithm in finished.items():
            folder.clear_finished(algorithm, of_algorithm)
        if not folder.records:
            print(f"Part {options.shard} has no runs: there are fewer runs than parts.")
        elif is_main_process():
            write_report(folder)
