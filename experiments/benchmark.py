"""Measures time and memory of training and scoring; compares them with a lower bound and PyTorch.

    python -m experiments.benchmark

FFA, SFFA and backprop are timed in one process. All programs of a network run in turn, several
times, so that other load on the machine affects all of them equally. Speed is reported as a
ratio to the *lower bound* (`bench/lower_bound.py`: the matrix products and the optimizer's update
alone, with the same shapes and library) and to a plain PyTorch program
(`bench/torch_baseline.py`). Images are random; times do not depend on them. Takes about 20 minutes
on two cores.
"""

import dataclasses
import sys
from importlib.util import find_spec
from typing import Any

from experiments.bench.options import Options
from experiments.config.cli import answer_usage
from experiments.config.options import command_of
from sffa_jax.checks import reject

if __name__ == "__main__":
    answer_usage(Options, "benchmark")

from rich.console import Console

from experiments.bench.cases import CASES
from experiments.harness.experiment import execute
from experiments.harness.queries import where
from experiments.harness.run_folder import RunFolder, environment
from experiments.reports.sections import write_report

EMPTY_RECORD: dict[str, Any] = dict.fromkeys(
    (
        *("algorithm", "hidden", "winners", "negatives", "parallel", "seconds"),
        *("floor_ratio", "torch_ratio", "peak_mib"),
    )
)
"""Fields that every record has."""


def main(options: Options) -> None:
    """Makes the measurements that the output folder lacks and writes its report."""
    options.check()
    measurements = {
        f"{case} {part}".strip(): measure
        for case in options.cases
        for part, measure in CASES[case](options).items()
    }
    if not measurements:
        advice = "The case pipeline needs an even number of devices; networks and sweep need sizes."
        got = f"none in {', '.join(options.cases)}"
        raise reject("benchmark", "cases", "hold a measurement", got, advice)
    console = Console()
    recorded = dataclasses.asdict(options)
    changeable = ("out", "cases")
    with RunFolder(options.out, "benchmark", recorded, free=changeable) as folder:
        measured_on, now = folder.config.get("device"), environment()["device"]
        if folder.records and measured_on != now:
            rule = f"hold times of the same device, {now}"
            raise reject("options", "out", rule, measured_on, "Choose another folder.")
        folder.keep(command=command_of("benchmark", options, folder.config["options"]))
        for group, measure in measurements.items():
            if where(folder.records, group=group):
                continue
            console.print(f"measuring: {group}", highlight=False)
            # All at once: the programs of a group are timed in turn.
            folder.append(*({"group": group} | EMPTY_RECORD | record for record in measure()))
        if "networks" in options.cases and find_spec("torch") is None:
            console.print(
                "PyTorch was not timed: pip install 'sffa_jax[torch]' adds it.", highlight=False
            )
        write_report(folder)


if __name__ == "__main__":
    sys.exit(execute(main, Options, "benchmark"))
