"""The search for each algorithm's values, with the same budget for all; `tuning.jsonl` keeps it.

Every algorithm has the same number of trials, seeds and epochs, and the same points of a Sobol
sequence in the numbers that algorithms share. The trials of one algorithm are one sweep. A trial
never sees the test split: its accuracy is the validation split's.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from experiments.config.by_algorithm import recipe_for
from experiments.config.options import flag_of
from experiments.config.recipe import Recipe, Setting
from experiments.config.search_space import FIRST_SEED, draw_trials
from experiments.harness.grid import train_settings
from experiments.harness.queries import Records, where
from experiments.harness.records import TRIALS, read_lines
from experiments.harness.run_folder import RunFolder
from experiments.harness.schema import ROWS
from experiments.harness.splits import Splits, make_splits
from experiments.reports.names import algorithm_name
from sffa_jax.checks import reject
from sffa_jax.scale.placement import Placement
from sffa_jax.scale.processes import broadcast_from_main


@dataclass(frozen=True)
class Budget:
    """Size of the search, the same for each algorithm.

    Attributes:
      trials: number of points.
      seeds: number of seeds of each trial, from `FIRST_SEED`.
      epochs: of each trial; None: the recipe's.
    """

    trials: int
    seeds: int
    epochs: int | None = None


def read_trials(folder: Path) -> list[dict[str, Any]]:
    """Returns the trials that a folder keeps; none if nothing was tuned.

    Raises:
      ValueError: for a damaged file.
    """
    return read_lines(folder / TRIALS, ROWS["tune"])


def settings_of(recipe: Recipe, algorithm: str, budget: Budget) -> list[Setting]:
    """Returns the trials of one algorithm, in order."""
    fixed: dict[str, Any] = {"selection": "validation"}
    if budget.epochs is not None:
        fixed["epochs"] = budget.epochs
    numbers = draw_trials(recipe, algorithm, budget.trials)
    return [
        Setting(f"trial {i}", recipe_for(recipe, fixed | changes), changes)
        for i, changes in enumerate(numbers)
    ]


def mean_accuracies(trials: Records) -> dict[str, float]:
    """Returns the mean validation accuracy of each trial over its seeds, by name; that of a run
    that diverged is 0."""
    by_trial: dict[str, list[float]] = {}
    for trial in trials:
        by_trial.setdefault(trial["setting"], []).append(trial["validation_accuracy"] or 0.0)
    return {name: float(np.mean(values)) for name, values in by_trial.items()}


def best_trial(trials: Records, algorithm: str) -> tuple[dict[str, float], float]:
    """Returns the numbers of an algorithm's best trial (the first of equals), and its accuracy.

    Raises:
      ValueError: if all its trials diverged.
    """
    own = where(trials, algorithm=algorithm)
    means = mean_accuracies(own)
    best = max(means, key=means.__getitem__)
    if not means[best]:
        rule = "hold a trial that does not diverge"
        raise reject("tuning", algorithm, rule, f"{len(means)} that did")
    return dict(where(own, setting=best)[0]["changes"]), means[best]


def tuned_flags(algorithm: str, numbers: Mapping[str, float]) -> str:
    """Returns an algorithm's numbers as command-line words.

    >>> tuned_flags("bp", {"learning_rate": 0.003})
    '--bp.learning-rate 0.003'
    """
    return " ".join(flag_of(name, value, f"{algorithm}.") for name, value in numbers.items())


def validation_splits(
    splits: Splits, recipe: Recipe, validation: float, *, by_seed: bool = False
) -> Splits:
    """Returns the splits of the trials: the validation split (seed 0's, if seeds draw it) is also
    the test split."""
    if recipe.selection != "validation":
        tuned = dataclasses.replace(recipe, selection="validation")
        splits = make_splits(splits.dataset, tuned, validation, by_seed=by_seed)
    assert splits.validation is not None
    return dataclasses.replace(splits, test=splits.validation)


def tune(
    folder: RunFolder,
    recipes: Mapping[str, Recipe],
    budget: Budget,
    splits: Splits,
    placement: Placement | None,
    every_seconds: float,
) -> dict[str, dict[str, float]]:
    """Runs the trials that the folder lacks, and returns each algorithm's best numbers.

    The folder keeps every trial in `tuning.jsonl`, and the best numbers in `config.json`.

    Args:
      folder: the output folder.
      recipes: each algorithm's, whose other choices all trials have.
      budget: of each algorithm.
      splits: of the trials, see `validation_splits`.
      placement, every_seconds: as in `train_runs`.

    Raises:
      ValueError: if the folder's trials are those of another space.
    """
    trials = broadcast_from_main(lambda: read_trials(folder.path))
    best = {}
    for algorithm, recipe in recipes.items():
        settings = settings_of(recipe, algorithm, budget)
        expected = {setting.name: dict(setting.changes) for setting in settings}
        done = {(t["setting"], t["seed"]): t for t in where(trials, algorithm=algorithm)}
        for (name, _), trial in done.items():
            if expected.get(name) != trial["changes"]:
                raise ValueError(
                    f"{folder.path / TRIALS} holds a trial of other values: {algorithm}, {name}. "
                    "Delete the file, or choose another --out."
                )
        seeds = range(FIRST_SEED, FIRST_SEED + budget.seeds)
        left = [(s, [seed for seed in seeds if (s.name, seed) not in done]) for s in settings]
        for records in train_settings(
            settings,
            [(setting, of_setting) for setting, of_setting in left if of_setting],
            algorithm,
            lambda _: splits,
            folder,
            placement,
            budget.trials * budget.seeds,
            every_seconds,
        ):
            trials += [{name: record[name] for name in ROWS["tune"]} for record in records]
            folder.write_rows(TRIALS, trials)
        folder.clear_finished(algorithm, seeds)
        best[algorithm], accuracy = best_trial(trials, algorithm)
        Console(soft_wrap=True, highlight=False).print(
            f"{algorithm_name(algorithm)}, best of {budget.trials} trials: "
            f"{tuned_flags(algorithm, best[algorithm])} (validation {100 * accuracy:.2f} %)"
        )
    folder.keep(tuned=folder.config.get("tuned", {}) | best)
    return best
