"""FFA, SFFA and backprop on the same images, batches and widths, over seeds.

    python -m experiments.compare --dataset mnist --data-dir DIR --hidden 1400 --epochs 10 --seeds 3

reaches a mean test accuracy of at least 97.5 % (SFFA), 94 % (FFA) and 98 % (backprop) within a
few minutes on two cores; `results/compare` holds every seed of a longer one.
"""

import sys
from dataclasses import dataclass

from rich.console import Console

from experiments.config import options as shared
from experiments.harness.experiment import execute
from experiments.harness.trainer import train_runs
from experiments.reports.sections import write_report
from experiments.reports.style import ALGORITHM_NAMES
from sffa_jax.scale.processes import is_main_process


@dataclass(frozen=True)
class Options(shared.Options):
    """Train FFA, SFFA and backprop on every seed and compare their test accuracies."""

    save_networks: bool = False
    """Keep every run's network under --out, for sffa_jax.checkpoint.load."""


def main(options: Options) -> None:
    """Runs what is missing in the output folder and writes its report."""
    command = options.command("compare")
    options = options.resolve()
    splits = shared.load_splits(options)
    # Built first: a wrong option must end the command before it leaves a folder behind.
    splits.schedule(options.recipe)
    for algorithm in options.algorithms:
        splits.learner(options.recipe, algorithm)
    console = Console()
    with shared.open_folder(options, "compare", splits) as folder:
        for algorithm, seeds in options.chosen(options.algorithms):
            names = {"dataset": options.dataset, "algorithm": algorithm}
            missing = [s for s in seeds if not folder.is_done(**names, seed=s)]
            if not missing:
                continue
            label = ALGORITHM_NAMES[algorithm]
            trained = train_runs(
                options.recipe,
                algorithm,
                missing,
                splits,
                options.placement,
                console,
                label,
                checkpoints=folder.checkpoints(algorithm),
                every_seconds=options.checkpoint_seconds,
                networks=folder.path / "networks" if options.save_networks else None,
                events=folder.events((algorithm, f"seed-{seed}") for seed in missing),
            )
            for records in trained:
                folder.append(*(names | record for record in records))
        if not is_main_process():
            return
        write_report(folder, command)


if __name__ == "__main__":
    sys.exit(execute(main, Options, "compare"))
