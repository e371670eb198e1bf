"""Accuracy against cost: epochs, seconds, updates and floating-point operations."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from experiments.harness.queries import Record, Records
from experiments.reports.names import ALGORITHM_NAMES
from experiments.reports.style import ALGORITHM_STYLES, log_axis_below

TARGETS = {
    "digits": (0.90, 0.95, 0.97),
    "mnist": (0.97, 0.98, 0.985),
    "fashion_mnist": (0.85, 0.88, 0.90),
}
"""Accuracies whose cost is reported, by data set."""

OF_BEST = (0.9, 0.95, 0.99)
"""For other data sets: fractions of the best algorithm's accuracy."""


def by_algorithm(records: Records) -> dict[str, list[Record]]:
    """Returns the runs that have learning curves, by algorithm."""
    runs: dict[str, list[Record]] = {}
    for record in records:
        if record["test_accuracy"] is not None and record["history"]["validation_accuracy"]:
            runs.setdefault(record["algorithm"], []).append(record)
    return runs


def curve(record: Record) -> np.ndarray:
    """Returns the accuracy after each epoch, on the split that chooses the epoch."""
    return np.array(record["history"]["validation_accuracy"], float)


def targets(records: Records) -> tuple[float, ...]:
    """Returns the accuracies whose cost is reported."""
    known = TARGETS.get(records[0]["dataset"])
    if known is not None:
        return known
    best = max(np.mean([curve(r).max() for r in runs]) for runs in by_algorithm(records).values())
    return tuple(float(np.floor(1000 * fraction * best) / 1000) for fraction in OF_BEST)


def epochs_to(accuracies: np.ndarray, target: float) -> int | None:
    """Returns the first epoch, from 1, with at least the target; None if there is none.

    >>> epochs_to(np.array([0.5, 0.9, 0.8, 0.95]), 0.9)
    2
    """
    reached = np.flatnonzero(accuracies >= target)
    return int(reached[0]) + 1 if len(reached) else None


def target_cell(runs: Records, target: float, *, timed: bool = True) -> str:
    """Returns the mean number of epochs (and seconds) of the runs that reach a target, and how many
    do if some do not."""
    epochs = {i: epochs_to(curve(run), target) for i, run in enumerate(runs)}
    reached = {i: number for i, number in epochs.items() if number is not None}
    if not reached:
        return "not reached"
    seconds = [n * runs[i]["train_seconds"] / runs[i]["epochs"] for i, n in reached.items()]
    cell = f"{np.mean(list(reached.values())):.1f}" + f" ({np.mean(seconds):.3g} s)" * timed
    return cell if len(reached) == len(runs) else f"{cell}, {len(reached)} of {len(runs)} seeds"


def cost_table(records: Records) -> list[list[str]]:
    """Makes a row for each algorithm: the cost of an update, and of each target."""
    runs = by_algorithm(records)
    if not runs:
        return []
    goals = targets(records)
    table = [["Algorithm", "FLOPs / update", "ms / update"]]
    table[0] += [f"Epochs (seconds) to {100 * goal:.4g} %" for goal in goals]
    for algorithm, of_one in runs.items():
        flops = [r["flops_per_update"] for r in of_one if r.get("flops_per_update")]
        steps = [1000 * r["train_seconds"] / r["updates"] for r in of_one if r.get("updates")]
        table.append(
            [
                ALGORITHM_NAMES[algorithm],
                f"{np.mean(flops):.2e}" if flops else "-",
                f"{np.mean(steps):.3g}" if steps else "-",
                *(target_cell(of_one, goal) for goal in goals),
            ]
        )
    return table


def epochs_table(records: Records) -> list[list[str]]:
    """Makes a row for each algorithm: the epochs to each target."""
    runs = by_algorithm(records)
    goals = targets(records)
    return [
        ["Algorithm", *(f"Epochs to {100 * goal:.4g} %" for goal in goals)],
        *(
            [ALGORITHM_NAMES[name], *(target_cell(of_one, goal, timed=False) for goal in goals)]
            for name, of_one in runs.items()
        ),
    ]


def cost_figure(records: Records, name: str) -> Figure:
    """Draws the accuracy of this name, mean over seeds, against updates, seconds and FLOPs."""
    figure = Figure(figsize=(9.6, 3.6))
    panels = figure.subplots(1, 3, sharey=True)
    lowest = 100.0
    for algorithm, runs in by_algorithm(records).items():
        color, marker = ALGORITHM_STYLES[algorithm]
        accuracy = 100 * np.mean([curve(run) for run in runs], axis=0)
        lowest = min(lowest, float(accuracy[len(accuracy) // 5]))
        first = runs[0]
        done = np.arange(1, len(accuracy) + 1) / len(accuracy)
        costs = {
            "Updates": first.get("updates"),
            "Seconds": np.mean([run["train_seconds"] for run in runs]),
            "FLOPs": first.get("updates", 0) * (first.get("flops_per_update") or 0),
        }
        for axes, (cost, total) in zip(panels, costs.items(), strict=True):
            axes.set_xlabel(cost)
            if total:
                every = max(1, len(done) // 10)
                style: dict[str, Any] = {"markersize": 3, "markevery": every, "color": color}
                label = ALGORITHM_NAMES[algorithm]
                axes.plot(total * done, accuracy, marker=marker, label=label, **style)
    for axes in panels:
        log_axis_below(axes)
        axes.grid(axis="y")
    # The low accuracies of the first epochs would squeeze all differences into a thin line.
    panels[0].set_ylim(bottom=max(0.0, lowest - 5), top=100.5)
    panels[0].set_ylabel(f"{name}, %")
    panels[0].set_title("Accuracy against cost")
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=len(names))
    return figure
