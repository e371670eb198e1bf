"""Tables and figure of the robustness experiment, made from its records and `config.json`."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from experiments.config.grids import THRESHOLDS
from experiments.harness.results import Results
from experiments.reports.html_report import Picture, Section
from experiments.reports.names import ALGORITHM_NAMES
from experiments.reports.style import ALGORITHM_STYLES, new_axes, text_color

Records = Sequence[Mapping[str, Any]]

AXES = {"ffa_winners": "winners", "ffa_threshold": "threshold", "eps": "threshold"}
"""Common names of the recipe's fields that differ between the algorithms."""


def accuracies(records: Records, algorithm: str) -> np.ndarray:
    """Returns the sorted test accuracies of an algorithm's runs; a diverged run counts as 0."""
    return np.sort([r["test_accuracy"] or 0.0 for r in records if r["algorithm"] == algorithm])


def algorithms_of(records: Records) -> list[str]:
    """Returns each algorithm that has records, once, in their order."""
    return list(dict.fromkeys(record["algorithm"] for record in records))


def distribution_table(records: Records, failed_below: float) -> list[list[str]]:
    """Makes a row for each algorithm: quartiles of the accuracy over all settings, and the
    fraction of settings that fails."""
    header = ["Algorithm", "Settings", "Worst", "Lower quartile", "Median", "Upper quartile"]
    table = [[*header, "Best", f"Below {100 * failed_below:g} %"]]
    for algorithm in algorithms_of(records):
        values = accuracies(records, algorithm)
        quartiles = np.quantile(values, [0, 0.25, 0.5, 0.75, 1])
        failed = np.mean(values < failed_below)
        table.append(
            [
                ALGORITHM_NAMES[algorithm],
                str(len(values)),
                *(f"{100 * quartile:.2f}" for quartile in quartiles),
                f"{100 * failed:.1f} % of settings",
            ]
        )
    return table


def by_value_table(records: Records) -> list[list[str]]:
    """Makes a row for each value of each axis: the median over the settings that have it."""
    algorithms = algorithms_of(records)
    table = [["Choice held fixed", *(f"{ALGORITHM_NAMES[a]}, median" for a in algorithms)]]
    rows: dict[str, dict[str, list[float]]] = {}
    for record in records:
        for key, value in record["changes"].items():
            axis = AXES.get(key, key)
            if axis == "winners" and value is not None:
                value = f"{2 * value / record['changes']['hidden'][0]:.2g} of each half"
            # The algorithms' thresholds have different scales: compare low with low.
            if axis == "threshold":
                order = THRESHOLDS[record["algorithm"]][1]
                value = ("low", "middle", "high")[order.index(value)]
            by_algorithm = rows.setdefault(f"{axis}: {value}", {})
            by_algorithm.setdefault(record["algorithm"], []).append(record["test_accuracy"] or 0.0)
    for name in sorted(rows):
        medians = [float(np.median(rows[name].get(a, [np.nan]))) for a in algorithms]
        table.append([name, *(f"{100 * median:.2f}" for median in medians)])
    return table


def distribution_figure(records: Records) -> Figure:
    """Draws the accuracy of every setting, from the worst to the best."""
    figure, axes = new_axes("Test accuracy of every setting, from the worst to the best")
    for algorithm in algorithms_of(records):
        values = 100 * accuracies(records, algorithm)
        color, marker = ALGORITHM_STYLES[algorithm]
        axes.plot(
            100 * (np.arange(len(values)) + 0.5) / len(values),
            values,
            color=color,
            marker=marker,
            markersize=3,
            linewidth=1,
            label=f"{ALGORITHM_NAMES[algorithm]}, median {np.median(values):.1f}",
        )
    axes.axvline(50, color=text_color(), linewidth=0.8, linestyle=":")
    axes.set_xlabel("Settings with at most this accuracy, %")
    axes.set_ylabel("Test accuracy, %")
    axes.legend()
    return figure


def section(results: Results) -> Section:
    """Makes the report of a robustness experiment."""
    options, records = results.options, results.records
    distribution = distribution_table(records, options["failed_below"])
    head, *rows = distribution
    return Section(
        title=f"Robustness of FFA and SFFA on {options['dataset']}",
        lead=(
            "Each setting of the grid is one training run on the same data. The epoch is chosen on "
            "a validation split; no setting is selected. A diverged run counts as 0 %."
        ),
        tables={
            "Distribution over the grid": distribution,
            "One choice held fixed": by_value_table(records),
        },
        pictures=[
            Picture(
                "distribution.png",
                "Each dot is one setting.",
                partial(distribution_figure, records),
            )
        ],
        records=records,
        summary=pd.DataFrame(rows, columns=head),
        config=results.config,
        command=results.command,
    )
