"""What does each piece buy? From one preset to another, one switch at a time.

    python -m experiments.ablation --dataset mnist --data-dir DIR --epochs 20

Two readings. *Along the path*: each step adds one change to all those before it. *Taken back*: the
end of the path with one change undone, which shows what a piece still buys beside all others.
"""

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from experiments.config.options import Common, Splits, load_dataset, make_splits, open_folder
from experiments.config.presets import PRESETS
from experiments.config.recipe import Recipe
from experiments.harness.experiment import execute
from experiments.harness.results import Results, held, publish, restored
from experiments.harness.trainer import Setting, train_settings
from experiments.reports import comparison, intervals
from experiments.reports.html import Picture, Section
from experiments.reports.style import ALGORITHM_NAMES, ALGORITHM_STYLES, new_axes
from sffa_jax.checks import check_choice, reject
from sffa_jax.scale.processes import leads

STEPS: dict[str, tuple[str, ...]] = {
    "epoch chosen without the test set": ("selection",),
    "pixels scaled by the set's own statistics": ("scaling",),
    "learning rate": ("learning_rate",),
    "batch size": ("batch_size",),
    "initializer": ("initializer",),
    "learning rate's decay": ("decay",),
    "no activity term": ("activity_rate",),
    "no clipping": ("clip",),
    "no winners": ("winners", "ffa_winners"),
    "label code": ("overlay",),
    "input skip": ("input_skip",),
    "normalization": ("normalize", "joint_length"),
    "prediction rule": ("prediction",),
    "layer schedule": ("layer_schedule",),
    "logit scale, eps and threshold": (
        *("logit_scale", "eps", "measure"),
        *("ffa_threshold", "ffa_logit_scale", "ffa_measure"),
    ),
    "all wrong labels": ("negatives",),
    "softmax over the labels": ("loss",),
    "label smoothing": ("label_smoothing",),
    "first layer not scored": ("first_scored",),
    "input dropout": ("input_dropout",),
    "adversarial images": ("adversarial",),
    "layers": ("hidden", "channels", "kernel", "stride", "padding", "pool"),
}
"""The changes in the order they are made, and the choices each consists of."""

DEEP_ONLY = (
    *("input skip", "normalization", "prediction rule", "layer schedule"),
    "first layer not scored",
)
"""Changes that a network of one layer does not feel."""

WITHOUT = "without: "
"""How the names of settings that take a change back begin."""

Records = Sequence[Mapping[str, Any]]


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
    along = [Setting("start", start, {})]
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


def along_the_path(settings: Sequence[Setting]) -> list[str]:
    """The names of the settings from the start to the end, without those that take back."""
    return [setting.name for setting in settings if not setting.name.startswith(WITHOUT)]


def accuracies(records: Records, setting: str, algorithm: str) -> dict[int, float]:
    """Test accuracy of each seed of a setting that did not diverge."""
    of_setting = [record for record in records if record["setting"] == setting]
    return comparison.accuracies(of_setting).get(algorithm, {})


def effects(records: Records, settings: Sequence[Setting], algorithm: str) -> list[list[str]]:
    """A row a setting: its accuracy, and what its change buys with interval and paired test."""
    along = along_the_path(settings)
    table = [["Step", "Test accuracy, %", "The change buys, points", "p (paired t)"]]
    for setting in settings:
        values = accuracies(records, setting.name, algorithm)
        if setting.name == along[0]:
            pair = {}
        elif setting.name in along:
            before = along[along.index(setting.name) - 1]
            pair = {"after": values, "before": accuracies(records, before, algorithm)}
        else:
            pair = {"end": accuracies(records, along[-1], algorithm), "without": values}
        tests = intervals.paired_tests(pair)
        p = tests[0].p if tests else None
        table.append(
            [
                setting.name,
                intervals.with_bounds(list(values.values())) if values else "all diverged",
                tests[0].difference.with_bounds() if tests else "-",
                "-" if p is None else f"{p:.2g}",
            ]
        )
    return table


def path_figure(records: Records, settings: Sequence[Setting], algorithms: Sequence[str]) -> Figure:
    """Accuracy along the path, a line an algorithm, with 95 % intervals over seeds."""
    along = along_the_path(settings)
    figure, axes = new_axes("Test accuracy, change by change from left to right", 8.6)
    for algorithm in algorithms:
        color, marker = ALGORITHM_STYLES[algorithm]
        means, halves = [], []
        for name in along:
            values = list(accuracies(records, name, algorithm).values())
            of = intervals.mean_interval(values) if values else None
            means.append(np.nan if of is None else 100 * of.mean)
            halves.append(0.0 if of is None else 100 * of.half_width)
        axes.errorbar(
            range(len(along)),
            means,
            halves,
            color=color,
            marker=marker,
            capsize=3,
            label=ALGORITHM_NAMES[algorithm],
        )
    axes.set_xticks(range(len(along)), along, rotation=35, ha="right", fontsize=8)
    axes.set_ylabel("Test accuracy, %")
    axes.legend()
    return figure


def section(results: Results) -> Section:
    """What there is to say of the runs."""
    options: Options = restored(Options, results.options)
    records, settings = results.records, path(*options.ends(), taken_back=options.taken_back)
    tables = {
        f"{ALGORITHM_NAMES[algorithm]}: what each change buys": effects(
            records, settings, algorithm
        )
        for algorithm in options.algorithms
    }
    rows = [[title.partition(":")[0], *row] for title, t in tables.items() for row in t[1:]]
    head = next(iter(tables.values()))[0]
    return Section(
        title=f"From {options.start} to {options.end} on {options.dataset}",
        lead=(
            "Each step adds one change to all those before it; 'without' is the end of the "
            "path with that one change undone. Differences are paired by seed, with 95 % "
            "intervals. The first step's epoch is chosen on the test set if the preset says so "
            "(released does): its accuracy is too high by that choice."
        ),
        tables=tables,
        pictures=[
            Picture(
                "path.png",
                "Mean and 95 % interval over seeds.",
                partial(path_figure, records, settings, options.algorithms),
            )
        ],
        records=records,
        summary=pd.DataFrame(rows, columns=["Algorithm", *head]),
        config=results.config,
        command=results.command,
    )


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
                options.parallel,
                options.seeds,
                {"dataset": options.dataset},
                options.checkpoint_seconds,
                options.devices_per_run,
            )
        if not leads():
            return
        publish(folder, section(held(folder, options.command("ablation"))))


if __name__ == "__main__":
    sys.exit(execute(main, Options, "ablation"))
