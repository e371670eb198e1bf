"""Tables and figure of the robustness experiment, made from its records and `config.json`."""

from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from experiments.harness.queries import Record, Records, distinct, where
from experiments.harness.results import Results
from experiments.reports import comparison_tables
from experiments.reports.html_report import Picture, Section
from experiments.reports.names import ALGORITHM_NAMES, named
from experiments.reports.style import ALGORITHM_STYLES, TEXT_COLOR, new_axes


def accuracies(records: Records) -> np.ndarray:
    """Returns the sorted test accuracies of runs; a diverged run counts as 0."""
    return np.sort([record["test_accuracy"] or 0.0 for record in records])


def by_algorithm(records: Records) -> dict[str, Records]:
    """Returns the records of each algorithm, by its name in tables."""
    return {
        ALGORITHM_NAMES[algorithm]: where(records, algorithm=algorithm)
        for algorithm in distinct(records, "algorithm")
    }


def by_activation(records: Records) -> dict[str, Records]:
    """Returns the records of each algorithm and activation, by name; those of each algorithm if
    there is one activation."""
    groups: dict[str, list[Record]] = {}
    for name, of_algorithm in by_algorithm(records).items():
        for record in of_algorithm:
            groups.setdefault(f"{name}, {record['changes'].get('activation')}", []).append(record)
    one = len({record["changes"].get("activation") for record in records}) == 1
    return by_algorithm(records) if one else dict(groups)


def distribution_table(records: Records, failed_below: float) -> list[list[str]]:
    """Makes a row for each algorithm, and for each of its activations: quartiles of the accuracy
    over all runs, and the fraction of runs that fails."""
    header = ["Algorithm", "Runs", "Worst", "Lower quartile", "Median", "Upper quartile"]
    table = [[*header, "Best", f"Below {100 * failed_below:g} %"]]
    for name, group in (by_algorithm(records) | by_activation(records)).items():
        values = accuracies(group)
        quartiles = np.quantile(values, [0, 0.25, 0.5, 0.75, 1])
        failed = np.mean(values < failed_below)
        table.append(
            [
                name,
                str(len(values)),
                *(f"{100 * quartile:.2f}" for quartile in quartiles),
                f"{100 * failed:.1f} % of runs",
            ]
        )
    return table


def by_value_table(records: Records) -> list[list[str]]:
    """Makes a row for each value of each axis: the median over the runs that have it, by
    algorithm and activation."""
    groups = by_activation(records)
    apart = len(groups) > len(by_algorithm(records))
    rows: dict[str, dict[str, list[float]]] = {}
    order: dict[str, tuple[Any, ...]] = {}
    for name, group in groups.items():
        for record in group:
            for key, value in record["changes"].items():
                if key == "activation" and apart:
                    continue
                axis = key.removeprefix("ffa_") if key == "ffa_winners" else key
                if axis == "winners" and value is not None:
                    value = f"{2 * value / record['changes']['hidden'][0]:.2g} of each half"
                of_group = rows.setdefault(f"{axis}: {value}", {})
                order[f"{axis}: {value}"] = (axis, value is None, value)
                of_group.setdefault(name, []).append(record["test_accuracy"] or 0.0)
    table = [["Choice held fixed", *(f"{name}, median" for name in groups)]]
    for row in sorted(rows, key=order.__getitem__):  # numbers by size, None last
        found = (rows[row].get(name) for name in groups)
        table.append([row, *(f"{100 * np.median(v):.2f}" if v else "-" for v in found)])
    return table


def distribution_figure(records: Records) -> Figure:
    """Draws the accuracy of every run, from the worst to the best."""
    figure, axes = new_axes("Test accuracy of every run, from the worst to the best")
    for algorithm in distinct(records, "algorithm"):
        values = 100 * accuracies(where(records, algorithm=algorithm))
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
    axes.axvline(50, color=TEXT_COLOR, linewidth=0.8, linestyle=":")
    axes.set_xlabel("Runs with at most this accuracy, %")
    axes.set_ylabel("Test accuracy, %")
    axes.legend()
    return figure


def section(results: Results) -> Section:
    """Makes the report of a robustness experiment."""
    options, records = results.options, results.records
    distribution = distribution_table(records, options["failed_below"])
    head, *rows = distribution
    number = options.get("seeds", 1)
    seeds = "One run" if number == 1 else f"{number} runs, with different seeds,"
    return Section(
        title=f"Robustness of {named(records)} on {options['dataset']}",
        lead=(
            f"{seeds} of each setting of the grid, on the same data; no setting is selected. "
            f"{comparison_tables.SELECTION[options['selection']]} A diverged run counts as 0 %."
        ),
        tables={
            "Distribution over the grid": distribution,
            "One choice held fixed": by_value_table(records),
        },
        pictures=[
            Picture(
                "distribution.png",
                "Each dot is one run.",
                partial(distribution_figure, records),
            )
        ],
        records=records,
        summary=pd.DataFrame(rows, columns=head),
    )
