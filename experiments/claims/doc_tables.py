"""Regenerates the tables of README.md and docs/ from the raw results; no number is typed by hand.

    python -m experiments.claims.doc_tables

Each table stands between `<!-- results: KIND FOLDER... -->` and `<!-- end -->` and is made from the
named folders under `results/` (`reproduced` names a kind of claims instead). A test checks that the
tables are up to date.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from experiments.claims import comparisons, machine_time, verdicts
from experiments.claims.comparisons import ROOT, name_of
from experiments.claims.published import FIGURE, STRATEGIES
from experiments.config import continual_options
from experiments.config import options as shared
from experiments.config.continual_methods import method_label
from experiments.harness import tuning
from experiments.harness.outcomes import finished, marked
from experiments.harness.queries import Records, distinct, where
from experiments.harness.results import Results, load_results
from experiments.reports import (
    ablation_tables,
    benchmark_tables,
    continual_tables,
    estimator_tables,
    intervals,
    latents_tables,
    record_tables,
    robustness_tables,
    symmetry_tables,
    tuning_tables,
    unit_turnover,
)
from experiments.reports.names import ALGORITHM_NAMES, SCENARIO_NAMES

Table = list[list[str]]
TABLE = re.compile(r"(<!-- results: (\w+) ([^>]*?) -->\n).*?(<!-- end -->)", re.DOTALL)


def load(name: str) -> Results:
    """Reads a folder under `results/`; options added since then have the preset's value."""
    results = load_results(ROOT / "results" / name)
    options = results.options
    if results.experiment in ("compare", "latents", "robustness", "symmetry"):
        options = shared.Options(preset=options["preset"]).absent() | options
    elif results.experiment == "continual":
        options = continual_options.Options(preset=options["preset"]).absent() | options
    return replace(results, config=results.config | {"options": options})


def ablated(runs: Sequence[Results]) -> list[list[str]]:
    """Returns the effect of each change, of all algorithms."""
    (run,) = runs
    table: list[list[str]] = []
    for algorithm in run.options["algorithms"]:
        table += ablation_tables.effects_table(run.records, algorithm)[1 if table else 0 :]
    return table


def imbalance(runs: Sequence[Results]) -> list[list[str]]:
    """Returns the imbalance of gradients from positive and negative samples, for the published rule
    and the default."""
    (run,) = runs
    labels = {"published": "the paper's", "default": "`default`"}
    records = [record for record in run.records if record["setting"] in labels]
    header, *rows = symmetry_tables.imbalance_table(records)
    rule = header.index("Rule")
    return [header, *([*row[:rule], labels[row[rule]], *row[rule + 1 :]] for row in rows)]


def in_figure(dataset: str, scenario: str, strategy: str) -> str:
    """Returns SFFA's and backprop's accuracy in the paper's figure; empty if it is not there."""
    if (dataset, scenario) not in FIGURE or strategy not in STRATEGIES:
        return ""
    pair = FIGURE[dataset, scenario][STRATEGIES.index(strategy)]
    return " / ".join(f"{number:.2f}" for number in pair)


def final_accuracy(records: Records, **cell: str) -> str:
    """Returns the accuracy over all tasks, at the end, of a setting; names runs that failed."""
    accuracy = [record["average_accuracy"] for record in finished(records, **cell)]
    return marked(intervals.plus_minus(accuracy), where(records, **cell))


def continual(runs: Sequence[Results]) -> list[list[str]]:
    """Makes a row for each run, scenario and strategy: final accuracy over all tasks."""
    ordered = [continual_tables.ordered(run.records) for run in runs]
    found = {record["algorithm"] for records in ordered for record in records}
    algorithms = [name for name in continual_tables.ORDER["algorithm"] if name in found]
    names = [ALGORITHM_NAMES[name] for name in algorithms]
    table = [["Run", "Scenario", "Strategy", *names, "Paper: SFFA / backprop"]]
    for run, records in zip(runs, ordered, strict=True):
        for scenario, strategy in distinct(records, "scenario", "strategy"):
            cells = []
            for algorithm in algorithms:
                cell = {"scenario": scenario, "strategy": strategy, "algorithm": algorithm}
                cells.append(final_accuracy(records, **cell))
            table.append(
                [
                    f"[{name_of(run).removeprefix('continual/')}](results/{name_of(run)})",
                    SCENARIO_NAMES[scenario].removesuffix("-incremental"),
                    method_label(strategy),
                    *cells,
                    in_figure(run.options["dataset"], scenario, strategy),
                ]
            )
    return table


