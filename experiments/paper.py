"""Reproduces the paper's claims on the available data, with one command.

    make paper DATA=DIR
    make paper QUICK=1 DATA=DIR     # minutes: few epochs, small networks, two seeds

Each step is a separate command with a separate folder, so that a second start resumes where the
first one stopped. The last step writes `reproduction.md` and `report.html`.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

from experiments.config.cli import answer_usage
from sffa_jax.checks import check_choice, check_integer, reject


class Step(NamedTuple):
    """Attributes: command: name and options of an experiment; quick: further options of --quick;
    None: --quick skips the step."""

    command: str
    quick: str | None = None


_FIT = "--epochs 1"
_MAPS = "--epochs 1 --channels 4 8 16 --seeds 1"
_TASKS = "--seeds 1 --epochs 0.25 --hidden 100 100"

STEPS: dict[str, Step] = {
    "compare/digits": Step("compare", "--epochs 5"),
    "compare/paper_mnist": Step("compare --dataset mnist --preset paper --algorithms sffa", _FIT),
    "compare/paper_fashion_mnist": Step(
        "compare --dataset fashion_mnist --preset paper --algorithms sffa"
    ),
    "compare/released_mnist": Step(
        "compare --dataset mnist --preset released --selection validation --scaling training", _FIT
    ),
    "compare/released_fashion_mnist": Step(
        "compare --dataset fashion_mnist --preset released --selection validation "
        "--scaling training"
    ),
    **{
        f"compare/polar_ffa_{data}_{activation}": Step(
            f"compare --dataset {data} --preset polar_ffa --activation {activation} "
            "--algorithms sffa"
        )
        for data in ("mnist", "fashion_mnist")
        for activation in ("relu", "sigmoid", "tanh")
    },
    "compare/mnist": Step("compare --dataset mnist --hidden 1400", _FIT),
    "compare/fashion_mnist": Step("compare --dataset fashion_mnist --hidden 1400"),
    "compare/best_mnist": Step("compare --dataset mnist --preset best", f"{_FIT} --hidden 400"),
    "compare/best_fashion_mnist": Step(
        "compare --dataset fashion_mnist --preset best --input-dropout 0.15 --adversarial None"
    ),
    "compare/convolution_mnist": Step("compare --dataset mnist --preset best_convolution", _MAPS),
    "compare/convolution_fashion_mnist": Step(
        "compare --dataset fashion_mnist --preset best_convolution"
    ),
    "symmetry/mnist": Step(
        "symmetry --dataset mnist --epochs 5 --batch-size 256", "--epochs 1 --seeds 1 --no-sizes"
    ),
    "latents/mnist": Step(
        "latents --dataset mnist --hidden 1400 1400 --epochs 10",
        "--epochs 1 --hidden 100 100 --seeds 1 --probes 500 --embedded 100 --algorithms ffa sffa",
    ),
    "latents/fashion_mnist": Step("latents --dataset fashion_mnist --hidden 1400 1400 --epochs 10"),
    # 288 settings, one run each.
    "robustness/mnist": Step("robustness --dataset mnist --epochs 5 --batch-size 256 --seeds 1"),
    "continual/mnist": Step(
        "continual --dataset mnist --preset protocol", f"{_TASKS} --scenarios class"
    ),
    "continual/fashion_mnist": Step("continual --dataset fashion_mnist --preset protocol"),
    "continual/released_mnist": Step("continual --dataset mnist --preset released"),
    "continual/released_fashion_mnist": Step("continual --dataset fashion_mnist --preset released"),
    "continual/mnist_released": Step(
        "continual --dataset mnist --preset protocol --coupling released --scenarios class "
        "--strategies replay --algorithms sffa ffa",
        _TASKS,
    ),
    "continual/mnist_no_buffer": Step(
        "continual --dataset mnist --preset protocol --hidden 2000 --epochs 3 --batch-size 64 "
        "--scenarios class --algorithms sffa "
        "--strategies ncm slda class_subspaces slda_random slda_random_maps slda_maps",
        "--seeds 1 --epochs 0.25 --features 160",
    ),
    "continual/fashion_mnist_no_buffer": Step(
        "continual --dataset fashion_mnist --preset protocol --hidden 2000 --epochs 3 "
        "--batch-size 64 --scenarios class --algorithms sffa "
        "--strategies ncm slda class_subspaces slda_random slda_random_maps slda_maps"
    ),
    **{
        f"continual/{name}_activity_rehearsal": Step(
            f"continual --dataset {name} --preset maps --components 400 --learning-rate 3e-3 "
            f"--scenarios class --algorithms sffa {more} "
            "--strategies slda_components qda_components activity_rehearsal joint",
            "--seeds 1 --epochs 0.1 --features 64 --components 32 --hidden 64",
        )
        for name, more in {
            "mnist": "--features 800",
            "fashion_mnist": "--features 800 --lr-schedule cosine",
            "cifar10": "--features 1600 --lr-schedule cosine --strength qda_components=9",
        }.items()
    },
    "continual/mnist_convolution": Step(
        "continual --dataset mnist --preset best_convolution --learning-rate 1e-2 "
        "--negatives all --scenarios class --strategies replay none --algorithms sffa"
    ),
    "continual/mnist_released_convolution": Step(
        "continual --dataset mnist --preset convolution --scenarios class --strategies replay none"
    ),
}
"""Steps by folder, in order; the shortest come first."""


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

    @classmethod
    def defaults(cls, arguments: Sequence[str]) -> Self:
        """The options before the command line is read."""
        del arguments
        return cls()

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
