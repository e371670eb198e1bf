"""The report of the continual-learning experiment, made from its records alone."""

import itertools
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from experiments.harness.results import Results
from experiments.reports import intervals, unit_turnover
from experiments.reports.continual_names import SCENARIO_NAMES, STRATEGY_NAMES
from experiments.reports.html_report import Picture, Section
from experiments.reports.style import ALGORITHM_NAMES, ALGORITHM_STYLES

Records = Sequence[Mapping[str, Any]]

ORDER = {
    "scenario": list(SCENARIO_NAMES),
    "strategy": list(STRATEGY_NAMES),
    "algorithm": ["sffa", "ffa", "bp"],
}


def name_of(algorithm: str) -> str:
    """An algorithm's name for people."""
    return ALGORITHM_NAMES.get(algorithm, algorithm)


def ordered(records: Records) -> list[Mapping[str, Any]]:
    """Records in the grid's order, however the starts that made them came one after another."""
    return sorted(
        records, key=lambda r: (*(names.index(r[f]) for f, names in ORDER.items()), r["seed"])
    )


def present(records: Records, field: str) -> list[str]:
    """The values of a field, each once, in order."""
    return list(dict.fromkeys(record[field] for record in records))


def of(records: Records, **fields: str) -> list[Mapping[str, Any]]:
    """The runs with these values that did not diverge."""
    return [
        record
        for record in records
        if record["status"] == "done" and all(record[k] == v for k, v in fields.items())
    ]


def by_seed(records: Records, measure: str = "average_accuracy") -> dict[str, dict[int, float]]:
    """A measure by algorithm and seed, as paired tests want it."""
    found: dict[str, dict[int, float]] = {}
    for record in records:
        if record[measure] is not None:
            found.setdefault(record["algorithm"], {})[record["seed"]] = record[measure]
    return found


def settings(records: Records) -> list[tuple[str, str]]:
    """Every (scenario, strategy) that has records."""
    return list(dict.fromkeys((r["scenario"], r["strategy"]) for r in records))


def summary(records: Records) -> pd.DataFrame:
    """One row a cell: means over seeds, as fractions; of the final accuracy its 95 % interval."""
    rows = []
    for scenario, strategy in settings(records):
        for algorithm in present(records, "algorithm"):
            cell = {"scenario": scenario, "strategy": strategy, "algorithm": algorithm}
            runs = of(records, **cell)
            diverged = sum(all(r[k] == v for k, v in cell.items()) for r in records) - len(runs)
            if not runs:
                continue
            accuracy = intervals.mean_interval([r["average_accuracy"] for r in runs])
            row: dict[str, Any] = {"dataset": runs[0]["dataset"], **cell}
            row |= {"seeds": len(runs), "diverged": diverged}
            row |= {
                "average_accuracy": accuracy.mean,
                "accuracy_low": accuracy.low,
                "accuracy_high": accuracy.high,
            }
            for measure in ("forgetting", "backward_transfer", "forward_transfer"):
                values = [r[measure] for r in runs if r[measure] is not None]
                row[measure] = float(np.mean(values)) if values else None
            seconds = float(np.mean([r["train_seconds"] for r in runs]))
            row |= {
                "strength": runs[0]["strength"],
                "stored_floats": runs[0]["stored_floats"],
                "seconds": seconds,
                "milliseconds_per_step": 1000 * seconds / runs[0]["steps"],
            }
            rows.append(row)
    return pd.DataFrame(rows)


def accuracy_table(records: Records) -> list[list[str]]:
    """Scenario and strategy by algorithm: final accuracy over all tasks."""
    algorithms = present(records, "algorithm")
    table = [["Scenario", "Strategy", *(f"{name_of(a)}, %" for a in algorithms)]]
    for scenario, strategy in settings(records):
        row = [SCENARIO_NAMES[scenario], STRATEGY_NAMES[strategy]]
        for algorithm in algorithms:
            runs = of(records, scenario=scenario, strategy=strategy, algorithm=algorithm)
            values = [run["average_accuracy"] for run in runs]
            row.append(intervals.with_bounds(values))
        table.append(row)
    return table


def tests_table(records: Records) -> list[list[str]]:
    """Paired tests between algorithms, all corrected together for their number (Holm)."""
    table = [["Scenario", "Strategy", "Difference", "Points [95 % interval]", "p (paired t, Holm)"]]
    found = []
    for scenario, strategy in settings(records):
        values = by_seed(of(records, scenario=scenario, strategy=strategy))
        for pair in itertools.combinations(values, 2):
            # One pair at a time: the correction is over all of the grid's tests, below.
            for test in intervals.paired_tests({name: values[name] for name in pair}):
                found.append((scenario, strategy, test))
    known = [test.p for *_, test in found if test.p is not None]
    corrected = iter(intervals.holm(known))
    for scenario, strategy, test in found:
        table.append(
            [
                SCENARIO_NAMES[scenario],
                STRATEGY_NAMES[strategy],
                f"{name_of(test.first)} - {name_of(test.second)}",
                test.difference.with_bounds(),
                "-" if test.p is None else f"{next(corrected):.2g}",
            ]
        )
    return table


def _points(value: float | None) -> str:
    return "-" if value is None or np.isnan(value) else f"{100 * value:+.2f}"


def measures_table(cells: pd.DataFrame) -> list[list[str]]:
    """Forgetting, transfer, and what each strategy costs."""
    table = [
        [
            *("Scenario", "Strategy", "Algorithm", "Forgetting", "Backward transfer"),
            *("Forward transfer", "Stored, million floats", "ms / step"),
        ]
    ]
    for row in cells.to_dict("records"):
        table.append(
            [
                SCENARIO_NAMES[row["scenario"]],
                STRATEGY_NAMES[row["strategy"]],
                name_of(row["algorithm"]),
                _points(row["forgetting"]),
                _points(row["backward_transfer"]),
                _points(row["forward_transfer"]),
                f"{row['stored_floats'] / 1e6:.3g}",
                f"{row['milliseconds_per_step']:.3g}",
            ]
        )
    return table


