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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from experiments.config import options as shared
from experiments.config.recipe import Recipe
from experiments.harness.experiment import execute
from experiments.harness.results import Results, held, publish
from experiments.harness.trainer import Setting, train_settings
from experiments.reports.html import Picture, Section
from experiments.reports.style import ALGORITHM_NAMES, ALGORITHM_STYLES, new_axes, text_color
from sffa_jax.checks import check_choice, check_integer, check_range
from sffa_jax.scale.processes import leads

THRESHOLDS = {"ffa": ("ffa_threshold", (0.1, 0.3, 1.0)), "sffa": ("eps", (0.01, 0.1, 1.0))}
"""The grid's one axis that differs between the algorithms: around what each is tuned to."""

AXES = {"ffa_winners": "winners", "ffa_threshold": "threshold", "eps": "threshold"}
"""What a field of the recipe is called where both algorithms are compared."""


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


def accuracies(records: Sequence[Mapping[str, Any]], algorithm: str) -> np.ndarray:
    """Test accuracies of an algorithm's runs, sorted; a diverged run counts as 0."""
    found = [r["test_accuracy"] or 0.0 for r in records if r["algorithm"] == algorithm]
    return np.sort(found)


def distribution_table(
    records: Sequence[Mapping[str, Any]], algorithms: Sequence[str], failed_below: float
) -> list[list[str]]:
    """Quartiles of the accuracy over all settings, and the share that fails."""
    header = ["Algorithm", "Settings", "Worst", "Lower quartile", "Median", "Upper quartile"]
    table = [[*header, "Best", f"Below {100 * failed_below:g} %"]]
    for algorithm in algorithms:
        values = accuracies(records, algorithm)
        points = np.quantile(values, [0, 0.25, 0.5, 0.75, 1])
        failed = np.mean(values < failed_below)
        table.append(
            [
                ALGORITHM_NAMES[algorithm],
                str(len(values)),
                *(f"{100 * point:.2f}" for point in points),
                f"{100 * failed:.1f} % of settings",
            ]
        )
    return table


def by_value_table(
    records: Sequence[Mapping[str, Any]], algorithms: Sequence[str]
) -> list[list[str]]:
    """The median with one choice held fixed: which choices matter?"""
    table = [["Choice held fixed", *(f"{ALGORITHM_NAMES[a]}, median" for a in algorithms)]]
    rows: dict[str, dict[str, list[float]]] = {}
    for record in records:
        for key, value in record["changes"].items():
            axis = AXES.get(key, key)
            if axis == "winners" and value is not None:
                value = f"{2 * value / record['changes']['hidden'][0]:.2g} of each half"
            # The thresholds of the two algorithms are other numbers: compare low with low.
            if axis == "threshold":
                order = THRESHOLDS[record["algorithm"]][1]
                value = ("low", "middle", "high")[order.index(value)]
            rows.setdefault(f"{axis}: {value}", {}).setdefault(record["algorithm"], []).append(
                record["test_accuracy"] or 0.0
            )
    for name in sorted(rows):
        medians = [float(np.median(rows[name].get(a, [np.nan]))) for a in algorithms]
        table.append([name, *(f"{100 * median:.2f}" for median in medians)])
    return table


def distribution_figure(records: Sequence[Mapping[str, Any]], algorithms: Sequence[str]) -> Figure:
    """Accuracy of every setting, from the worst to the best."""
    figure, axes = new_axes("Test accuracy of every setting, from the worst to the best")
    for algorithm in algorithms:
        values = 100 * accuracies(records, algorithm)
        color, marker = ALGORITHM_STYLES[algorithm]
        share = 100 * (np.arange(len(values)) + 0.5) / len(values)
        axes.plot(
            share,
            values,
            color=color,
            marker=marker,
            markersize=3,
            linewidth=1,
            label=f"{ALGORITHM_NAMES[algorithm]}, median {np.median(values):.1f}",
        )
    axes.axvline(50, color=text_color(), linewidth=0.8, linestyle=":")
    axes.set_xlabel("Share of settings that are no better, %")
    axes.set_ylabel("Test accuracy, %")
    axes.legend()
    return figure


def section(results: Results) -> Section:
    """What there is to say of the runs."""
    options, records = results.options, results.records
    algorithms = list(dict.fromkeys(record["algorithm"] for record in records))
    distribution = distribution_table(records, algorithms, options["failed_below"])
    head, *rows = distribution
    return Section(
        title=f"Robustness of FFA and SFFA on {options['dataset']}",
        lead=(
            "Each setting of the grid is one training run on the same data; the epoch is "
            "chosen on a validation split, the setting is not chosen at all. A diverged run "
            "counts as 0 % right."
        ),
        tables={
            "Distribution over the grid": distribution,
            "One choice held fixed": by_value_table(records, algorithms),
        },
        pictures=[
            Picture(
                "distribution.png",
                "A dot a setting.",
                partial(distribution_figure, records, algorithms),
            )
        ],
        records=records,
        summary=pd.DataFrame(rows, columns=head),
        config=results.config,
        command=results.command,
    )


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
                options.parallel,
                options.at_once,
                {"dataset": options.dataset},
                options.checkpoint_seconds,
                options.devices_per_run,
            )
        if not leads():
            return
        publish(folder, section(held(folder, command)))


if __name__ == "__main__":
    sys.exit(execute(main, Options, "robustness"))
