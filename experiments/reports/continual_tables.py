"""Tables of the continual-learning report, made from records alone."""

from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any

import numpy as np
import pandas as pd

from experiments.config.continual_methods import METHODS, method_label
from experiments.harness.outcomes import DID_NOT_LEARN, failures, finished, marked
from experiments.harness.queries import Records, distinct, in_order, where
from experiments.reports import intervals
from experiments.reports.comparison_tables import accuracies
from experiments.reports.names import SCENARIO_NAMES, algorithm_name
from sffa_jax.continual import metrics

STORED = {
    "images": "Images, MB",
    "statistics": "Statistics, MB",
    "parameters": "Parameters, MB",
}
"""Parts of what a method stores, and their columns."""

ORDER = {
    "scenario": list(SCENARIO_NAMES),
    "strategy": list(METHODS),
    "algorithm": ["sffa", "ffa", "bp", "readout"],
}


def ordered(records: Records) -> list[Mapping[str, Any]]:
    """Sorts records in the order of the grid; a closed form has the algorithm "readout", once.

    Methods that are no longer in the table come last, by name.
    """
    once: dict[tuple[Any, ...], Mapping[str, Any]] = {}
    for record in records:
        if record["strategy"] in METHODS and METHODS[record["strategy"]].readout:
            record = {**record, "algorithm": "readout"}  # records may repeat it for each algorithm
        once.setdefault((*(record[field] for field in ORDER), record["seed"]), record)
    return in_order(sorted(once.values(), key=itemgetter("seed")), ORDER)


def summary(records: Records) -> pd.DataFrame:
    """One row per cell: means over seeds, as fractions, and the final accuracy's 95 % interval."""
    rows = []
    for scenario, strategy in distinct(records, "scenario", "strategy"):
        for algorithm in distinct(records, "algorithm"):
            cell = {"scenario": scenario, "strategy": strategy, "algorithm": algorithm}
            runs = finished(records, **cell)
            diverged = len(where(records, **cell)) - len(runs)
            if not runs:
                continue
            values = [r["average_accuracy"] for r in runs]
            accuracy = intervals.mean_interval(values, intervals.UNIT)
            row: dict[str, Any] = {"dataset": runs[0]["dataset"], **cell}
            row |= {"seeds": len(runs), "diverged": diverged}
            row["did_not_learn"] = sum(r["status"] == DID_NOT_LEARN for r in runs)
            row |= {
                "average_accuracy": accuracy.mean,
                "accuracy_low": accuracy.low,
                "accuracy_high": accuracy.high,
                "accuracy_least": accuracy.least,
                "accuracy_greatest": accuracy.greatest,
            }
            old_and_new = [tasks_apart(r) for r in runs]
            row["newest_task"] = float(np.mean([newest for _, newest in old_and_new]))
            earlier = [value for value, _ in old_and_new if value is not None]
            row["earlier_tasks"] = float(np.mean(earlier)) if earlier else None
            for measure in ("forgetting", "backward_transfer", "forward_transfer"):
                values = [r[measure] for r in runs if r[measure] is not None]
                row[measure] = float(np.mean(values)) if values else None
            seconds = float(np.mean([r["train_seconds"] for r in runs]))
            row |= {
                "strength": runs[0]["strength"],
                "learning_rate": runs[0].get("learning_rate"),
                **{f"stored_{part}": runs[0]["stored_bytes"][part] for part in STORED},
                "seconds": seconds,
                "milliseconds_per_step": 1000 * seconds / runs[0]["steps"],
            }
            rows.append(row)
    return pd.DataFrame(rows)


def tasks_apart(record: Mapping[str, Any]) -> tuple[float | None, float]:
    """Final accuracy on the earlier tasks (stability) and on the newest one (plasticity)."""
    matrix = np.array(record["accuracy_matrix"], float)  # None, not seen yet, becomes NaN
    return metrics.earlier_tasks(matrix), metrics.newest_task(matrix)


def stored_cells(stored: Mapping[str, Any]) -> list[str]:
    """Megabytes of each part of what a method keeps."""
    return [f"{stored[part] / 1e6:.3g}" for part in STORED]


def accuracy_table(records: Records) -> list[list[str]]:
    """Scenario and strategy by algorithm: final accuracy over all tasks."""
    algorithms = distinct(records, "algorithm")
    table = [["Scenario", "Strategy", *(f"{algorithm_name(a)}, %" for a in algorithms)]]
    for scenario, strategy in distinct(records, "scenario", "strategy"):
        row = [SCENARIO_NAMES[scenario], method_label(strategy)]
        for algorithm in algorithms:
            cell = {"scenario": scenario, "strategy": strategy, "algorithm": algorithm}
            values = [run["average_accuracy"] for run in finished(records, **cell)]
            row.append(marked(intervals.with_bounds(values), where(records, **cell)))
        table.append(row)
    return table


