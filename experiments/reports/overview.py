"""All comparisons of several folders side by side: SFFA against FFA and backprop."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from experiments.config.continual_methods import method_label
from experiments.harness import outcomes
from experiments.harness.queries import distinct, where
from experiments.harness.results import Results
from experiments.reports import comparison_tables, continual_tables, intervals
from experiments.reports.html_report import Picture, Section
from experiments.reports.names import ALGORITHM_NAMES, SCENARIO_NAMES
from experiments.reports.style import ALGORITHM_STYLES, TEXT_COLOR

BASELINES = ("ffa", "bp")
"""The algorithms that SFFA is compared with."""


class Case(NamedTuple):
    """One setting in which algorithms were compared.

    Attributes:
      name: data, network and task.
      values: for each algorithm, each seed's accuracy.
      failures: why an algorithm cannot be tested.
    """

    name: str
    values: Mapping[str, Mapping[int, float]]
    failures: Mapping[str, str]


def run_name(run: Results) -> str:
    """Returns a run's folder and data set, once if they are equal, what it is tested on if that is
    not the test set, and whether the test set chose the epoch."""
    folder, dataset = run.path.resolve().name, run.options["dataset"]
    name = folder if folder == dataset else f"{folder}: {dataset}"
    if run.options.get("held_out"):
        return f"{name} (held-out training images)"
    leaks = run.options.get("selection") == "test"
    return f"{name} (epoch chosen on the test set)" if leaks else name


def classification_cases(run: Results) -> list[Case]:
    """Returns the one case of a run of `compare` or `latents`."""
    widths = [*run.options.get("channels", ()), *run.options["hidden"]]
    name = f"{run_name(run)}, {'-'.join(map(str, widths))}, {run.options['preset']}"
    values = comparison_tables.accuracies(run.records)
    return [Case(name, values, outcomes.failures(run.records))]


def continual_cases(run: Results) -> list[Case]:
    """Returns a case for each scenario and strategy of a continual grid."""
    records, cases = continual_tables.ordered(run.records), []
    for scenario, strategy in distinct(records, "scenario", "strategy"):
        runs = where(records, scenario=scenario, strategy=strategy)
        name = f"{run_name(run)}, {SCENARIO_NAMES[scenario]}, {method_label(strategy)}"
        values = comparison_tables.accuracies(runs, "average_accuracy")
        cases.append(Case(name, values, outcomes.failures(runs)))
    return cases


CASES: dict[str, Callable[[Results], list[Case]]] = {
    "compare": classification_cases,
    "latents": classification_cases,
    "continual": continual_cases,
}
"""The experiments that compare accuracies, each with the function that makes its cases."""


def differences(case: Case) -> dict[str, intervals.PairedTest]:
    """Tests SFFA against each baseline on their common seeds; the p-values are not corrected."""
    return {
        baseline: test
        for baseline in BASELINES
        if {"sffa", baseline} <= {*case.values}
        for test in intervals.paired_tests(
            {name: case.values[name] for name in ("sffa", baseline)}, case.failures
        )
    }


def accuracy_table(cases: Sequence[Case]) -> list[list[str]]:
    """Makes a row for each case: accuracies, and SFFA's differences with corrected p-values."""
    algorithms = ("sffa", "ffa", "bp")
    head = ["Setting", *(f"{ALGORITHM_NAMES[a]}, %" for a in algorithms)]
    for baseline in BASELINES:
        head += [f"SFFA - {ALGORITHM_NAMES[baseline]}, points", "p (paired t, Holm)"]
    tests = {
        (i, baseline): test
        for i, case in enumerate(cases)
        for baseline, test in differences(case).items()
    }
    tests = dict(zip(tests, intervals.holm_corrected(list(tests.values())), strict=True))
    table = [head]
    for i, case in enumerate(cases):
        row = [case.name]
        for algorithm in algorithms:
            cell = intervals.with_bounds(list(case.values.get(algorithm, {}).values()))
            words = case.failures.get(algorithm)
            row.append(f"{cell} ({words})" if words else cell)
        for baseline in BASELINES:
            test = tests.get((i, baseline))
            row += [test.difference.with_bounds(), test.cell] if test else ["-"] * 2
        table.append(row)
    return table


def differences_figure(cases: Sequence[Case]) -> Figure:
    """Draws SFFA's lead over FFA and backprop in every case, with 95 % intervals."""
    figure = Figure(figsize=(8.6, 1.3 + 0.3 * len(cases)))
    axes = figure.subplots()
    for place, baseline in enumerate(BASELINES):
        color, marker = ALGORITHM_STYLES[baseline]
        leads = {
            i: tests[baseline].difference
            for i, case in enumerate(cases)
            if baseline in (tests := differences(case))
        }
        if not leads:
            continue
        axes.errorbar(
            [100 * lead.mean for lead in leads.values()],
            np.array(list(leads)) + 0.16 * (2 * place - 1),
            xerr=np.concatenate([lead.errors() for lead in leads.values()], axis=1),
            fmt=marker,
            color=color,
            markersize=5,
            capsize=2,
            label=f"SFFA - {ALGORITHM_NAMES[baseline]}",
        )
    axes.axvline(0, color=TEXT_COLOR, linewidth=0.8, linestyle=":")
    axes.set_yticks(range(len(cases)), [case.name for case in cases], fontsize=8)
    axes.set_ylim(len(cases) - 0.5, -0.5)
    axes.grid(axis="x")
    axes.set_xlabel("SFFA's lead in test accuracy, points (negative: SFFA is behind)")
    figure.legend(loc="outside upper left", ncols=2)
    return figure


def section(runs: Sequence[Results]) -> Section | None:
    """Makes the section of all comparisons; None if no run compares accuracies."""
    cases = [case for run in runs if run.experiment in CASES for case in CASES[run.experiment](run)]
    cases = [case for case in cases if differences(case)]
    if not cases:
        return None
    return Section(
        title="All comparisons side by side",
        lead=f"Mean test accuracy with its {intervals.ENDS}, in continual learning over all tasks "
        "after the last one, and SFFA's lead, paired by seed. The p-values are corrected together.",
        tables={"Accuracies and differences": accuracy_table(cases)},
        pictures=[
            Picture(
                "differences.png",
                f"SFFA's lead over FFA and backprop, mean and {intervals.ENDS}.",
                partial(differences_figure, cases),
            )
        ],
    )