def curves_figure(records: Records, scenario: str) -> Figure:
    """A panel a strategy: mean accuracy over the tasks seen so far, after each task."""
    records = of(records, scenario=scenario)
    strategies = present(records, "strategy")
    columns = min(3, len(strategies))
    rows = -(-len(strategies) // columns)
    # No narrower than its title.
    figure = Figure(figsize=(max(7.2, 3.2 * columns + 0.6), 2.7 * rows + 0.7))
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    figure.suptitle(
        f"{SCENARIO_NAMES[scenario].capitalize()}: accuracy on the tasks seen so far, mean and "
        "95 % band",
        x=0.01,
        ha="left",
        fontsize=11,
    )
    handles: dict[str, Any] = {}
    for axes, strategy in itertools.zip_longest(panels.flat, strategies):
        if strategy is None:
            axes.set_visible(False)
            continue
        axes.set_title(STRATEGY_NAMES[strategy], fontsize=10)
        axes.grid(axis="y")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        for algorithm in present(records, "algorithm"):
            runs = of(records, strategy=strategy, algorithm=algorithm)
            if not runs:
                continue
            curves = 100 * np.array([run["learning_curve"] for run in runs])
            color, marker = ALGORITHM_STYLES[algorithm]
            tasks = np.arange(1, curves.shape[1] + 1)
            (line,) = axes.plot(
                tasks, curves.mean(axis=0), color=color, marker=marker, markersize=4
            )
            handles[name_of(algorithm)] = line
            if len(runs) > 1:
                bands = [intervals.mean_interval(column.tolist()) for column in curves.T]
                low, high = [b.low or b.mean for b in bands], [b.high or b.mean for b in bands]
                axes.fill_between(tasks, low, high, color=color, alpha=0.2, linewidth=0)
    for axes in panels[:, 0]:
        axes.set_ylabel("Accuracy, %")
    for axes in panels[-1]:
        axes.set_xlabel("Tasks learned")
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=3)
    return figure


def matrices_figure(records: Records, scenario: str) -> Figure:
    """Heat maps of the mean accuracy matrix: an algorithm a row, a strategy a column."""
    records = of(records, scenario=scenario)
    strategies, algorithms = present(records, "strategy"), present(records, "algorithm")
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
        axes.set_title(STRATEGY_NAMES[strategy], loc="center", fontsize=10)
    for axes, algorithm in zip(panels[:, 0], algorithms, strict=True):
        axes.set_ylabel(f"{name_of(algorithm)}\nafter task")
    for axes in panels[-1]:
        axes.set_xlabel("on task")
    shades = None
    cells = itertools.product(algorithms, strategies)
    for axes, (algorithm, strategy) in zip(panels.flat, cells, strict=True):
        runs = of(records, strategy=strategy, algorithm=algorithm)
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


def section(results: Results) -> Section:
    """What there is to say of a grid of runs.

    Raises:
      ValueError: if there is no record.
    """
    if not results.records:
        raise ValueError("continual_report: `records` must hold at least one run, got none.")
    records = ordered(results.records)
    cells = summary(records)
    tables = {"Accuracy over all tasks, in the end": accuracy_table(records)}
    tests = tests_table(records)
    if len(tests) > 1:
        tables["Paired tests"] = tests
    if len(cells):
        tables["Forgetting, transfer and cost"] = measures_table(cells)
    neurons = unit_turnover.table(of(records))
    if len(neurons) > 1:
        tables["Neurons in the end, and what becomes of them in a later task"] = neurons
    pictures = []
    for scenario in present(of(records), "scenario"):
        name = SCENARIO_NAMES[scenario]
        pictures += [
            Picture(
                f"curves_{scenario}.png",
                f"Accuracy over the tasks seen so far, {name}.",
                partial(curves_figure, records, scenario),
            ),
            Picture(
                f"matrices_{scenario}.png",
                f"Accuracy on each task (across) after each task (down), {name}.",
                partial(matrices_figure, records, scenario),
            ),
        ]
        for layer in range(unit_turnover.depth(of(records, scenario=scenario))):
            pictures.append(
                Picture(
                    f"neurons_{scenario}_layer_{layer + 1}.png",
                    f"What became of layer {layer + 1}'s neurons during each task, {name}: shares, "
                    "mean over seeds. A neuron is a class's if more than half of its activity is "
                    "for that class; reused: another class's than before.",
                    partial(unit_turnover.turnover_figure, of(records, scenario=scenario), layer),
                )
            )
    diverged = sum(record["status"] != "done" for record in records)
    dataset = records[0]["dataset"]
    return Section(
        title=f"Continual learning on {dataset}",
        lead=(
            f"{len(records)} runs on {dataset}"
            + (f", of which {diverged} diverged and are left out" if diverged else "")
            + ". Each learns the classes a few at a time and is tested on all tasks after each. "
            "Accuracy is the mean over the tasks' test samples after the last task; forgetting is "
            "how far a task ends below its best; backward and forward transfer are what later "
            "tasks did to earlier ones and earlier ones to later ones (points). Stored: what a "
            "strategy keeps, an image counting as its pixels. Time includes the evaluations."
        ),
        tables=tables,
        pictures=pictures,
        records=records,
        summary=cells,
        config=results.config,
        command=results.command,
    )