def beside(runs: Sequence[Results]) -> list[list[str]]:
    """The rows of `continual` that all runs have, those of one setting under each other."""
    header, *rows = continual(runs)
    cells = [tuple(row[1:3]) for row in rows]
    shared = [cell for cell in dict.fromkeys(cells) if cells.count(cell) == len(runs)]
    return [header, *(row for cell in shared for row in rows if tuple(row[1:3]) == cell)]


def changed(runs: Sequence[Results]) -> list[list[str]]:
    """Makes a row for each continual run, named by the options that differ from the first run's:
    accuracy in every setting that several runs have."""
    ordered = [continual_tables.ordered(run.records) for run in runs]
    fields = tuple(continual_tables.ORDER)
    found = [cell for records in ordered for cell in distinct(records, *fields)]
    cells = [cell for cell in dict.fromkeys(found) if found.count(cell) > 1]
    methods = {name: method_label(name) for _, name, _ in cells}
    names = (SCENARIO_NAMES, methods, ALGORITHM_NAMES)
    varied = [i for i in range(len(fields)) if len({cell[i] for cell in cells} - {"readout"}) > 1]
    header = [", ".join(names[i][cell[i]] for i in varied) or "Accuracy, %" for cell in cells]
    table = [["Changed options", *header]]
    for run, records in zip(runs, ordered, strict=True):
        own = {k: v for k, v in run.options.items() if k not in shared.RESUMABLE_OPTIONS}
        flags = shared.flags(own, runs[0].options)
        name = comparisons.code(flags) if flags else "none"
        accuracies = [final_accuracy(records, **dict(zip(fields, c, strict=True))) for c in cells]
        table.append([f"{name} ([raw](results/{name_of(run)}))", *accuracies])
    return table


def pool(runs: Sequence[Results]) -> Results:
    """Joins the records of runs, e.g. of one data set, whose algorithms have different rates."""
    return replace(runs[0], records=[record for run in runs for record in run.records])


def strategies(runs: Sequence[Results]) -> list[list[str]]:
    """Makes a row for each scenario and strategy: final accuracy by algorithm, over all runs."""
    return [row[1:-1] for row in continual([pool(runs)])]


def continual_cost(runs: Sequence[Results]) -> list[list[str]]:
    """Returns forgetting, storage and time of the class scenario, in the order of storage."""
    records = continual_tables.ordered(pool(runs).records)
    cells = continual_tables.summary(finished(records, scenario="class"))
    table = continual_tables.measures_table(cells)
    return [[*row[1:6], *row[8:]] for row in table]


def remembering(runs: Sequence[Results]) -> list[list[str]]:
    """Makes a row for each data set, strategy and algorithm of class-incremental learning."""
    table = [["Data", "Strategy", "Algorithm", "Accuracy", "First task when learned, at the end"]]
    table[0] += ["Earlier tasks, newest task", *continual_tables.STORED.values(), "Seconds"]
    for run in runs:
        records = finished(continual_tables.ordered(run.records), scenario="class")
        records.sort(key=lambda record: sum(record["stored_bytes"].values()))
        for strategy, algorithm in distinct(records, "strategy", "algorithm"):
            runs_of_method = where(records, strategy=strategy, algorithm=algorithm)
            apart = [continual_tables.tasks_apart(r) for r in runs_of_method]
            earlier, newest = np.array(apart, float).T
            first, last = np.array(
                [(m[0][0], m[-1][0]) for m in (r["accuracy_matrix"] for r in runs_of_method)]
            ).T
            table.append(
                [
                    run.options["dataset"],
                    method_label(strategy),
                    ALGORITHM_NAMES[algorithm],
                    intervals.plus_minus([r["average_accuracy"] for r in runs_of_method]),
                    f"{100 * first.mean():.2f}, {100 * last.mean():.2f}",
                    f"{100 * earlier.mean():.2f}, {100 * newest.mean():.2f}",
                    *continual_tables.stored_cells(runs_of_method[0]["stored_bytes"]),
                    f"{np.mean([r['train_seconds'] for r in runs_of_method]):.3g}",
                ]
            )
    return table


def record_rows(runs: Sequence[Results]) -> list[list[str]]:
    """Makes a row for each row of the records and algorithm, without columns of one value."""
    table = [[*record_tables.HEAD, "Device"]]
    for run in runs:
        rows = record_tables.records_table(run.records)[1:]
        table += [[*row, machine_time.device_name(run)] for row in rows]
    if len({row[-1] for row in table[1:]}) == 1:
        table = [row[:-1] for row in table]
    columns = list(zip(*table, strict=True))
    if len(table) > 2:
        columns = [column for column in columns if len(set(column[1:])) > 1]
    return [list(row) for row in zip(*columns, strict=True)]


