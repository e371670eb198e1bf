"""Tables and figures of the predictions on the test split: errors by class, calibration, images.

They are made from fields that records of earlier versions lack; those reports leave them out.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from experiments.harness.queries import Records
from experiments.reports import intervals
from experiments.reports.html_report import Matrix, Picture, Thumbnail
from experiments.reports.names import ALGORITHM_NAMES
from experiments.reports.style import ALGORITHM_STYLES, TEXT_COLOR, new_axes

MOST_ROWS = 30
"""Largest number of classes in a table or a matrix; of more, those with the most errors."""

NUM_PAIRS = 10
"""Number of confused pairs of classes in the table."""

NUM_IMAGES = 8
"""Number of images shown of each algorithm."""


def recorded(records: Records, field: str) -> dict[str, list[Any]]:
    """Returns a field's values of the runs that have it, by algorithm."""
    values: dict[str, list[Any]] = {}
    for record in records:
        if record.get(field) is not None:
            values.setdefault(record["algorithm"], []).append(record[field])
    return values


def class_names(config: Mapping[str, Any], number: int) -> list[str]:
    """Returns the names of the classes that `config.json` records, else their numbers."""
    names = (config.get("data") or {}).get("class_names") or []
    return list(names) if len(names) == number else [str(label) for label in range(number)]


def _name(names: Sequence[str], label: int) -> str:
    return names[label] if label < len(names) else str(label)


def means(records: Records, field: str) -> dict[str, np.ndarray]:
    """Returns the mean of a field's arrays over seeds, by algorithm; NaN where one has null."""
    return {
        algorithm: np.mean(np.array(runs, float), axis=0)
        for algorithm, runs in recorded(records, field).items()
    }


def class_table(records: Records, names: Sequence[str]) -> list[list[str]]:
    """Makes a row for each class: mean accuracy over seeds, in percent."""
    accuracies = means(records, "class_accuracies")
    mean = np.mean(list(accuracies.values()), axis=0)
    shown = list(range(len(mean)))
    if len(mean) > MOST_ROWS:
        shown = sorted(np.argsort(mean)[:MOST_ROWS].tolist())
    head = ["Class", *(f"{ALGORITHM_NAMES[a]}, %" for a in accuracies)]
    return [
        head,
        *([names[i], *(_percent(accuracy[i]) for accuracy in accuracies.values())] for i in shown),
    ]


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.2f}" if np.isfinite(fraction) else "-"


def pairs_table(records: Records, names: Sequence[str]) -> list[list[str]]:
    """Makes a row for each of the most frequent confusions: mean number of test images."""
    matrices = means(records, "confusion")
    errors = np.sum(list(matrices.values()), axis=0)
    np.fill_diagonal(errors, 0)
    largest = np.argsort(-errors, axis=None, kind="stable")[:NUM_PAIRS]
    table = [["Class", "Predicted as", *(ALGORITHM_NAMES[a] for a in matrices)]]
    for true, predicted in zip(*np.unravel_index(largest, errors.shape), strict=True):
        if errors[true, predicted]:
            counts = [f"{matrix[true, predicted]:.1f}" for matrix in matrices.values()]
            table.append([names[true], names[predicted], *counts])
    return table


def matrices(records: Records, config: Mapping[str, Any]) -> dict[str, Matrix]:
    """Returns each algorithm's confusion matrix in percent, unless there are too many classes."""
    shaded = {}
    for algorithm, counts in means(records, "confusion").items():
        if len(counts) <= MOST_ROWS:
            percent = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
            names = class_names(config, len(counts))
            heading = f"{ALGORITHM_NAMES[algorithm]}: predictions for each class, % (mean of seeds)"
            shaded[heading] = Matrix(names, percent.tolist())
    return shaded


