"""Tables and figure of the ablation, made from its records and `config.json`."""

import itertools
from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from experiments.config.grids import START, STEPS, WITHOUT
from experiments.harness import outcomes
from experiments.harness.queries import Records, where
from experiments.harness.results import Results
from experiments.reports import comparison_tables, intervals
from experiments.reports.html_report import Picture, Section
from experiments.reports.names import ALGORITHM_NAMES
from experiments.reports.style import ALGORITHM_STYLES, new_axes, within_percent


def ordered_settings(records: Records) -> tuple[list[str], list[str]]:
    """Returns the names of the settings that have records: the path from its start to its end, and
    the settings that undo one change."""
    present = {record["setting"] for record in records}
    path = [name for name in (START, *STEPS) if name in present]
    return path, [f"{WITHOUT}{name}" for name in STEPS if f"{WITHOUT}{name}" in present]


def accuracies(records: Records, setting: str, algorithm: str) -> dict[int, float]:
    """Returns the test accuracy of each seed of a setting that did not diverge."""
    runs = where(records, setting=setting, algorithm=algorithm)
    return comparison_tables.accuracies(runs).get(algorithm, {})


def effects_table(records: Records, algorithm: str) -> list[list[str]]:
    """Makes a row for each setting: its accuracy, and the effect of its change, paired by seed;
    Holm's correction is over all rows."""
    records = where(records, algorithm=algorithm)
    path, undone = ordered_settings(records)
    pairs = {
        setting: {"after": setting, "before": before}
        for before, setting in itertools.pairwise(path)
    }
    if path:  # a part may lack it
        pairs |= {setting: {"end": path[-1], "without": setting} for setting in undone}
    head = ["Step", "Test accuracy, %", "Effect of the change, points", "p (paired t, Holm)"]
    rows, all_tests = [], []
    for setting in [*path, *undone]:
        values, pair = accuracies(records, setting, algorithm), pairs.get(setting, {})
        tests = intervals.paired_tests(
            {name: accuracies(records, of, algorithm) for name, of in pair.items()},
            {
                name: f"({words})"
                for name, of in pair.items()
                if (words := outcomes.failure(where(records, setting=of)))
            },
        )
        mean = intervals.with_bounds(list(values.values()))
        rows.append([setting, outcomes.marked(mean, where(records, setting=setting))])
        all_tests.append(tests)
    corrected = iter(intervals.holm_corrected([test for tests in all_tests for test in tests]))
    effects = [next(corrected) if tests else None for tests in all_tests]
    return [
        head,
        *(
            [*row, test.difference.with_bounds() if test else "-", test.cell if test else "-"]
            for row, test in zip(rows, effects, strict=True)
        ),
    ]


def path_figure(records: Records, algorithms: Sequence[str]) -> Figure:
    """Draws accuracy along the path, one line per algorithm, with 95 % intervals over seeds."""
    path, _ = ordered_settings(records)
    figure, axes = new_axes("Test accuracy, change by change from left to right", 8.6)
    for algorithm in algorithms:
        color, marker = ALGORITHM_STYLES[algorithm]
        own = [name for name in path if where(records, setting=name, algorithm=algorithm)]
        means, errors = [], []
        for name in own:
            values = list(accuracies(records, name, algorithm).values())
            mean = intervals.mean_interval(values, intervals.UNIT) if values else None
            means.append(np.nan if mean is None else 100 * mean.mean)
            errors.append([[0.0], [0.0]] if mean is None else mean.errors())
        axes.errorbar(
            [path.index(name) for name in own],
            means,
            np.concatenate(errors, axis=1),
            color=color,
            marker=marker,
            capsize=3,
            label=ALGORITHM_NAMES[algorithm],
        )
    axes.set_xticks(range(len(path)), path, rotation=35, ha="right", fontsize=8)
    axes.set_ylabel("Test accuracy, %")
    within_percent(axes)
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
            "path with that one change undone. Differences are paired by seed, with the "
            f"{intervals.ENDS}. If the first preset chooses the epoch on the test set (released "
            "does), the first accuracy is too high by that choice."
        ),
        tables=tables,
        pictures=[
            Picture(
                "path.png",
                f"Mean and {intervals.ENDS}.",
                partial(path_figure, records, options["algorithms"]),
            )
        ],
        records=records,
        summary=pd.DataFrame(rows, columns=["Algorithm", *head]),
    )
