"""Reproduces the paper's claims on the available data, with one command.

    make paper DATA=DIR
    make paper QUICK=1 DATA=DIR     # minutes: few epochs, small networks, two seeds

Each step is a separate command with a separate folder, so that a second start resumes where the
first one stopped. The last step writes `reproduction.md` and `report.html`.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

from experiments.config.cli import answer_usage
from experiments.config.paper_steps import STEPS
from sffa_jax.checks import check_choice, check_integer, reject


@dataclass(frozen=True)
class Options:
    """Reproduce the paper: every table and figure that the available data allow."""

    data_dir: Path | None = None
    """Folder with one sub-folder per set; or set SFFA_DATA_DIR. Sets are downloaded if left out."""
    seeds: int = 10
    """Number of seeds of every step."""
    quick: bool = False
    """Test in minutes that the steps run: MNIST, few epochs, small networks, one or two seeds."""
    steps: tuple[str, ...] = tuple(STEPS)
    """Steps to run; --quick skips some."""
    out: Path = Path("runs/paper")
    """Folder for all results; a second start with the same folder continues it."""

    def words(self, step: str) -> list[str]:
        """Returns the command line of a step, after `python -m`."""
        name, *arguments = STEPS[step].command.split()
        # The last value of a repeated option counts.
        words = [f"experiments.{name}", "--seeds", str(2 if self.quick else self.seeds), *arguments]
        if self.quick:  # no trial of placements, which compiles every program several times
            words += ["--parallel", "map", *(STEPS[step].quick or "").split()]
        if self.data_dir is not None:
            words += ["--data-dir", str(self.data_dir)]
        return [*words, "--out", str(self.out / step)]


if __name__ == "__main__":
    answer_usage(Options, "paper")

from rich.console import Console

from experiments.claims import machine_time, verdicts
from experiments.claims.doc_tables import markdown
from experiments.harness.experiment import execute
from experiments.harness.signals import run_python

TITLES = {
    "classification": "Classification",
    "port": "Known settings",
    "continual": "Continual learning",
    "elsewhere": "Numbers from elsewhere",
}


def summary(root: Path, seeds: int) -> str:
    """Returns the page of claims from the results in a folder, with machine time for `seeds`."""
    parts = ["# The paper's numbers and these runs'\n"]
    for kind, title in TITLES.items():
        parts.append(f"\n## {title}\n\n{markdown(verdicts.table(root, kind))}")
    times = machine_time.table(root, list(STEPS), seeds)
    return "".join([*parts, f"\n## Machine time\n\n{markdown(times)}"])


def main(options: Options) -> None:
    """Runs the missing steps and writes both pages."""
    check_integer("options", "seeds", options.seeds, 1)
    for step in options.steps:
        check_choice("options", "steps", step, STEPS)
    steps = [step for step in options.steps if not options.quick or STEPS[step].quick is not None]
    if not steps:
        rule = "name a step that --quick does not skip" if options.steps else "name a step"
        raise reject("options", "steps", rule, " ".join(options.steps) or "none")
    console = Console()
    for number, step in enumerate(steps, 1):
        console.rule(f"{number}/{len(steps)} {step}")
        status = run_python("-m", *options.words(step))
        if status:
            raise reject(
                "paper",
                step,
                "end with status 0",
                status,
                "See its message above. Finished runs are saved: start again with the same --out.",
            )
    page = options.out / "reproduction.md"
    page.write_text(summary(options.out, options.seeds), encoding="utf-8")
    folders = [str(options.out / step) for step in steps]
    if status := run_python("-m", "experiments.report", *folders, "--out", str(options.out)):
        raise SystemExit(status)
    print(f"Claims: {page}")


if __name__ == "__main__":
    sys.exit(execute(main, Options, "paper"))
