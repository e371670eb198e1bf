"""Tables and figure of the ablation, made from its records and `config.json`."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from experiments.config.grids import START, STEPS, WITHOUT
from experiments.harness.results import Results
from experiments.reports import comparison_tables, intervals
from experiments.reports.html_report import Picture, Section
from experiments.reports.names import ALGORITHM_NAMES
from experiments.reports.style import ALGORITHM_STYLES, new_axes

Records = Sequence[Mapping[str, Any]]


def ordered_settings(records: Records) -> tuple[list[str], list[str]]:
    """Returns the names of the settings that have records: the path from its start to its end, and
    the settings that undo one change."""
    present = {record["setting"] for record in records}
    path = [name for name in (START, *STEPS) if name in present]
    return path, [f"{WITHOUT}{name}" for name in STEPS if f"{WITHOUT}{name}" in present]


def accuracies(records: Records, setting: str, algorithm: str) -> dict[int, float]:
    """Returns the test accuracy of each seed of a setting that did not diverge."""
    of_setting = [record for record in records if record["setting"] == setting]
    return comparison_tables.accuracies(of_setting).get(algorithm, {})


def effects_table(records: Records, algorithm: str) -> list[list[str]]:
    """Makes a row for each setting: its accuracy, and the effect of its change, paired by seed."""
    path, undone = ordered_settings(records)
    table = [["Step", "Test accuracy, %", "Effect of the change, points", "p (paired t)"]]
    for setting in [*path, *undone]:
        values = accuracies(records, setting, algorithm)
        if setting in undone:
            pair = {"end": accuracies(records, path[-1], algorithm), "without": values}
        elif setting == path[0]:
            pair = {}
        else:
            before = path[path.index(setting) - 1]
            pair = {"after": values, "before": accuracies(records, before, algorithm)}
        tests = intervals.paired_tests(pair)
        table.append(
            [
                setting,
                intervals.with_bounds(list(values.values())) if values else "all diverged",
                tests[0].difference.with_bounds() if tests else "-",
                intervals.p_value(tests[0].p if tests else None),
            ]
        )
    return table


def path_figure(records: Records, algorithms: Sequence[str]) -> Figure:
    """Draws accuracy along the path, one line per algorithm, with 95 % intervals over seeds."""
    path, _ = ordered_settings(records)
    figure, axes = new_axes("Test accuracy, change by change from left to right", 8.6)
    for algorithm in algorithms:
        color, marker = ALGORITHM_STYLES[algorithm]
        means, half_widths = [], []
        for name in path:
            values = list(accuracies(records, name, algorithm).values())
            mean = intervals.mean_interval(values) if values else None
            means.append(np.nan if mean is None else 100 * mean.mean)
            half_widths.append(0.0 if mean is None else 100 * mean.half_width)
        axes.errorbar(
            range(len(path)),
            means,
            half_widths,
            color=color,
            marker=marker,
            capsize=3,
            label=ALGORITHM_NAMES[algorithm],
        )
    axes.set_xticks(range(len(path)), path, rotation=35, ha="right", fontsize=8)
    axes.set_ylabel("Test accuracy, %")
    axes.legend()
    return figure


def section(results: Results) -> Section:
    """Makes the report of an ablation."""
    options, records = results.options, results.records
    tables = {
        f"{ALGORITHM_NAMES[algorithm]}: effect of each change": effects_table(records, algorithm)
        for algorithm in options["algorithms"]
    }
    rows = [[title.partition(":")[0], *row] for title, t in tables.items() for row in t[1:]]
    head = next(iter(tables.values()))[0]
    return Section(
        title=f"From {options['start']} to {options['end']} on {options['dataset']}",
        lead=(
            "Each step adds one change to all those before it; 'without' is the end of the "
            "path with that one change undone. Differences are paired by seed, with 95 % "
            "intervals. If the first preset chooses the epoch on the test set (released does), "
            "the first accuracy is too high by that choice."
        ),
        tables=tables,
        pictures=[
            Picture(
                "path.png",
                "Mean and 95 % interval over seeds.",
                partial(path_figure, records, options["algorithms"]),
            )
        ],
        records=records,
        summary=pd.DataFrame(rows, columns=["Algorithm", *head]),
        config=results.config,
        command=results.command,
    )
