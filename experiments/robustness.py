"""How much do FFA and SFFA depend on being tuned? Accuracy over a whole grid of settings.

    python -m experiments.robustness --dataset mnist --data-dir DIR

Every combination of learning rate, density of the label's code, winners, threshold (FFA's
threshold, SFFA's eps), width and activation is trained once; what counts is the distribution: its
median, its quartiles, and the share of settings that fail. The claim that polarised layers depend
less on their settings is that of Terres-Escudero et al. 2024, arXiv:2408.09210.
"""

import dataclasses
import itertools
import sys
from dataclasses import dataclass
from typing import Any

from experiments.config import options as shared
from experiments.config.grids import THRESHOLDS
from experiments.config.recipe import Recipe
from experiments.harness.experiment import execute
from experiments.harness.trainer import Setting, train_settings
from experiments.reports.sections import write_report
from sffa_jax.checks import check_choice, check_integer, check_range
from sffa_jax.scale.processes import is_main_process


@dataclass(frozen=True)
class Options(shared.Options):
    """Train FFA and SFFA on a grid of settings and compare the distributions of accuracy.

    Options that the grid varies (learning rate, density, winners, threshold, width, activation)
    have no effect by themselves; all others hold everywhere.
    """

    algorithms: tuple[str, ...] = ("ffa", "sffa")
    """Algorithms: ffa, sffa."""
    seeds: int = 1
    """Number of seeds per setting; the seeds are 0 .. N-1."""
    learning_rates: tuple[float, ...] = (3e-4, 1e-3, 3e-3)
    """Learning rates of the grid."""
    densities: tuple[float, ...] = (0.1, 0.3)
    """Shares of ones in the label's code."""
    shares: tuple[float, ...] = (1.0, 0.05)
    """Shares of each half's units that win; 1 keeps all."""
    widths: tuple[int, ...] = (400, 1000)
    """Widths of each of the recipe's hidden layers."""
    activations: tuple[str, ...] = ("relu", "sigmoid")
    """Activations."""
    failed_below: float = 0.9
    """A setting whose test accuracy is lower, or that diverges, counts as failed."""
    at_once: int = 18
    """Runs in one program, at most: bounds memory."""


def grid(options: Options, algorithm: str) -> list[Setting]:
    """Every combination of the grid's values."""
    field, thresholds = THRESHOLDS[algorithm]
    settings = []
    for width, activation, share, rate, density, threshold in itertools.product(
        options.widths,
        options.activations,
        options.shares,
        options.learning_rates,
        options.densities,
        thresholds,
    ):
        winners = None if share == 1 else max(1, round(share * width / 2))
        changes: dict[str, Any] = {
            "hidden": (width,) * len(options.recipe.hidden),
            "activation": activation,
            "winners" if algorithm == "sffa" else "ffa_winners": winners,
            "learning_rate": rate,
            "overlay_density": density,
            field: threshold,
        }
        recipe = dataclasses.replace(options.recipe, overlay="appended_pattern", **changes)
        name = ", ".join(f"{key} {value}" for key, value in changes.items())
        settings.append(Setting(name, recipe, changes))
    return settings


def main(options: Options) -> None:
    """Trains what is missing in the output folder and writes its report."""
    command = options.command("robustness")
    for algorithm in options.algorithms:
        check_choice("robustness", "algorithms", algorithm, THRESHOLDS)
    check_integer("robustness", "at_once", options.at_once, 1)
    for share in options.shares:
        check_range("robustness", "shares", share, above=0, at_most=1)
    options = options.resolve()
    splits = shared.load_splits(options)
    grids = {algorithm: grid(options, algorithm) for algorithm in options.algorithms}
    for algorithm, settings in grids.items():
        for setting in settings:
            setting.recipe.check()
            splits.learner(setting.recipe, algorithm)
        splits.schedule(settings[0].recipe)

    def splits_of(_: Recipe) -> shared.Splits:
        return splits

    cells = options.chosen([(name, setting) for name in grids for setting in grids[name]])
    with shared.open_folder(options, "robustness", splits) as folder:
        for algorithm in options.algorithms:
            train_settings(
                [(setting, seeds) for (of, setting), seeds in cells if of == algorithm],
                algorithm,
                splits_of,
                folder,
                options.placement,
                options.at_once,
                {"dataset": options.dataset},
                options.checkpoint_seconds,
            )
        if not is_main_process():
            return
        write_report(folder, command)


if __name__ == "__main__":
    sys.exit(execute(main, Options, "robustness"))
