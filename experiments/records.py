"""Records: deep networks of local SFFA layers beside FFA, local linear heads and backprop.

    python -m experiments.records --dataset cifar10 --data-dir DIR --only cifar10_2_cores

Each row is a recipe of `experiments/config/record_rows.py`. The command resumes: interrupt it at
any time and run it again. `timeout -s INT 235 python -m experiments.records ...` is a step of four
minutes.
"""

import dataclasses
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, Self

from experiments.config.cli import answer_usage
from experiments.config.options import Common
from experiments.config.record_rows import COMPARED, ROWS, rows_of
from sffa_jax.checks import check_choice, check_integer, reject


@dataclass(frozen=True)
class Options(Common):
    """Train the rows of the table of records: SFFA, FFA, local linear heads and backprop."""

    dataset: str = "all"
    """Rows of this data set: mnist, fashion_mnist, cifar10, or all, each in its own folder."""
    algorithms: tuple[str, ...] = COMPARED
    """Algorithms, of those that a row names: sffa, ffa, bp; and a control, head (a local linear
    classifier)."""
    seeds: int = 3
    """Number of seeds; the seeds are 0 .. N-1."""
    only: tuple[str, ...] = ()
    """Rows to train, by name; none given: all."""
    epochs: int | None = None
    """Passes over the training images in all rows; None: those of each row."""

    def check_typed(self, typed: Collection[str], own: Mapping[str, Collection[str]]) -> None:
        """Raises ValueError for a typed option that has no effect."""
        del own  # no option is one algorithm's
        rows = [ROWS[name] for name in self.only or ROWS if name in ROWS]
        of_data = [row for row in rows if self.dataset in (row.dataset, "all")]
        if "validation" in typed and of_data and not any(row.chooses_layers for row in of_data):
            rule = "be left out, because these rows hold out no training images"
            raise reject("options", "validation", rule, self.validation)

    def parts(self) -> list[Self]:
        """Returns the options of each data set."""
        if self.epochs is not None:
            check_integer("options", "epochs", self.epochs, 1, "None: those of each row.")
        known = tuple(dict.fromkeys(row.dataset for row in ROWS.values()))
        check_choice("options", "dataset", self.dataset, (*known, "all"))
        trained = {
            name: {algorithm for row in rows.values() for algorithm in row.algorithms}
            for name in known
            if self.dataset in (name, "all") and (rows := rows_of(name, self.only))
        }
        if not trained:
            rule = f"name rows of {self.dataset}: {', '.join(rows_of(self.dataset, ()))}"
            raise reject("options", "only", rule, ", ".join(self.only))
        chosen = [name for name in trained if trained[name] & {*self.algorithms}]
        if not chosen:
            every = sorted(set().union(*trained.values()))
            rule = f"include one that these rows train: {', '.join(every)}"
            raise reject("options", "algorithms", rule, ", ".join(self.algorithms))
        folder = self.out or Path("runs/records")
        return [
            dataclasses.replace(
                self,
                dataset=name,
                only=tuple(rows_of(name, self.only)),
                out=self.out if self.dataset == name and self.out else folder / name,
            )
            for name in chosen
        ]

    def chosen(self, cells: Sequence[Any]) -> list[tuple[Any, list[int]]]:
        """Returns the cells of the rows that are asked for, each with its seeds."""
        return super().chosen([cell for cell in cells if cell.names["setting"] in self.only])


if __name__ == "__main__":
    answer_usage(Options, "records")

from experiments.config.recipe import Recipe
from experiments.harness.experiment import Cell, Missing, Plan, execute, run_experiment
from experiments.harness.record_runs import choose_layers, of_few_images
from experiments.harness.run_folder import RunFolder
from experiments.harness.splits import Splits, data_record, load_dataset, make_splits
from experiments.harness.trainer import train_runs
from experiments.reports.names import ALGORITHM_NAMES


def make_plan(options: Options) -> Plan:
    """One cell for each algorithm and row."""
    dataset = load_dataset(options)
    rows = rows_of(options.dataset, ())  # the folder may hold others than those asked for

    @cache
    def splits_by(images: int | None, selection: str, scaling: str) -> Splits:
        part = dataset if images is None else of_few_images(dataset, images)
        return make_splits(part, Recipe(selection=selection, scaling=scaling), options.validation)

    def splits_of(name: str) -> Splits:
        row = rows[name]
        return splits_by(row.images, row.recipe.selection, row.recipe.scaling)

    def recipe_of(name: str, algorithm: str) -> Recipe:
        recipe = rows[name].recipe_of(algorithm)
        return dataclasses.replace(recipe, epochs=options.epochs or recipe.epochs)

    cells = [
        Cell({"algorithm": algorithm, "setting": name}, row)
        for name, row in rows.items()
        for algorithm in row.algorithms
        if algorithm in options.algorithms
    ]
    for name in options.only:
        rows[name].recipe.check()
        splits = splits_of(name)
        for algorithm in rows[name].algorithms:
            splits.check(recipe_of(name, algorithm), algorithm)

    def run(folder: RunFolder, missing: Missing) -> Iterator[list[dict[str, Any]]]:
        for cell, seeds in missing:
            row, name, algorithm = cell.content, cell.names["setting"], cell.names["algorithm"]
            label = f"{name}, {ALGORITHM_NAMES[algorithm]}"
            recipe, splits = recipe_of(name, algorithm), splits_of(name)
            if row.chooses_layers and algorithm != "bp":
                known = folder.config.get("scored", {})
                if label not in known:
                    pilot = f"{label}, layers", folder.checkpoints("layers")
                    layers = choose_layers(recipe, algorithm, splits.dataset, options, *pilot)
                    known = known | {label: layers}
                    folder.keep(scored=known)
                first, last = known[label]
                recipe = dataclasses.replace(recipe, first_scored=first, last_scored=last)
            for records in train_runs(
                recipe,
                algorithm,
                seeds,
                splits,
                options.placement,
                label,
                checkpoints=folder.checkpoints(algorithm),
                every_seconds=options.checkpoint_seconds,
                events=folder.events((algorithm, name, f"seed-{seed}") for seed in seeds),
                choose=partial(folder.placement, label),
            ):
                about = {
                    "recipe": dataclasses.asdict(recipe),
                    "images": splits.num_training,
                    "tested_on": "test set" if row.images is None else "held-out training images",
                }
                for record in records:
                    del record["history"]  # learning curves would make the results large
                yield [{**cell.names, **about, **record} for record in records]

    return Plan(cells, run, data_record(dataset))


def main(options: Options) -> None:
    """Trains the runs that the output folders lack and writes their reports."""
    for part in options.parts():
        run_experiment("records", part, make_plan)


if __name__ == "__main__":
    sys.exit(execute(main, Options, "records"))
