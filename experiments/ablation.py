"""Contribution of each change between two presets, one change at a time.

    python -m experiments.ablation --dataset mnist --data-dir DIR --epochs 20

The report has two parts. *Along the path*: each step adds one change to all earlier ones. *Taken
back*: the end of the path with one change undone, which shows the contribution of a change in the
presence of all others. A change without effect on an algorithm is no step of its path.
"""

import dataclasses
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Self

from experiments.config.by_algorithm import recipe_for
from experiments.config.cli import answer_usage
from experiments.config.effects import is_used
from experiments.config.grids import START, STEPS, WITHOUT
from experiments.config.options import Common
from experiments.config.presets import OWN_VALUES, PRESETS
from experiments.config.recipe import Recipe, Setting
from sffa_jax.checks import check_choice, reject


@dataclass(frozen=True)
class Options(Common):
    """Go from one preset to another, one change at a time, and measure each contribution."""

    algorithms: tuple[str, ...] = ("sffa",)
    """Algorithms: ffa, sffa, bp."""
    seeds: int = 5
    """Number of seeds; the seeds are 0 .. N-1."""
    start: str = "released"
    """Preset at the start of the path."""
    end: str = "best"
    """Preset at the end of the path."""
    epochs: int = 20
    """Passes over the training split, in every setting."""
    hidden: tuple[int, ...] | None = None
    """Width of each hidden layer, in every setting; the presets' if left out."""
    batch_size: int | None = None
    """Images per update, in every setting; the presets' if left out."""
    taken_back: bool = True
    """Also measure the end of the path with each change undone."""

    def resolve(self) -> Self:
        """Checks every option."""
        for name in ("start", "end"):
            check_choice("options", name, getattr(self, name), PRESETS)
        return super().resolve()

    def check_typed(self, typed: Collection[str], own: Mapping[str, Collection[str]]) -> None:
        """Raises ValueError for a typed option that has no effect."""
        del own  # no option is one algorithm's
        selections = {PRESETS[n].selection for n in (self.start, self.end) if n in PRESETS}
        if "validation" in typed and "validation" not in selections:
            rule = "be left out, because neither preset holds out training images"
            raise reject("options", "validation", rule, self.validation)

    def ends(self, algorithm: str) -> tuple[Recipe, Recipe]:
        """Returns an algorithm's recipes at both ends of the path."""
        values = {"epochs": self.epochs, "hidden": self.hidden, "batch_size": self.batch_size}
        given = {name: value for name, value in values.items() if value is not None}
        start, end = (
            recipe_for(PRESETS[name], OWN_VALUES.get(name, {}).get(algorithm, {}) | given)
            for name in (self.start, self.end)
        )
        return start, end


if __name__ == "__main__":
    answer_usage(Options, "ablation")

from experiments.harness.experiment import Plan, execute, run_experiment
from experiments.harness.failures import describe
from experiments.harness.grid import plan_grids
from experiments.harness.splits import Splits, load_dataset, make_splits


def settings_between(
    start: Recipe, end: Recipe, algorithm: str, *, taken_back: bool = True
) -> list[Setting]:
    """Returns the settings from `start` to `end`, then `end` with each change undone.

    Changes that have no effect on the algorithm are no settings of their own.

    Raises:
      ValueError: if the recipes differ in a choice that no step names.
    """
    recipe = start
    along = [Setting(START, start, {})]
    for name, fields in STEPS.items():
        changes = {field: getattr(end, field) for field in fields}
        changes = {f: value for f, value in changes.items() if value != getattr(recipe, f)}
        recipe = dataclasses.replace(recipe, **changes)
        if any(is_used(r, algorithm, field) for r in (recipe, end) for field in changes):
            along.append(Setting(name, recipe, changes))
    if recipe != end:
        left = [f for f, v in dataclasses.asdict(end).items() if v != getattr(recipe, f)]
        raise reject("ablation", "end", "differ from the start only in fields of STEPS", left)
    back = []
    for setting in along[1:-1] if taken_back else ():
        undone = {field: getattr(start, field) for field in setting.changes}
        back.append(Setting(f"{WITHOUT}{setting.name}", dataclasses.replace(end, **undone), undone))
    return along + back


def check_setting(setting: Setting, algorithm: str, splits: Splits, depths: Sequence[int]) -> None:
    """Raises ValueError for a setting that cannot be trained; `depths` are those of both ends."""
    try:
        setting.recipe.check()
        splits.check(setting.recipe, algorithm)
    except ValueError as error:
        failure = describe(error)
        if failure is None:
            raise
        message = f"ablation, setting {setting.name!r}: {failure.sentence}"
        if depths[0] != depths[1]:
            message += f" The start has {depths[0]} layers and the end {depths[1]}: choose ends of "
            message += "the same depth."
        raise ValueError(message) from None


def make_plan(options: Options) -> Plan:
    """One cell for each algorithm and setting."""
    ends = {algorithm: options.ends(algorithm) for algorithm in options.algorithms}
    settings_of = {
        algorithm: settings_between(*ends[algorithm], algorithm, taken_back=options.taken_back)
        for algorithm in options.algorithms
    }
    dataset = load_dataset(options)

    @cache
    def splits_by(selection: str, scaling: str) -> Splits:
        recipe = Recipe(selection=selection, scaling=scaling)
        return make_splits(dataset, recipe, options.validation)

    def splits_of(recipe: Recipe) -> Splits:
        return splits_by(recipe.selection, recipe.scaling)

    for algorithm, settings in settings_of.items():
        for setting in settings:
            depths = [end.depth for end in ends[algorithm]]
            check_setting(setting, algorithm, splits_of(setting.recipe), depths)

    return plan_grids(settings_of, options, dataset, splits_of, options.seeds)


def main(options: Options) -> None:
    """Trains the runs that the output folder lacks and writes its report."""
    run_experiment("ablation", options, make_plan)


if __name__ == "__main__":
    sys.exit(execute(main, Options, "ablation"))