def paired_tests(records: Records) -> list[tuple[str, str, intervals.PairedTest]]:
    """Scenario, strategy and test of each pair of algorithms; Holm's correction covers all tests of
    the grid."""
    found = []
    for scenario, strategy in distinct(records, "scenario", "strategy"):
        runs = where(records, scenario=scenario, strategy=strategy)
        values, failed = accuracies(runs, "average_accuracy"), failures(runs)
        # The correction below covers all tests of the grid.
        tests = intervals.paired_tests(values, failed, corrected=False)
        found += [(scenario, strategy, test) for test in tests]
    corrected = intervals.holm_corrected([test for *_, test in found])
    return [(*found[i][:2], test) for i, test in enumerate(corrected)]


def tests_table(records: Records) -> list[list[str]]:
    """The paired tests between algorithms."""
    return _rows_of(paired_tests(records))


def significant_table(records: Records) -> list[list[str]]:
    """The significant ones of the paired tests, or a row that says that none is."""
    tests = paired_tests(records)
    table = _rows_of([row for row in tests if row[-1].significant])
    return table if len(table) > 1 else [*table, [f"none of {len(tests)}", *["-"] * 4]]


def _rows_of(tests: Sequence[tuple[str, str, intervals.PairedTest]]) -> list[list[str]]:
    table = [["Scenario", "Strategy", "Difference", "Points [95 % interval]", "p (paired t, Holm)"]]
    for scenario, strategy, test in tests:
        table.append(
            [
                SCENARIO_NAMES[scenario],
                method_label(strategy),
                f"{algorithm_name(test.first)} - {algorithm_name(test.second)}",
                test.difference.with_bounds(),
                test.cell,
            ]
        )
    return table


def controls_table(
    records: Sequence[tuple[str, Mapping[str, Any]]], strategy: str
) -> list[list[str]]:
    """Paired tests of one strategy and each other one, in the class scenario; Holm's correction
    covers all tests of the table.

    Args:
      records: name of the data set and record, of one algorithm.
      strategy: the strategy.
    """
    table = [["Data", "Difference", "Points [95 % interval]", "p (paired t, Holm)"]]
    tests = []
    for dataset in dict.fromkeys(name for name, _ in records):
        # `failures` and `accuracies` compare what "algorithm" names.
        chosen = [
            {**record, "algorithm": record["strategy"]}
            for name, record in records
            if name == dataset and record["scenario"] == "class"
        ]
        values, failed = accuracies(chosen, "average_accuracy"), failures(chosen)
        for name in values:
            if name != strategy:
                pair = {key: values[key] for key in (strategy, name)}
                found = intervals.paired_tests(pair, failed, corrected=False)
                tests += [(dataset, test) for test in found]
    tests.sort(key=lambda row: -row[1].difference.mean)
    corrected = intervals.holm_corrected([test for _, test in tests])
    rows = zip([dataset for dataset, _ in tests], corrected, strict=True)
    for dataset, test in sorted(rows, key=lambda row: row[0]):  # keeps the order of differences
        names = f"{method_label(test.first)} - {method_label(test.second)}"
        table.append([dataset, names, test.difference.with_bounds(), test.cell])
    return table


def _percent(value: float | None) -> str:
    return "-" if value is None or np.isnan(value) else f"{100 * value:.2f}"


def _points(value: float | None) -> str:
    return "-" if value is None or np.isnan(value) else f"{100 * value:+.2f}"


def measures_table(cells: pd.DataFrame) -> list[list[str]]:
    """Old and new tasks apart, forgetting, transfer, storage and time of each cell.

    The methods of a scenario are in the order of what they store.
    """
    table = [
        [
            *("Scenario", "Strategy", "Algorithm", "Earlier tasks, %", "Newest task, %"),
            *("Forgetting", "Backward transfer", "Forward transfer", *STORED.values()),
            "ms / step",
        ]
    ]
    total = cells[[f"stored_{part}" for part in STORED]].sum(axis=1)
    position = cells["scenario"].map(ORDER["scenario"].index)
    by_storage = cells.assign(position=position, total=total)
    by_storage = by_storage.sort_values(["position", "total"], kind="stable")
    for row in by_storage.to_dict("records"):
        table.append(
            [
                SCENARIO_NAMES[row["scenario"]],
                method_label(row["strategy"]),
                algorithm_name(row["algorithm"]),
                _percent(row["earlier_tasks"]),
                _percent(row["newest_task"]),
                _points(row["forgetting"]),
                _points(row["backward_transfer"]),
                _points(row["forward_transfer"]),
                *stored_cells({part: row[f"stored_{part}"] for part in STORED}),
                f"{row['milliseconds_per_step']:.3g}",
            ]
        )
    return table
