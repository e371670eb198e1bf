"""Tables and figures of a comparison of algorithms, made from its records and `config.json`."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from experiments.harness import outcomes
from experiments.harness.queries import Records, distinct, where
from experiments.harness.results import Results
from experiments.reports import (
    bootstrap,
    cost_tables,
    intervals,
    prediction_tables,
    tuning_tables,
)
from experiments.reports.html_report import Picture, Section
from experiments.reports.names import ALGORITHM_NAMES, named, trained
from experiments.reports.style import ALGORITHM_STYLES, new_axes, within_percent

SELECTION = {
    "validation": "Each run keeps the weights of the epoch with the highest validation accuracy; "
    "the test set was used once, at the end.",
    "last": "Each run keeps the weights of the last epoch; all training samples were used for "
    "training, and the test set was used once, at the end.",
    "test": "Each run keeps the weights of the epoch with the highest accuracy on the TEST set, "
    "as in the released code: these accuracies are too high by that choice.",
}
"""The report's sentence about each selection of the epoch."""


def assessed(options: Mapping[str, Any]) -> str:
    """Returns the name of the accuracy after each epoch, from recorded options."""
    return "Test accuracy" if options.get("selection") == "test" else "Validation accuracy"


def accuracies(records: Records, field: str = "test_accuracy") -> dict[str, dict[int, float]]:
    """Returns the accuracy of each run that did not diverge, by algorithm and seed."""
    by_algorithm: dict[str, dict[int, float]] = {}
    for record in records:
        if record[field] is not None:
            by_algorithm.setdefault(record["algorithm"], {})[record["seed"]] = record[field]
    return by_algorithm


def summary(records: Records) -> pd.DataFrame:
    """Makes a row for each algorithm: accuracies as fractions with their 95 % interval, and seconds
    per epoch."""
    rows = []
    frame = pd.DataFrame(list(records))
    for (dataset, algorithm), runs in frame.groupby(["dataset", "algorithm"], sort=False):
        done = runs[runs["test_accuracy"].notna()]
        values = done["test_accuracy"].tolist()
        test = intervals.mean_interval(values, intervals.UNIT) if len(done) else None
        rows.append(
            {
                "dataset": dataset,
                "algorithm": algorithm,
                "seeds": len(done),
                "diverged": len(runs) - len(done),
                "did_not_learn": int((runs["status"] == outcomes.DID_NOT_LEARN).sum()),
                "test_accuracy": test and test.mean,
                "test_low": test and test.low,
                "test_high": test and test.high,
                "test_least": test and test.least,
                "test_greatest": test and test.greatest,
                "validation_accuracy": pd.to_numeric(done["validation_accuracy"]).mean(),
                "seconds_per_epoch": float((runs["train_seconds"] / runs["epochs"]).mean()),
            }
        )
    return pd.DataFrame(rows)


def results_table(records: Records, options: Mapping[str, Any]) -> list[list[str]]:
    """Makes the summary for people: a row for each algorithm, accuracies in percent.

    Args:
      records: of the runs.
      options: the recorded options of the runs.
    """
    table = [
        ["Algorithm", "Test accuracy, % [95 % interval]", "Validation, %", "Seeds", "s / epoch"]
    ]
    by_algorithm = accuracies(records)
    sizes = prediction_tables.recorded(records, "num_parameters")
    if sizes:
        table[0].append("Parameters")
    correct = bootstrap.correct_images(records)
    if correct:
        table[0].append("Over seeds and samples")
    table[0].append("Trained")
    for row in summary(records).to_dict("records"):
        algorithm = str(row["algorithm"])
        runs = where(records, algorithm=algorithm)
        validation = row["validation_accuracy"]
        if options.get("selection") == "test":  # recorded by earlier versions
            validation = None
        table.append(
            [
                ALGORITHM_NAMES[algorithm],
                intervals.with_bounds(list(by_algorithm.get(algorithm, {}).values())),
                "-" if pd.isna(validation) else f"{100 * validation:.2f}",
                outcomes.marked(str(row["seeds"]), runs),
                f"{row['seconds_per_epoch']:.3g}",
                *([f"{sizes[algorithm][0]}" if algorithm in sizes else "-"] if sizes else []),
                *([bootstrap.accuracy_cell(correct, algorithm)] if correct else []),
                trained(algorithm, options),
            ]
        )
    return table


