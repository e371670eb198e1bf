"""Tests and times this project on the machine's accelerator, from one command.

    make check-device                # 8 minutes on one NVIDIA H100
    make check-device ARGS="--quick" # tiny sizes, also without an accelerator

Each step is a separate command with a separate folder under `--out`, so that a second start
resumes. The folders can be copied to `results/`, the source of the tables in the docs.
"""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from experiments.config.cli import answer_usage

TESTS = (
    "tests/core/test_winners_gpu.py",
    "tests/core/test_layer.py::test_factored_equals_plain",
    "tests/core/test_layer.py::test_a_factored_convolution_is_the_plain_one",
    "tests/core/test_layer.py::test_pooling_by_hand",
    "tests/training/test_local.py::test_one_adam_update_matches_numpy",
    "tests/training/test_local.py::test_no_gradient_crosses_a_convolution",
    "tests/training/test_local.py::test_convolutions_learn",
    "tests/scale/test_sweep.py::test_modes_and_chunks_agree",
)
"""Tests that depend on the device: kernels, products, convolutions, an update, a sweep. A GPU
compiles each of their programs for about a second, and hundreds of them in the whole suite."""

DATA = "mnist"
"""Data set of the accuracy run with `--data-dir`; without, scikit-learn's digits."""

_TINY = "--features 30 --images 64 --batch-size 32 --score-images 64 --repeats 1"
COMMANDS: dict[str, tuple[str, str]] = {
    "benchmark": (
        "benchmark --cases winners networks sweep convolution photographs --networks 1x1400 4x2000 "
        "--negatives uniform --sweep-widths 1400 --sweep-seeds 1 4 16 64 --repeats 3",
        f"--cases networks sweep --networks 1x40 --sweep-widths 40 --sweep-seeds 2 {_TINY}",
    ),
    "compare": ("compare --preset best_convolution --epochs 10 --seeds 3", "--epochs 1 --seeds 1"),
}
"""Each step: an experiment with its options, and the options that `--quick` adds."""


@dataclass(frozen=True)
class Options:
    """Test and time this project on the machine's accelerator."""

    quick: bool = False
    """Use tiny sizes and skip the tests."""
    data_dir: Path | None = None
    """Folder with MNIST for the accuracy run; digits if left out."""
    out: Path = Path("runs/check_device")
    """Folder for the results; a second start with the same folder resumes."""

    def steps(self) -> dict[str, list[str]]:
        """Returns the arguments of Python for each step."""
        steps = {}
        for name, (command, quick) in COMMANDS.items():
            module, *arguments = command.split()
            arguments += quick.split() if self.quick else []
            if name == "compare" and self.data_dir is not None:
                arguments += ["--dataset", DATA, "--data-dir", str(self.data_dir)]
            steps[name] = ["-m", f"experiments.{module}", *arguments, "--out", f"{self.out}/{name}"]
        tests = ["-m", "pytest", "-q", "-n", "0", *TESTS]
        return steps if self.quick else steps | {"tests": tests}


if __name__ == "__main__":
    answer_usage(Options, "check_device")

import jax
from rich.console import Console

from experiments.harness.experiment import execute
from experiments.harness.signals import run_python
from sffa_jax.checks import reject


def main(options: Options) -> None:
    """Runs all steps and exits with status 1 if one fails.

    Raises:
      ValueError: without an accelerator: hours on a CPU would pass for a check of one.
    """
    if not options.quick and jax.default_backend() == "cpu":
        advice = "For an NVIDIA GPU: make check-device EXTRA=cuda. On a CPU: --quick."
        raise reject("check_device", "device", "be an accelerator", "a CPU", advice)
    os.environ.setdefault("JAX_PLATFORMS", "")  # the tests choose the CPU otherwise
    console = Console()
    failed = []
    for name, arguments in options.steps().items():
        console.rule(name)
        if run_python(*arguments):
            failed.append(name)
    if failed:
        console.print(f"failed: {', '.join(failed)}. The same command resumes.")
        raise SystemExit(1)


if __name__ == "__main__":
    sys.exit(execute(main, Options, "check_device"))
