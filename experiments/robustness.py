"""Accuracy of FFA and SFFA over a grid of settings: how sensitive are they to tuning?

    python -m experiments.robustness --dataset mnist --data-dir DIR

trains runs for every combination of learning rate, density of the label code, winners, width,
activation, and the number on which each algorithm depends most (FFA's threshold, or its logit
scale where the loss cancels the threshold; SFFA's logit scale). The report shows the distribution
of accuracy: median, quartiles, and the fraction of runs that fail. It tests the claim that
polarized layers are less sensitive to their settings: Terres-Escudero et al. 2024,
arXiv:2408.09210.
"""

import dataclasses
import itertools
import sys
from dataclasses import dataclass
from typing import Any, Self

from experiments.config import options as shared
from experiments.config.cli import answer_usage
from experiments.config.effects import is_used
from experiments.config.grids import OWN_AXES
from experiments.config.recipe import Recipe, Setting
from sffa_jax.checks import check_choice, check_integer, check_range, reject


@dataclass(frozen=True)
class Options(shared.Options):
    """Train FFA and SFFA on a grid of settings and compare the distributions of accuracy.

    The grid sets learning rate, overlay and its density, winners, width, activation, FFA's
    threshold (its logit scale with a loss other than bce) and SFFA's --sffa-axis; all other options
    apply to every run. The overlay is always appended_pattern, the one with a density.
    """

    algorithms: tuple[str, ...] = ("ffa", "sffa")
    """Algorithms: ffa, sffa."""
    seeds: int = 1
    """Number of seeds per setting; the seeds are 0 .. N-1."""
    learning_rates: tuple[float, ...] = (3e-4, 1e-3, 3e-3)
    """Learning rates of the grid."""
    densities: tuple[float, ...] = (0.1, 0.3)
    """Fractions of ones in the label code."""
    shares: tuple[float, ...] = (1.0, 0.05)
    """Fractions of each half's units that win; 1 keeps all."""
    widths: tuple[int, ...] = (400, 1000)
    """Widths of each of the recipe's hidden layers."""
    activations: tuple[str, ...] = ("relu", "sigmoid")
    """Activations."""
    sffa_axis: str = "logit_scale"
    """Number of SFFA that the grid varies, as it varies FFA's threshold: logit_scale or eps."""
    failed_below: float = 0.9
    """A run fails if its test accuracy, a fraction, is lower, or if it diverges."""
    at_once: int = 18
    """Maximum number of runs in one program, which limits memory."""

    def resolve(self) -> Self:
        """Checks every option."""
        for algorithm in self.algorithms:
            check_choice("robustness", "algorithms", algorithm, OWN_AXES)
        check_choice("robustness", "sffa_axis", self.sffa_axis, OWN_AXES["sffa"])
        check_integer("robustness", "at_once", self.at_once, 1)
        for fraction in self.shares:
            check_range("robustness", "shares", fraction, above=0, at_most=1)
        check_range("robustness", "failed_below", self.failed_below, at_least=0, at_most=1)
        return super().resolve()

    def replaced(self, algorithm: str) -> dict[str, str]:
        winners = "winners" if algorithm == "sffa" else "ffa_winners"
        names = ("learning_rate", "overlay", "overlay_density", "activation", winners)
        by_grid = dict.fromkeys((*names, self.own_axis(algorithm)), "the grid sets it")
        # With more layers, --hidden still sets their number.
        return by_grid | ({"hidden": "--widths sets it"} if len(self.recipe.hidden) == 1 else {})

    def own_axis(self, algorithm: str) -> str:
        """Returns the number that the grid varies for this algorithm only."""
        if algorithm == "sffa":
            return self.sffa_axis
        threshold = is_used(self.recipe_of("ffa"), "ffa", "ffa_threshold")
        return "ffa_threshold" if threshold else "ffa_logit_scale"


if __name__ == "__main__":
    answer_usage(Options, "robustness")

from experiments.harness.experiment import Plan, execute, run_experiment
from experiments.harness.grid import plan_grids
from experiments.harness.splits import load_splits


def grid(options: Options, algorithm: str) -> list[Setting]:
    """Returns every combination of the grid's values.

    Raises:
      ValueError: if two combinations are the same.
    """
    base = options.recipe_of(algorithm)
    field = options.own_axis(algorithm)
    settings: dict[Recipe, Setting] = {}
    for width, activation, fraction, rate, density, value in itertools.product(
        options.widths,
        options.activations,
        options.shares,
        options.learning_rates,
        options.densities,
        OWN_AXES[algorithm][field],
    ):
        winners = None if fraction == 1 else max(1, round(fraction * width / 2))
        changes: dict[str, Any] = {
            "hidden": (width,) * len(base.hidden),
            "activation": activation,
            "winners" if algorithm == "sffa" else "ffa_winners": winners,
            "learning_rate": rate,
            "overlay_density": density,
            field: value,
        }
        recipe = dataclasses.replace(base, overlay="appended_pattern", **changes)
        name = ", ".join(f"{key} {value}" for key, value in changes.items())
        if recipe in settings:
            advice = "A value is given twice, or two of --shares keep as many units."
            raise reject("robustness", "grid", "hold each setting once", f"{name} again", advice)
        settings[recipe] = Setting(name, recipe, changes)
    return [*settings.values()]


def make_plan(options: Options) -> Plan:
    """One cell for each algorithm and combination."""
    splits = load_splits(options)
    grids = {algorithm: grid(options, algorithm) for algorithm in options.algorithms}
    for algorithm, settings in grids.items():
        for setting in settings:
            setting.recipe.check()
            splits.check(setting.recipe, algorithm)

    return plan_grids(grids, options, splits.dataset, lambda _: splits, options.at_once)


def main(options: Options) -> None:
    """Trains the runs that the output folder lacks and writes its report."""
    run_experiment("robustness", options, make_plan)


if __name__ == "__main__":
    sys.exit(execute(main, Options, "robustness"))