def calibration_table(records: Records) -> list[list[str]]:
    """Makes a row for each algorithm: NLL and ECE, mean over seeds with 95 % interval."""
    table = [["Algorithm", "NLL, nats", "ECE, points"]]
    errors = recorded(records, "ece")
    for algorithm, values in recorded(records, "nll").items():
        nll = intervals.with_bounds(values, ".3f", 1.0, (0.0, np.inf))
        table.append(
            [ALGORITHM_NAMES[algorithm], nll, intervals.with_bounds(errors.get(algorithm, []))]
        )
    return table


def reliability_figure(records: Records) -> Figure:
    """Draws accuracy against confidence for each algorithm, all seeds together."""
    figure, axes = new_axes("Reliability of the predicted probability")
    axes.plot([0, 100], [0, 100], ":", color=TEXT_COLOR, linewidth=0.8, label="Calibrated")
    for algorithm, runs in recorded(records, "reliability").items():
        bins = np.array(runs, float)  # [runs, bins, (confidence, accuracy, fraction)]
        weights = bins[..., 2]
        filled = weights.sum(axis=0) > 0
        confidence, accuracy = (
            (bins[..., i] * weights).sum(axis=0)[filled] / weights.sum(axis=0)[filled]
            for i in (0, 1)
        )
        color, marker = ALGORITHM_STYLES[algorithm]
        # The size of a marker shows how many images lie in its bin.
        sizes = 12 + 160 * weights.mean(axis=0)[filled]
        label = ALGORITHM_NAMES[algorithm]
        axes.plot(100 * confidence, 100 * accuracy, color=color, linewidth=1)
        axes.scatter(
            100 * confidence, 100 * accuracy, sizes, color, marker=marker, label=label, alpha=0.8
        )
    axes.set_xlabel("Probability of the predicted class, %")
    axes.set_ylabel("Right predictions, %")
    axes.legend(loc="upper left", markerscale=0.6)
    return figure


def images(records: Records, config: Mapping[str, Any]) -> dict[str, list[Thumbnail]]:
    """Returns each algorithm's most wrong images over all seeds, each image once."""
    accuracies = means(records, "class_accuracies")
    names = class_names(config, len(next(iter(accuracies.values())))) if accuracies else []
    by_heading = {}
    for algorithm, runs in recorded(records, "worst").items():
        wrong = [
            image
            for run in runs
            for image in run
            if image["png"] and image["label"] != image["predicted"]
        ]
        wrong.sort(key=lambda image: (-(image["probability"] or 0.0), image["index"]))
        once: dict[int, Mapping[str, Any]] = {}
        for image in wrong:
            once.setdefault(image["index"], image)
        if once:
            by_heading[f"{ALGORITHM_NAMES[algorithm]}: the most wrong test images"] = [
                Thumbnail(
                    image["png"],
                    f"{_name(names, image['label'])}, predicted as "
                    f"{_name(names, image['predicted'])}{_likely(image['probability'])}",
                )
                for image in [*once.values()][:NUM_IMAGES]
            ]
    return by_heading


def _likely(probability: float | None) -> str:
    return "" if probability is None else f" ({100 * probability:.0f} %)"


def details(records: Records, config: Mapping[str, Any]) -> dict[str, list[list[str]]]:
    """Returns the tables by class, by heading; none for records without them."""
    accuracies = means(records, "class_accuracies")
    if not accuracies:
        return {}
    number = len(next(iter(accuracies.values())))
    names = class_names(config, number)
    heading = "Test accuracy by class"
    if number > MOST_ROWS:
        heading += f" (the {MOST_ROWS} lowest of {number})"
    tables = {heading: class_table(records, names)}
    if means(records, "confusion"):
        tables["Most frequent confusions, samples per run"] = pairs_table(records, names)
    return {name: table for name, table in tables.items() if len(table) > 1}


def pictures(records: Records) -> list[Picture]:
    """Returns the figure of the calibration; none for records without it."""
    if not recorded(records, "reliability"):
        return []
    caption = (
        "Calibration, all seeds together: above the diagonal, predictions are right more often "
        "than their probability. The size of a marker is the number of samples."
    )
    return [Picture("reliability.png", caption, partial(reliability_figure, records))]
