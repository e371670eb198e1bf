"""Results as a reader wants them: tables with intervals, paired tests, figures.

Everything is made from the records in `results.jsonl` and from `config.json` alone, so that a
report can be made again from what is on disk.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from scipy import stats

from experiments.reports.html import Picture, Section

NAMES = {"ffa": "FFA", "sffa": "SFFA", "bp": "Backprop"}
# Okabe and Ito's colors, told apart by color-blind readers and on light and dark ground; the
# markers serve print.
STYLES = {"ffa": ("#E69F00", "s"), "sffa": ("#0072B2", "o"), "bp": ("#808080", "^")}

SELECTION = {
    "validation": "The weights of each run are those of the epoch with the highest validation "
    "accuracy; the test set was used once, at the end.",
    "last": "The weights of each run are those of the last epoch; all training images were trained "
    "on, and the test set was used once, at the end.",
    "test": "The weights of each run are those of the epoch with the highest accuracy on the TEST "
    "set, as the released code has it: these accuracies are too high by that choice.",
}
"""What a report says of how the epoch was chosen."""


@dataclass(frozen=True)
class Interval:
    """Mean of n values with its 95 % Student-t interval; low and high are None for n = 1."""

    n: int
    mean: float
    low: float | None
    high: float | None

    def __str__(self) -> str:
        if self.low is None or self.high is None:
            return f"{100 * self.mean:.2f} (one seed)"
        return f"{100 * self.mean:.2f} [{100 * self.low:.2f}, {100 * self.high:.2f}]"


def interval(values: Sequence[float]) -> Interval:
    """Mean and 95 % confidence interval of independent values (Student's t).

    Raises:
      ValueError: for no values.
    """
    if not len(values):
        raise ValueError("interval: `values` must hold at least one number, got none.")
    mean = float(np.mean(values))
    if len(values) == 1:
        return Interval(1, mean, None, None)
    half = float(stats.sem(values) * stats.t.ppf(0.975, len(values) - 1))
    return Interval(len(values), mean, mean - half, mean + half)


@dataclass(frozen=True)
class PairedTest:
    """Difference first - second over the seeds both have; p by a paired t-test, Holm-corrected.

    p is None with fewer than two common seeds, and where all differences are the same.
    """

    first: str
    second: str
    difference: Interval
    p: float | None


def paired_tests(values: Mapping[str, Mapping[int, float]]) -> list[PairedTest]:
    """Tests every pair of algorithms on their common seeds.

    Args:
      values: for each algorithm, each seed's value.

    Returns:
      One test a pair that has common seeds, in the order of `values`. The p-values are corrected
      for the number of pairs (Holm 1979).
    """
    tests = []
    for first, second in itertools.combinations(values, 2):
        seeds = sorted(values[first].keys() & values[second].keys())
        if not seeds:
            continue
        differences = np.array([values[first][s] - values[second][s] for s in seeds])
        p = None
        if len(seeds) > 1 and np.ptp(differences) > 0:
            p = float(stats.ttest_1samp(differences, 0.0).pvalue)
        tests.append(PairedTest(first, second, interval(differences.tolist()), p))
    corrected = iter(holm([test.p for test in tests if test.p is not None]))
    return [test if test.p is None else replace(test, p=next(corrected)) for test in tests]


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction: the smallest p times n, the next times n - 1, never falling."""
    corrected = [0.0] * len(p_values)
    highest = 0.0
    for rank, i in enumerate(np.argsort(p_values)):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[i]))
        corrected[i] = highest
    return corrected


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
        test = interval(done["test_accuracy"].tolist()) if len(done) else None
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
                NAMES.get(name, name),
                str(interval(list(values.values()))) if values else "-",
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
    for test in paired_tests(accuracies(records)):
        names = (NAMES.get(name, name) for name in (test.first, test.second))
        p = "-" if test.p is None else f"{test.p:.2g}"
        table.append([" - ".join(names), str(test.difference), p])
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
        everything = str(interval(list(of_seed.values())))
        table.append([NAMES.get(algorithm, algorithm), everything, *by_layer])
    return table


def new_axes(title: str, width: float = 6.4) -> tuple[Figure, Axes]:
    """An empty figure with horizontal lines; `width` in inches."""
    figure = Figure(figsize=(width, 4.0))
    axes = figure.subplots()
    axes.set_title(title)
    axes.grid(axis="y")
    return figure, axes


def ink() -> str:
    """The color of lines that are no data: that of the text."""
    return str(rcParams["text.color"])


def accuracy_figure(records: Sequence[Mapping[str, Any]]) -> Figure:
    """Every seed's test accuracy as a dot, with the mean and its 95 % interval beside the dots."""
    figure, axes = new_axes("Test accuracy, one dot a seed; bar: mean and 95 % interval")
    found = accuracies(records)
    for i, (name, by_seed) in enumerate(found.items()):
        color, marker = STYLES.get(name, ("#009E73", "D"))
        values = 100 * np.array(list(by_seed.values()))
        spread = np.linspace(-0.14, 0.14, len(values)) if len(values) > 1 else np.zeros(1)
        axes.plot(i - 0.12 + spread, values, marker, color=color, alpha=0.6, markersize=5)
        mean = interval(list(by_seed.values()))
        half = 0.0 if mean.high is None else 100 * (mean.high - mean.mean)
        axes.errorbar(
            i + 0.2, 100 * mean.mean, half, fmt=marker, color=color, capsize=4, markersize=8
        )
        axes.annotate(
            f"{100 * mean.mean:.2f}",
            (i + 0.2, 100 * mean.mean),
            xytext=(10, 0),
            textcoords="offset points",
            va="center",
        )
    axes.set_xticks(range(len(found)), [NAMES.get(name, name) for name in found])
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
        color, marker = STYLES.get(name, ("#009E73", "D"))
        epochs = np.arange(1, curves.shape[1] + 1)
        mean = curves.mean(axis=0)
        axes.plot(
            epochs,
            mean,
            color=color,
            marker=marker,
            markersize=4,
            markevery=max(1, len(epochs) // 10),
            label=NAMES.get(name, name),
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
    order = list(dict.fromkeys([*NAMES, *(record["algorithm"] for record in records)]))
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
    named = (NAMES.get(name, name) for name in dict.fromkeys(r["algorithm"] for r in records))
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
