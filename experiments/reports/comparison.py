"""Results as a reader wants them: tables with intervals, paired tests, figures.

Everything is made from the records in `results.jsonl` and from `config.json` alone, so that a
report can be made again from what is on disk.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from scipy import stats

from experiments.reports import intervals
from experiments.reports.html import Picture, Section
from experiments.reports.style import ALGORITHM_NAMES, ALGORITHM_STYLES, new_axes

SELECTION = {
    "validation": "The weights of each run are those of the epoch with the highest validation "
    "accuracy; the test set was used once, at the end.",
    "last": "The weights of each run are those of the last epoch; all training images were trained "
    "on, and the test set was used once, at the end.",
    "test": "The weights of each run are those of the epoch with the highest accuracy on the TEST "
    "set, as the released code has it: these accuracies are too high by that choice.",
}
"""What a report says of how the epoch was chosen."""


def accuracies(records: Sequence[Mapping[str, Any]]) -> dict[str, dict[int, float]]:
    """Test accuracy of each finished run, by algorithm and seed."""
    found: dict[str, dict[int, float]] = {}
    for record in records:
        if record["test_accuracy"] is not None:
            found.setdefault(record["algorithm"], {})[record["seed"]] = record["test_accuracy"]
    return found


def summary(records: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """One row an algorithm: accuracies as fractions with their 95 % interval, seconds an epoch."""
    rows = []
    frame = pd.DataFrame(list(records))
    for (dataset, algorithm), runs in frame.groupby(["dataset", "algorithm"], sort=False):
        done = runs[runs["test_accuracy"].notna()]
        test = intervals.mean_interval(done["test_accuracy"].tolist()) if len(done) else None
        rows.append(
            {
                "dataset": dataset,
                "algorithm": algorithm,
                "seeds": len(done),
                "diverged": len(runs) - len(done),
                "test_accuracy": test and test.mean,
                "test_low": test and test.low,
                "test_high": test and test.high,
                "validation_accuracy": pd.to_numeric(done["validation_accuracy"]).mean(),
                "seconds_per_epoch": float((runs["train_seconds"] / runs["epochs"]).mean()),
            }
        )
    return pd.DataFrame(rows)


def results_table(records: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """The summary for people: a header and one row an algorithm, accuracies in percent."""
    table = [
        ["Algorithm", "Test accuracy, % [95 % interval]", "Validation, %", "Seeds", "s / epoch"]
    ]
    found = accuracies(records)
    for row in summary(records).to_dict("records"):
        name = str(row["algorithm"])
        values = found.get(name)
        seeds = f"{row['seeds']}" + (f" ({row['diverged']} diverged)" if row["diverged"] else "")
        table.append(
            [
                ALGORITHM_NAMES[name],
                intervals.with_bounds(list(values.values())) if values else "-",
                "-"
                if pd.isna(row["validation_accuracy"])
                else f"{100 * row['validation_accuracy']:.2f}",
                seeds,
                f"{row['seconds_per_epoch']:.3g}",
            ]
        )
    return table


def tests_table(records: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """The paired tests for people; only a header where there is nothing to compare."""
    table = [["Difference", "Points [95 % interval]", "p (paired t, Holm)"]]
    for test in intervals.paired_tests(accuracies(records)):
        names = (ALGORITHM_NAMES[name] for name in (test.first, test.second))
        p = "-" if test.p is None else f"{test.p:.2g}"
        table.append([" - ".join(names), test.difference.with_bounds(), p])
    return table


def layers_table(records: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Mean test accuracy by layer, in percent, a row a forward-only algorithm.

    Each layer's own log-odds decide in the third column, the sum of its and of all scored ones
    below it in the last.
    """
    table = [["Algorithm", "All layers", "Each layer alone", "Layers up to it"]]
    for algorithm, of_seed in accuracies(records).items():
        if algorithm == "bp":
            continue
        done = [r for r in records if r["algorithm"] == algorithm and r["seed"] in of_seed]
        by_layer = (
            " / ".join(f"{100 * a:.2f}" for a in np.mean([r[key] for r in done], axis=0))
            for key in ("layer_accuracies", "cumulated_accuracies")
        )
        everything = intervals.with_bounds(list(of_seed.values()))
        table.append([ALGORITHM_NAMES[algorithm], everything, *by_layer])
    return table


