"""Searches each algorithm's own numbers, with the same budget for all.

    python -m experiments.tune --dataset mnist --hidden 1400 --trials 32 --epochs 10

tries points of a Sobol sequence over learning rate, weight decay, input dropout, label smoothing
and each rule's own numbers, and chooses by the mean validation accuracy; no trial sees the test
split. It prints the chosen values as options of the other commands. `compare --tune N` searches,
then compares.
"""

import sys
from dataclasses import dataclass
from typing import Any, Self

from experiments.config import options as shared
from experiments.config.cli import answer_usage
from experiments.config.search_space import search_space
from sffa_jax.checks import check_choice, check_integer, reject


@dataclass(frozen=True)
class Options(shared.Options):
    """Search the settings of FFA, SFFA and backprop with the same budget."""

    seeds: int = 2
    """Number of seeds of each trial; the seeds are 1000 .. 1000 + N-1."""
    split: str = "seed"
    """Validation split: seed (each seed draws its own, as it draws its weights), or shared."""
    trials: int = 16
    """Number of trials of each algorithm."""

    def resolve(self) -> Self:
        """Checks every option."""
        check_choice("options", "split", self.split, shared.SPLITS)
        check_integer("options", "trials", self.trials, 1)
        if self.shard is not None:
            raise reject("options", "shard", "be left out: the trials are one sweep", self.shard)
        return super().resolve()

    def replaced(self, algorithm: str) -> dict[str, str]:
        names = search_space(self.recipe_of(algorithm), algorithm)
        return dict.fromkeys(names, "the search chooses it")

    def absent(self) -> dict[str, Any]:
        return super().absent() | {"split": "shared"}


if __name__ == "__main__":
    answer_usage(Options, "tune")

from experiments.harness.experiment import execute
from experiments.harness.run_folder import RunFolder
from experiments.harness.splits import data_record, load_splits
from experiments.harness.tuning import Budget, tune, validation_splits
from experiments.reports.sections import write_report
from sffa_jax.scale.processes import is_main_process


def main(options: Options) -> None:
    """Runs the trials that the output folder lacks and writes its report."""
    given, options = options, options.resolve()
    by_seed = options.split == "seed"
    splits = load_splits(options, by_seed=by_seed)
    recipes = {algorithm: options.recipe_of(algorithm) for algorithm in options.algorithms}
    for algorithm, recipe in recipes.items():
        splits.check(recipe, algorithm)
    with RunFolder(
        options.out,
        "tune",
        options.flat(),
        extra={"data": data_record(splits.dataset)},
        free=shared.RESUMABLE_OPTIONS,
        absent=options.absent(),
        tensorboard=options.tensorboard,
    ) as folder:
        folder.keep(command=given.command("tune", folder.config["options"]))
        tune(
            folder,
            recipes,
            Budget(options.trials, options.seeds),
            validation_splits(splits, options.recipe, options.validation, by_seed=by_seed),
            options.placement,
            options.checkpoint_seconds,
        )
        if is_main_process():
            write_report(folder)


if __name__ == "__main__":
    sys.exit(execute(main, Options, "tune"))
