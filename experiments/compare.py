"""FFA, SFFA and backprop on the same images, batches and widths, over seeds.

    python -m experiments.compare --dataset mnist --data-dir DIR --hidden 1400 --epochs 10 --seeds 3

reaches a mean test accuracy of at least 97.5 % (SFFA), 94 % (FFA) and 98 % (backprop) within a
few minutes on two cores; `results/compare` contains every seed of a longer run.
"""

import dataclasses
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

from experiments.config import options as shared
from experiments.config.by_algorithm import recipe_for
from experiments.config.cli import answer_usage
from experiments.config.effects import scores_are_logits
from experiments.config.search_space import search_space
from experiments.reports.names import ALGORITHM_NAMES
from sffa_jax.checks import check_choice, check_integer, reject


@dataclass(frozen=True)
class Options(shared.Options):
    """Train FFA, SFFA and backprop on every seed and compare their test accuracies."""

    split: str = "seed"
    """Validation split: seed (each seed draws its own, as it draws its weights), or shared."""
    save_networks: bool = False
    """Save the network of every run under --out."""
    tune: int = 0
    """Search each algorithm's learning rate and further numbers first, with so many trials each, on
    the validation split; 0: no search."""
    tune_seeds: int = 2
    """Number of seeds of each trial; the seeds are 1000 .. 1000 + N-1."""
    tune_epochs: int | None = None
    """Passes over the training split in each trial; those of the runs if left out."""

    def resolve(self) -> Self:
        """Checks every option."""
        check_choice("options", "split", self.split, shared.SPLITS)
        check_integer("options", "tune", self.tune, 0)
        check_integer("options", "tune_seeds", self.tune_seeds, 1)
        if self.tune_epochs is not None:
            check_integer("options", "tune_epochs", self.tune_epochs, 1)
        if self.tune and self.shard is not None:
            advice = "Tune first, with experiments.tune, and give each part the tuned values."
            raise reject("options", "tune", "be 0 with --shard", self.tune, advice)
        resolved = super().resolve()
        if self.recipe.selection != "validation" and not self.tune:  # nothing is held out
            resolved = dataclasses.replace(resolved, split="shared")
        return resolved

    def replaced(self, algorithm: str) -> dict[str, str]:
        names = search_space(self.recipe_of(algorithm), algorithm) if self.tune else ()
        return dict.fromkeys(names, "the search chooses it")

    def absent(self) -> dict[str, Any]:
        return super().absent() | {"split": "shared"}


if __name__ == "__main__":
    answer_usage(Options, "compare")

from experiments.harness.experiment import Cell, Missing, Plan, execute, run_experiment
from experiments.harness.predictions import describe
from experiments.harness.run_folder import RunFolder
from experiments.harness.splits import data_record
from experiments.harness.streamed_runs import train_streamed
from experiments.harness.streamed_splits import StreamedSplits, load_or_stream
from experiments.harness.trainer import train_runs
from experiments.harness.tuning import Budget, tune, validation_splits


def check_networks(folder: RunFolder) -> None:
    """Raises ValueError if a finished run has kept no network: it cannot be saved any more."""
    runs = [f"{record['algorithm']}-{record['seed']}" for record in folder.records]
    lost = [run for run in runs if not (folder.path / "networks" / f"{run}.npz").exists()]
    if lost:
        got = f"{len(lost)} finished runs without a network in {folder.path} ({lost[0]}, ...)"
        advice = (
            "Networks are saved when a run ends: leave the option out, or choose another --out."
        )
        raise reject("options", "save_networks", "be given at the first start", got, advice)


def make_plan(options: Options) -> Plan:
    """One cell for each algorithm."""
    by_seed = options.split == "seed"
    splits = load_or_stream(options, by_seed=by_seed)
    for algorithm in options.algorithms:
        splits.check(options.recipe_of(algorithm), algorithm)

    def run(folder: RunFolder, missing: Missing) -> Iterator[list[dict[str, Any]]]:
        if options.save_networks:
            check_networks(folder)
        recipes = {name: options.recipe_of(name) for name in options.algorithms}
        if options.tune and missing:
            best = tune(
                folder,
                recipes,
                Budget(options.tune, options.tune_seeds, options.tune_epochs),
                validation_splits(splits, options.recipe, options.validation, by_seed=by_seed),
                options.placement,
                options.checkpoint_seconds,
            )
            recipes = {name: recipe_for(recipe, best[name]) for name, recipe in recipes.items()}
        for cell, seeds in missing:
            algorithm = cell.names["algorithm"]
            shared: dict[str, Any] = {
                "recipe": recipes[algorithm],
                "algorithm": algorithm,
                "seeds": seeds,
                "label": ALGORITHM_NAMES[algorithm],
                "checkpoints": folder.checkpoints(algorithm),
                "every_seconds": options.checkpoint_seconds,
                "describe": partial(
                    describe,
                    dataset=splits.dataset,
                    probable=scores_are_logits(recipes[algorithm].score, algorithm),
                ),
                "networks": folder.path / "networks" if options.save_networks else None,
                "events": folder.events((algorithm, f"seed-{seed}") for seed in seeds),
            }
            trained = (
                train_streamed(splits=splits, **shared)
                if isinstance(splits, StreamedSplits)
                else train_runs(
                    splits=splits,
                    placement=options.placement,
                    choose=partial(folder.placement, ALGORITHM_NAMES[algorithm]),
                    **shared,
                )
            )
            for records in trained:
                yield [{**cell.names, **record} for record in records]

    cells = [Cell({"algorithm": algorithm}) for algorithm in options.algorithms]
    return Plan(cells, run, data_record(splits.dataset))


def main(options: Options) -> None:
    """Trains the runs that the output folder lacks and writes its report."""
    run_experiment("compare", options, make_plan)


if __name__ == "__main__":
    sys.exit(execute(main, Options, "compare"))