def accuracy_figure(records: Sequence[Mapping[str, Any]]) -> Figure:
    """Every seed's test accuracy as a dot, with the mean and its 95 % interval beside the dots."""
    figure, axes = new_axes("Test accuracy, one dot a seed; bar: mean and 95 % interval")
    found = accuracies(records)
    for i, (name, by_seed) in enumerate(found.items()):
        color, marker = ALGORITHM_STYLES[name]
        values = 100 * np.array(list(by_seed.values()))
        spread = np.linspace(-0.14, 0.14, len(values)) if len(values) > 1 else np.zeros(1)
        axes.plot(i - 0.12 + spread, values, marker, color=color, alpha=0.6, markersize=5)
        mean = intervals.mean_interval(list(by_seed.values()))
        axes.errorbar(
            i + 0.2,
            100 * mean.mean,
            100 * mean.half_width,
            fmt=marker,
            color=color,
            capsize=4,
            markersize=8,
        )
        axes.annotate(
            f"{100 * mean.mean:.2f}",
            (i + 0.2, 100 * mean.mean),
            xytext=(10, 0),
            textcoords="offset points",
            va="center",
        )
    axes.set_xticks(range(len(found)), [ALGORITHM_NAMES[name] for name in found])
    axes.set_xlim(-0.5, len(found) - 0.4)
    axes.set_ylabel("Test accuracy, %")
    return figure


def learning_figure(records: Sequence[Mapping[str, Any]]) -> Figure:
    """Validation accuracy after each epoch: mean over seeds and 95 % band."""
    figure, axes = new_axes("Learning curves: validation accuracy, mean and 95 % band over seeds")
    lowest = 100.0
    for name in dict.fromkeys(record["algorithm"] for record in records):
        curves = 100 * np.array(
            [
                record["history"]["validation_accuracy"]
                for record in records
                if record["algorithm"] == name and record["test_accuracy"] is not None
            ]
        )
        if not curves.size:
            continue
        color, marker = ALGORITHM_STYLES[name]
        epochs = np.arange(1, curves.shape[1] + 1)
        mean = curves.mean(axis=0)
        axes.plot(
            epochs,
            mean,
            color=color,
            marker=marker,
            markersize=4,
            markevery=max(1, len(epochs) // 10),
            label=ALGORITHM_NAMES[name],
        )
        if len(curves) > 1:
            half = stats.sem(curves, axis=0) * stats.t.ppf(0.975, len(curves) - 1)
            axes.fill_between(epochs, mean - half, mean + half, color=color, alpha=0.2, lw=0)
        lowest = min(lowest, float(mean[len(mean) // 5]))
    if lowest < 100:
        # The first epochs would squeeze all that differs into a line at the top.
        axes.set_ylim(bottom=max(0.0, lowest - 5), top=100.5)
        axes.legend(loc="lower right")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("Epoch")
    axes.set_ylabel("Validation accuracy, %")
    return figure


def comparison(
    records: Sequence[Mapping[str, Any]], config: Mapping[str, Any], command: str
) -> Section:
    """What there is to say of a comparison of algorithms.

    Args:
      records: of the runs.
      config: its `options.selection` says how the epoch was chosen.
      command: repeats the runs.

    Raises:
      ValueError: if there is no record.
    """
    if not records:
        raise ValueError("comparison: `records` must hold at least one run, got none.")
    # Seeds that were added on a later start stand among their algorithm's runs all the same.
    order = list(dict.fromkeys([*ALGORITHM_NAMES, *(record["algorithm"] for record in records)]))
    records = sorted(records, key=lambda r: (order.index(r["algorithm"]), r["seed"]))
    pictures = [
        Picture(
            "accuracy.png",
            "Test accuracy of every seed, and the mean.",
            partial(accuracy_figure, records),
        )
    ]
    if any(record["history"]["validation_accuracy"] for record in records):
        caption = "Validation accuracy as training goes on."
        draw = partial(learning_figure, records)
        pictures.append(Picture("learning_curves.png", caption, draw))
    more = {"Paired tests": tests_table(records)}
    if any(len(record["layer_accuracies"] or ()) > 1 for record in records):
        more["Test accuracy by layer, %"] = layers_table(records)
    dataset = records[0]["dataset"]
    selection = config.get("options", {}).get("selection", "validation")
    named = (ALGORITHM_NAMES[name] for name in dict.fromkeys(r["algorithm"] for r in records))
    return Section(
        title=f"{', '.join(named)} on {dataset}",
        lead=(
            f"{len(records)} training runs on {dataset}. {SELECTION[selection]} "
            "A paired test compares two algorithms on the same seeds."
        ),
        tables={"Results": results_table(records)}
        | {title: table for title, table in more.items() if len(table) > 1},
        pictures=pictures,
        records=records,
        summary=summary(records),
        config=config,
        command=command,
    )
