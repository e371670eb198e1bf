"""What does each piece buy? From one preset to another, one switch at a time.

    python -m experiments.ablation --dataset mnist --data-dir DIR --epochs 20

Two readings. *Along the path*: each step adds one change to all those before it. *Taken back*: the
end of the path with one change undone, which shows what a piece still buys beside all others.
"""

import dataclasses
import sys
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Any

from experiments.config.grids import DEEP_ONLY, START, STEPS, WITHOUT
from experiments.config.options import Common, Splits, load_dataset, make_splits, open_folder
from experiments.config.presets import PRESETS
from experiments.config.recipe import Recipe
from experiments.harness.experiment import execute
from experiments.harness.trainer import Setting, train_settings
from experiments.reports.sections import write_report
from sffa_jax.checks import check_choice, reject
from sffa_jax.scale.processes import is_main_process


@dataclass(frozen=True)
class Options(Common):
    """Go from one preset to another, one change at a time, and measure what each change buys."""

    algorithms: tuple[str, ...] = ("sffa",)
    """Algorithms: ffa, sffa, bp."""
    seeds: int = 5
    """Number of seeds; the seeds are 0 .. N-1."""
    start: str = "released"
    """Preset at the start of the path."""
    end: str = "best"
    """Preset at its end."""
    epochs: int = 20
    """Passes over the training split, everywhere on the path."""
    hidden: tuple[int, ...] | None = None
    """Width of each hidden layer everywhere on the path; the presets' if left out."""
    batch_size: int | None = None
    """Images per update everywhere on the path; the presets' if left out."""
    taken_back: bool = True
    """Measure the end of the path with each change undone, too."""

    def ends(self) -> tuple[Recipe, Recipe]:
        """The recipes at both ends.

        Raises:
          ValueError: naming the first option that cannot be used.
        """
        self.check()
        said = {"epochs": self.epochs, "hidden": self.hidden, "batch_size": self.batch_size}
        fixed: dict[str, Any] = {name: value for name, value in said.items() if value is not None}
        recipes = []
        for name in ("start", "end"):
            check_choice("options", name, getattr(self, name), PRESETS)
            recipes.append(dataclasses.replace(PRESETS[getattr(self, name)], **fixed))
        return recipes[0], recipes[1]


def path(start: Recipe, end: Recipe, *, taken_back: bool = True) -> list[Setting]:
    """The settings from `start` to `end`, then `end` with each change undone.

    Raises:
      ValueError: if the recipes differ in a choice that no step names.
    """
    recipe = start
    along = [Setting(START, start, {})]
    for name, fields in STEPS.items():
        changes = {field: getattr(end, field) for field in fields}
        changes = {f: value for f, value in changes.items() if value != getattr(recipe, f)}
        shallow = len(start.hidden) == len(end.hidden) == 1
        recipe = dataclasses.replace(recipe, **changes)
        if changes and not (shallow and name in DEEP_ONLY):
            along.append(Setting(name, recipe, changes))
    if recipe != end:
        left = [f for f, v in dataclasses.asdict(end).items() if v != getattr(recipe, f)]
        raise reject("ablation", "end", "differ from the start in what STEPS names alone", left)
    back = []
    for setting in along[1:-1] if taken_back else ():
        undone = {field: getattr(start, field) for field in setting.changes}
        back.append(Setting(f"{WITHOUT}{setting.name}", dataclasses.replace(end, **undone), undone))
    return along + back


def main(options: Options) -> None:
    """Trains what is missing in the output folder and writes its report."""
    start, end = options.ends()
    settings = path(start, end, taken_back=options.taken_back)
    dataset = load_dataset(options)

    @cache
    def splits_by(selection: str, scaling: str) -> Splits:
        chosen = dataclasses.replace(end, selection=selection, scaling=scaling)
        return make_splits(dataset, chosen, options.validation)

    def splits_of(recipe: Recipe) -> Splits:
        return splits_by(recipe.selection, recipe.scaling)

    for setting in settings:
        setting.recipe.check()
        splits_of(setting.recipe).schedule(setting.recipe)
        for algorithm in options.algorithms:
            splits_of(setting.recipe).learner(setting.recipe, algorithm)
    cells = options.chosen(list(product(options.algorithms, settings)))
    with open_folder(options, "ablation", splits_of(start)) as folder:
        for algorithm in options.algorithms:
            train_settings(
                [(setting, seeds) for (of, setting), seeds in cells if of == algorithm],
                algorithm,
                splits_of,
                folder,
                options.placement,
                options.seeds,
                {"dataset": options.dataset},
                options.checkpoint_seconds,
            )
        if not is_main_process():
            return
        write_report(folder, options.command("ablation"))


if __name__ == "__main__":
    sys.exit(execute(main, Options, "ablation"))
