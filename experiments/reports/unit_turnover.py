"""Figures and a table of unit turnover across the tasks of continual-learning runs."""

import itertools
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from experiments.config.continual_methods import method_label
from experiments.harness.queries import Record, Records, distinct, where
from experiments.reports.names import ALGORITHM_NAMES, SCENARIO_NAMES
from sffa_jax.analysis.unit_turnover import TURNOVER

MEASURE_NAMES = {
    "hoyer": "Hoyer sparsity",
    "active_share": "Active units, share",
    "dead_share": "Dead units, share",
    "selectivity": "Class selectivity",
    "owned_share": "Owned by a class, share",
    "overlap": "Overlap of two classes",
}
"""Titles of `sffa_jax.analysis.unit_turnover.MEASURES`."""

# Okabe and Ito's colors, from kept to free units.
COLORS = dict(zip(TURNOVER, ("#0072B2", "#D55E00", "#CC79A7", "#56B4E9", "#999999"), strict=True))


def shown(records: Records, layer: int) -> list[Record]:
    """The runs whose units were measured, in networks that have that layer."""
    return [r for r in records if "neurons" in r and layer < len(r["neurons"]["hoyer"][0])]


def depth(records: Records) -> int:
    """Number of layers of the deepest network that was measured."""
    return max((len(r["neurons"]["hoyer"][0]) for r in records if "neurons" in r), default=0)


def turnover_figure(records: Records, layer: int) -> Figure:
    """Stacked fractions of the units by their change during each task, means over seeds: a row per
    algorithm, a column per strategy."""
    records = shown(records, layer)
    strategies, algorithms = distinct(records, "strategy"), distinct(records, "algorithm")
    # The legend needs this width even for a single strategy.
    size = (max(6.0, 2.1 * len(strategies) + 1.6), 1.8 * len(algorithms) + 0.9)
    figure = Figure(figsize=size)
    grid = figure.subplots(
        len(algorithms), len(strategies), squeeze=False, sharex=True, sharey=True
    )
    for (row, algorithm), (column, strategy) in itertools.product(
        enumerate(algorithms), enumerate(strategies)
    ):
        axes = grid[row, column]
        runs = where(records, algorithm=algorithm, strategy=strategy)
        if row == 0:
            axes.set_title(method_label(strategy), loc="center", fontsize=10)
        if column == 0:
            axes.set_ylabel(f"{ALGORITHM_NAMES[algorithm]}\nFraction of units")
        if row == len(algorithms) - 1:
            axes.set_xlabel("Task")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if not runs:
            continue
        bottom: float | np.ndarray = 0.0
        for name, color in COLORS.items():
            fractions = [np.array(r["neurons"]["turnover"][name])[:, layer] for r in runs]
            mean = np.mean(fractions, axis=0)
            tasks = np.arange(1, len(mean) + 1)
            axes.bar(tasks, mean, bottom=bottom, color=color, width=0.85, label=name)
            bottom = bottom + mean
    handles, names = next(a for a in grid.flat if a.patches).get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=len(names))
    return figure


def table(records: Records) -> list[list[str]]:
    """Each layer's units at the end, and their mean turnover during the tasks after the first."""
    rows = [["Scenario", "Strategy", "Algorithm", "Layer", *MEASURE_NAMES.values()]]
    rows[0] += [f"{name.capitalize()}, %" for name in TURNOVER[:3]]
    for scenario, strategy, algorithm in distinct(records, "scenario", "strategy", "algorithm"):
        runs = where(records, scenario=scenario, strategy=strategy, algorithm=algorithm)
        for layer in range(depth(runs)):
            neurons = [r["neurons"] for r in shown(runs, layer)]
            values = [_mean([n[name][-1][layer] for n in neurons], ".3f") for name in MEASURE_NAMES]
            turnover = [
                # The first task starts from untrained units.
                _mean([100 * row[layer] for n in neurons for row in n["turnover"][name][1:]], ".1f")
                for name in TURNOVER[:3]
            ]
            names = SCENARIO_NAMES[scenario], method_label(strategy), ALGORITHM_NAMES[algorithm]
            rows.append([*names, str(layer + 1), *values, *turnover])
    return rows


def _mean(values: Sequence[float | None], spec: str) -> str:
    """Formats the mean; a silent layer has no sparsity (None), and a single task no turnover."""
    known = [value for value in values if value is not None]
    return f"{np.mean(known):{spec}}" if known else "-"
