"""Starting an experiment as a user does, and reading what it wrote."""

import contextlib
import importlib
import io
import json
import os
import socket
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import NamedTuple

import jax
import jaxtyping
import pytest

from experiments.harness.experiment import execute

ROOT = Path(__file__).parent.parent


def start(name, *arguments):
    """Runs `python -m experiments.NAME` in a process of its own, to its end."""
    return subprocess.run(
        [sys.executable, "-m", f"experiments.{name}", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


class Run(NamedTuple):
    """What a command returned and printed."""

    status: int
    out: str
    err: str


def run_command(name, *arguments):
    """Runs `python -m experiments.NAME` in this process, as `execute` does for a user.

    The type checker is off: the programs that a command lowers are not those it checks. A command
    can load TensorBoard's writer only if `arguments` ask for it.
    """
    module = importlib.import_module(f"experiments.{name}")
    out, err = io.StringIO(), io.StringIO()
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        with (
            pytest.MonkeyPatch.context() as patch,
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            # Ranks may broadcast, as in a process of its own.
            jax.numpy_rank_promotion("allow"),
        ):
            if "--tensorboard" not in arguments:
                patch.setitem(sys.modules, "tensorboardX", None)
            status = execute(module.main, module.Options, name, list(map(str, arguments)))
    finally:
        jaxtyping.config.update("jaxtyping_disable", before)
    return Run(status, out.getvalue(), err.getvalue())


@contextlib.contextmanager
def programs_once():
    """Within it, the commands' starts share the programs of equal runs.

    Every start traces and lowers all its programs again, even those that JAX's cache holds.
    """
    from experiments.harness.trainer import Trainer

    made, start, compile_anew = {}, Trainer.start_all, Trainer.compile

    def key(self, group, *more):
        splits = self.splits
        sizes = [split and len(split.labels) for split in (splits.validation, splits.test)]
        work = self.work(group)
        for name in group.varied:  # traced
            del work["recipe"][name]
        data = [splits.dataset.sha256, *sizes, splits.held_out]
        return json.dumps([work, data]), self.measure, self.describe is None, *more

    def start_once(self, group):
        self.__dict__["start_runs"] = made.setdefault(key(self, group), self.start_runs)
        return start(self, group)

    def compile_once(self, group, placement, budget):
        of_these = key(self, group, placement)
        if of_these not in made:
            made[of_these] = compile_anew(self, group, placement, budget)
        return made[of_these]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "start_all", start_once)
        patch.setattr(Trainer, "compile", compile_once)
        yield


def run_program(text, *arguments, **environment):
    """Runs Python's program `text` in a process of its own; what it printed."""
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(text), *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def read(folder):
    """The records of an output folder."""
    return [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]


def host_devices(count):
    """What makes a process see so many devices on the CPU, beside the flags of the suite."""
    flags = os.environ.get("XLA_FLAGS", "")
    return {"XLA_FLAGS": f"{flags} --xla_force_host_platform_device_count={count}"}


def free_address():
    """HOST:PORT where nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def open_together(command, *, devices=1, processes=2):
    """Starts the processes of one job on this machine, `command(address, process)` each."""
    address = free_address()
    environment = os.environ | host_devices(devices) | {"JAX_PLATFORMS": "cpu"}
    return [
        subprocess.Popen(
            [sys.executable, *command(address, process)],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for process in range(processes)
    ]


def experiment_together(name, *arguments, devices=1, processes=2):
    """Starts `python -m experiments.NAME` as several processes."""

    def command(address, process):
        job = ["--coordinator", address, "--num-processes", str(processes)]
        return ["-m", f"experiments.{name}", *arguments, *job, "--process-id", str(process)]

    return open_together(command, devices=devices, processes=processes)


def end(jobs, timeout=240):
    """Status, standard output and standard error of each process, once all have ended."""
    try:
        said = [job.communicate(timeout=timeout) for job in jobs]
    finally:
        for job in jobs:
            job.kill()
    return [(job.returncode, *texts) for job, texts in zip(jobs, said, strict=True)]