def conclusion(records: Records) -> str:
    """Returns the main result in one sentence."""
    by_algorithm = accuracies(records)
    dataset = records[0]["dataset"]
    failed = outcomes.failures(records)
    notes = "".join(f" {ALGORITHM_NAMES[name]} {words}." for name, words in failed.items())
    if not by_algorithm:
        return f"No run on {dataset} gave a test accuracy: all diverged."
    means = {
        algorithm: np.mean(list(values.values())) for algorithm, values in by_algorithm.items()
    }
    # A mean over the seeds that did not diverge would be that of the best ones.
    learned = {name: mean for name, mean in means.items() if name not in failed} or means
    best = max(learned, key=learned.__getitem__)
    reached = f"{100 * means[best]:.2f} %"
    if len(means) == 1:
        number = len(by_algorithm[best])
        seeds = "one seed" if number == 1 else f"the mean of {number} seeds"
        return (
            f"{ALGORITHM_NAMES[best]} reaches a test accuracy of {reached} on {dataset}, {seeds}."
            f"{notes}"
        )
    differences = []
    for test in intervals.paired_tests(by_algorithm, failed):
        if best not in (test.first, test.second):
            continue
        other = test.second if test.first == best else test.first
        ahead = 100 * test.difference.mean * (1 if test.first == best else -1)
        # With other seeds, the algorithm with the higher mean may be the worse one on common seeds.
        seeds = " on their common seeds" if ahead < 0 <= means[best] - means[other] else ""
        side = f"{'above' if ahead >= 0 else 'below'} {ALGORITHM_NAMES[other]}{seeds}"
        points = f"{abs(ahead):.2f} points {side}"
        if f"{abs(ahead):.2f}" == "0.00":
            points = f"as accurate as {ALGORITHM_NAMES[other]}{seeds}"
        reason = test.cell
        if test.p is not None:
            verdict = {"level": ", level", "undecided": ", not significant"}
            reason = f"p = {test.cell}{verdict.get(test.verdict, '')}"
        differences.append(f"{points} ({reason})")
    tied = [name for name in learned if f"{100 * learned[name]:.2f} %" == reached]
    first = " and ".join(ALGORITHM_NAMES[name] for name in tied)
    first += " have" if len(tied) > 1 else " has"
    if len(learned) < len(means):
        first = f"Of the algorithms that learned with all seeds, {first}"
    return (
        f"{first} the highest mean test accuracy on {dataset}, {reached}"
        f"{': ' if differences else ''}{' and '.join(differences)}.{notes}"
    )


TESTS = ("Difference", "Points [95 % interval]", "p (paired t, Holm)", "Verdict")
"""The header of a table of paired tests."""


def test_row(test: intervals.PairedTest) -> list[str]:
    """Makes the row of a paired test."""
    names = " - ".join(ALGORITHM_NAMES[name] for name in (test.first, test.second))
    return [names, test.difference.with_bounds(), test.cell, test.verdict]


def tests_table(records: Records) -> list[list[str]]:
    """Makes a row for each paired test; only a header if no two algorithms share a seed."""
    correct = bootstrap.correct_images(records)
    table = [[*TESTS, *["Over seeds and samples"] * bool(correct)]]
    for test in intervals.paired_tests(accuracies(records), outcomes.failures(records)):
        over_images = [bootstrap.difference_cell(correct, test.first, test.second)]
        table.append([*test_row(test), *over_images * bool(correct)])
    return table


def layers_table(records: Records) -> list[list[str]]:
    """Makes a row for each forward-only algorithm: mean test accuracy by layer, in percent.

    The third column predicts from each layer's logits alone, the last one from the sum of the
    logits up to each layer.
    """
    table = [["Algorithm", "All layers", "Each layer alone", "Layers up to it"]]
    for algorithm, by_seed in accuracies(records).items():
        if algorithm == "bp":
            continue
        done = [r for r in where(records, algorithm=algorithm) if r["seed"] in by_seed]
        by_layer = []
        for key in ("layer_accuracies", "cumulated_accuracies"):
            recorded = all(key in record for record in done)
            means = np.mean([r[key] for r in done], axis=0).tolist() if recorded else []
            by_layer.append(" / ".join(f"{100 * a:.2f}" for a in means) or "-")
        all_layers = intervals.with_bounds(list(by_seed.values()))
        table.append([ALGORITHM_NAMES[algorithm], all_layers, *by_layer])
    return table


def accuracy_figure(records: Records) -> Figure:
    """Draws every seed's test accuracy as a dot, and the mean with its 95 % interval."""
    by_algorithm = accuracies(records)
    shown = intervals.name_of_ends(map(len, by_algorithm.values()))
    figure, axes = new_axes(f"Test accuracy; dots: seeds, bar: mean and {shown}")
    for i, (algorithm, by_seed) in enumerate(by_algorithm.items()):
        color, marker = ALGORITHM_STYLES[algorithm]
        values = 100 * np.array(list(by_seed.values()))
        offsets = np.linspace(-0.14, 0.14, len(values)) if len(values) > 1 else np.zeros(1)
        axes.plot(i - 0.12 + offsets, values, marker, color=color, alpha=0.6, markersize=5)
        interval = intervals.mean_interval(list(by_seed.values()), intervals.UNIT)
        mean, errors = 100 * interval.mean, interval.errors()
        axes.errorbar(i + 0.2, mean, errors, fmt=marker, color=color, capsize=4, markersize=8)
        axes.annotate(
            f"{mean:.2f}",
            (i + 0.2, mean),
            xytext=(10, 0),
            textcoords="offset points",
            va="center",
        )
    axes.set_xticks(range(len(by_algorithm)), [ALGORITHM_NAMES[a] for a in by_algorithm])
    axes.set_xlim(-0.5, len(by_algorithm) - 0.4)
    axes.set_ylabel("Test accuracy, %")
    within_percent(axes)
    return figure