def claims(runs: Sequence[Results]) -> list[list[str]]:
    """Makes a row for each run, measure and layer: the paper's claims about latents."""
    table: list[list[str]] = []
    for run in runs:
        head, *rows = latents_tables.claims_table(run.records)
        table += [] if table else [["Run", *head]]
        table += [[name_of(run).removeprefix("latents/"), *row] for row in rows]
    return table


def of_one(make: Callable[[Any], Table]) -> Callable[[Sequence[Results]], Table]:
    """Returns the function that makes a table from the records of one run."""

    def table(runs: Sequence[Results]) -> Table:
        (run,) = runs
        return make(run.records)

    return table


def searched(make: Callable[[Any], Table]) -> Callable[[Sequence[Results]], Table]:
    """Returns the function that makes a table from the trials of one run's search."""

    def table(runs: Sequence[Results]) -> Table:
        (run,) = runs
        return make(tuning.read_trials(run.path))

    return table


def benchmarked(title: str) -> Callable[[Sequence[Results]], list[list[str]]]:
    """Returns the function that makes one table of the benchmark's report, by its title there."""

    def table(runs: Sequence[Results]) -> list[list[str]]:
        return benchmark_tables.tables([r for run in runs for r in run.records])[title]

    return table


KINDS: dict[str, Callable[[Sequence[Results]], list[list[str]]]] = {
    "overview": comparisons.overview,
    "comparison": comparisons.comparison,
    "variants": comparisons.variants,
    "tests": comparisons.tests,
    "depth": comparisons.depth,
    "epochs": comparisons.epochs,
    "ablation": ablated,
    "records": record_rows,
    "robustness": of_one(partial(robustness_tables.distribution_table, failed_below=0.9)),
    "by_value": of_one(robustness_tables.by_value_table),
    "sizes": of_one(symmetry_tables.size_table),
    "imbalance": imbalance,
    "continual": continual,
    "beside": beside,
    "changed": changed,
    "strategies": strategies,
    "continual_cost": continual_cost,
    "continual_tests": lambda runs: continual_tables.tests_table(pool(runs).records),
    "significant": lambda runs: continual_tables.significant_table(pool(runs).records),
    "remembering": remembering,
    "rehearsal_tests": lambda runs: continual_tables.controls_table(
        [(run.options["dataset"], record) for run in runs for record in run.records],
        "activity_rehearsal",
    ),
    "folds": lambda runs: estimator_tables.folds_table(pool(runs).records),
    "classes": of_one(estimator_tables.classes_table),
    "claims": claims,
    "measures": of_one(latents_tables.measures_table),
    "neurons": of_one(lambda records: unit_turnover.table(continual_tables.ordered(records))),
    "tuned": searched(tuning_tables.choice_table),
    "expected_best": searched(tuning_tables.expected_table),
    "training": benchmarked("Training, one epoch"),
    "scoring": benchmarked("Scoring all images against all labels"),
    "kernels": benchmarked("Kernels"),
    "maps": benchmarked("Scratch memory of convolutions"),
    "sweeps": benchmarked("Sweeps"),
    "pipeline": benchmarked("One network over several devices"),
    "scratch": benchmarked("Scratch memory of one update"),
}


def markdown(table: Sequence[Sequence[str]]) -> str:
    """Formats a table in Markdown; the first row is its header."""
    rows = [f"| {' | '.join(row)} |" for row in table]
    return "\n".join([rows[0], "|" + "---|" * len(table[0]), *rows[1:]]) + "\n"


def filled(text: str, prefix: str = "") -> str:
    """Returns the text with every table renewed; `prefix` leads from its folder to the root."""

    def fill(match: re.Match[str]) -> str:
        names = match[3].split()
        if match[2] == "reproduced":
            table = verdicts.table(ROOT / "results", *names)
        elif match[2] == "time":
            table = machine_time.table(ROOT / "results", names)
        else:
            table = KINDS[match[2]]([load(name) for name in names])
        return match[1] + markdown(table).replace("](results/", f"]({prefix}results/") + match[4]

    return TABLE.sub(fill, text)


def pages() -> dict[Path, str]:
    """Returns every page that may hold tables, with the prefix of its links."""
    return {ROOT / "README.md": ""} | dict.fromkeys(sorted(ROOT.glob("docs/*.md")), "../")


def main() -> None:
    """Rewrites every page whose tables changed."""
    for path, prefix in pages().items():
        text = path.read_text(encoding="utf-8")
        new = filled(text, prefix)
        if new != text:
            path.write_text(new, encoding="utf-8")
            print(f"{path.relative_to(ROOT)}: tables renewed")


if __name__ == "__main__":
    main()
