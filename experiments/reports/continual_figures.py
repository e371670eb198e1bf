"""Figures of the continual-learning report, made from records alone."""

import itertools
from collections import Counter
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from experiments.config.continual_methods import method_label
from experiments.harness.outcomes import finished
from experiments.harness.queries import Records, distinct
from experiments.reports import intervals
from experiments.reports.names import SCENARIO_NAMES, algorithm_name
from experiments.reports.style import ALGORITHM_STYLES


def curves_figure(records: Records, scenario: str) -> Figure:
    """Mean accuracy over the tasks seen so far, after each task; one panel per strategy."""
    records = finished(records, scenario=scenario)
    strategies = distinct(records, "strategy")
    seeds = Counter((record["strategy"], record["algorithm"]) for record in records)
    columns = min(3, len(strategies))
    rows = -(-len(strategies) // columns)
    # No narrower than its title.
    figure = Figure(figsize=(max(7.2, 3.2 * columns + 0.6), 2.7 * rows + 0.7))
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    figure.suptitle(
        f"{SCENARIO_NAMES[scenario].capitalize()}: accuracy on the tasks seen so far, mean and "
        f"{intervals.name_of_ends(seeds.values())}",
        x=0.01,
        ha="left",
        fontsize=11,
    )
    handles: dict[str, Any] = {}
    for axes, strategy in itertools.zip_longest(panels.flat, strategies):
        if strategy is None:
            axes.set_visible(False)
            continue
        axes.set_title(method_label(strategy), fontsize=10)
        axes.grid(axis="y")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        for algorithm in distinct(records, "algorithm"):
            runs = finished(records, strategy=strategy, algorithm=algorithm)
            if not runs:
                continue
            curves = 100 * np.array([run["learning_curve"] for run in runs])
            color, marker = ALGORITHM_STYLES[algorithm]
            tasks = np.arange(1, curves.shape[1] + 1)
            (line,) = axes.plot(
                tasks, curves.mean(axis=0), color=color, marker=marker, markersize=4
            )
            handles[algorithm_name(algorithm)] = line
            if len(runs) > 1:
                low, high = 100 * np.array(intervals.band(curves / 100))
                axes.fill_between(tasks, low, high, color=color, alpha=0.2, linewidth=0)
    for axes in panels[:, 0]:
        axes.set_ylabel("Accuracy, %")
    for axes in panels[-1]:
        axes.set_xlabel("Tasks learned")
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=3)
    return figure


def matrices_figure(records: Records, scenario: str) -> Figure:
    """Heat maps of the mean accuracy matrix: one row per algorithm, one column per strategy."""
    records = finished(records, scenario=scenario)
    strategies, algorithms = distinct(records, "strategy"), distinct(records, "algorithm")
    size = (max(6.0, 1.9 * len(strategies) + 1.2), 1.9 * len(algorithms) + 0.9)
    figure = Figure(figsize=size)
    panels = figure.subplots(len(algorithms), len(strategies), squeeze=False)
    figure.suptitle(
        f"{SCENARIO_NAMES[scenario].capitalize()}: accuracy on each task after each task, %",
        x=0.01,
        ha="left",
        fontsize=11,
    )
    for axes, strategy in zip(panels[0], strategies, strict=True):
        axes.set_title(method_label(strategy), loc="center", fontsize=10)
    for axes, algorithm in zip(panels[:, 0], algorithms, strict=True):
        axes.set_ylabel(f"{algorithm_name(algorithm)}\nafter task")
    for axes in panels[-1]:
        axes.set_xlabel("on task")
    shades = None
    cells = itertools.product(algorithms, strategies)
    for axes, (algorithm, strategy) in zip(panels.flat, cells, strict=True):
        runs = finished(records, strategy=strategy, algorithm=algorithm)
        axes.set_xticks([])
        axes.set_yticks([])
        if not runs:
            axes.set_frame_on(False)
            continue
        matrix = np.mean([np.array(r["accuracy_matrix"], float) for r in runs], axis=0)
        shades = axes.imshow(100 * matrix, vmin=0, vmax=100, cmap="cividis")
        if len(matrix) > 6:
            continue
        for (i, j), value in np.ndenumerate(matrix):
            if np.isfinite(value):
                color = "black" if value > 0.5 else "white"
                middle = {"ha": "center", "va": "center", "fontsize": 7}
                axes.text(j, i, f"{100 * value:.0f}", color=color, **middle)
    if shades is not None:
        figure.colorbar(shades, ax=panels.ravel().tolist(), label="%", shrink=0.8)
    return figure