def learning_figure(records: Records, name: str) -> Figure:
    """Draws the accuracy of this name after each epoch: mean over seeds and 95 % band."""
    shown = intervals.name_of_ends(map(len, accuracies(records).values()))
    figure, axes = new_axes(f"{name}, mean and {shown} over seeds")
    lowest = 100.0
    for algorithm in distinct(records, "algorithm"):
        curves = 100 * np.array(
            [
                record["history"]["validation_accuracy"]
                for record in where(records, algorithm=algorithm)
                if record["test_accuracy"] is not None
            ]
        )
        if not curves.size:
            continue
        color, marker = ALGORITHM_STYLES[algorithm]
        epochs = np.arange(1, curves.shape[1] + 1)
        mean = curves.mean(axis=0)
        axes.plot(
            epochs,
            mean,
            color=color,
            marker=marker,
            markersize=4,
            markevery=max(1, len(epochs) // 10),
            label=ALGORITHM_NAMES[algorithm],
        )
        if len(curves) > 1:
            low, high = intervals.band(curves / 100)
            axes.fill_between(epochs, 100 * low, 100 * high, color=color, alpha=0.2, lw=0)
        lowest = min(lowest, float(mean[len(mean) // 5]))
    if lowest < 100:
        # The low accuracies of the first epochs would squeeze all differences into a thin line.
        axes.set_ylim(bottom=max(0.0, lowest - 5), top=100.5)
        axes.legend(loc="lower right")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("Epoch")
    axes.set_ylabel(f"{name}, %")
    return figure


def section(results: Results) -> Section:
    """Makes the report of a comparison."""
    # A later start may have added seeds: sort them in with their algorithm.
    order = list(ALGORITHM_NAMES)
    records = sorted(results.records, key=lambda r: (order.index(r["algorithm"]), r["seed"]))
    pictures = [
        Picture(
            "accuracy.png",
            "Test accuracy of every seed, and the mean.",
            partial(accuracy_figure, records),
        )
    ]
    name = assessed(results.config["options"])
    if any(record["history"]["validation_accuracy"] for record in records):
        caption = f"{name} during training."
        draw = partial(learning_figure, records, name)
        pictures.append(Picture("learning_curves.png", caption, draw))
    if any(record.get("updates") for record in records) and cost_tables.by_algorithm(records):
        caption = f"{name} against updates, seconds of training (without compilation, "
        caption += "a run's part of its group) and floating-point operations; mean over seeds."
        draw = partial(cost_tables.cost_figure, records, name)
        pictures.append(Picture("cost.png", caption, draw))
    pictures += prediction_tables.pictures(records)
    tables = {
        "Results": results_table(records, results.config["options"]),
        "Paired tests": tests_table(records),
    }
    if any(len(record["layer_accuracies"] or ()) > 1 for record in records):
        tables["Test accuracy by layer, %"] = layers_table(records)
    tables[f"{name} against cost"] = cost_tables.cost_table(records)
    tables["Calibration"] = prediction_tables.calibration_table(records)
    tables |= tuning_tables.tables(results)
    rows = summary(records)
    tuned = results.config.get("tuned", {})
    lead = ""
    if tuned:
        flags = {name: tuning_tables.tuned_flags(name, tuned[name]) for name in tuned}
        rows["tuned"] = rows["algorithm"].map(flags)
        lead = (
            " Each algorithm's numbers were searched first, with the same budget, on the "
            "validation split. The same runs without the search: "
            f"{tuning_tables.command_without_tuning(results)}"
        )
    over_images = ""
    if bootstrap.correct_images(records):
        over_images = (
            ' "Over seeds and samples" resamples seeds and test samples together (bootstrap).'
        )
    dataset = records[0]["dataset"]
    selection = results.config.get("options", {}).get("selection", "validation")
    return Section(
        title=f"{named(records)} on {dataset}",
        conclusion=conclusion(records),
        lead=(
            f"{len(records)} training runs on {dataset}. {SELECTION[selection]} "
            f"A paired test compares two algorithms on the same seeds, at least "
            f"{intervals.MIN_SEEDS}; parentheses hold the range over fewer. Two algorithms are "
            f"level if the interval of their difference lies within "
            f"{100 * intervals.MARGIN:g} points.{over_images}{lead}"
        ),
        tables={title: table for title, table in tables.items() if len(table) > 1},
        pictures=pictures,
        details=prediction_tables.details(records, results.config),
        matrices=prediction_tables.matrices(records, results.config),
        images=prediction_tables.images(records, results.config),
        records=records,
        summary=rows,
    )
