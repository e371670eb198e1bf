"""One page of several runs: SFFA against FFA and backprop over data sets and experiments.

    python -m experiments.report runs/mnist runs/fashion_mnist runs/continual --out runs/all

starts with a table and a figure of all comparisons side by side, classification and continual
learning, and goes on with each folder's own report.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, NamedTuple, Self

import numpy as np
import tyro
from matplotlib.figure import Figure

from experiments.harness.experiment import execute
from experiments.harness.results import Results, read
from experiments.reports import comparison, continual_tables, html, intervals
from experiments.reports.continual_names import SCENARIO_NAMES, STRATEGY_NAMES
from experiments.reports.html import Picture, Section
from experiments.reports.sections import SECTIONS
from experiments.reports.style import ALGORITHM_NAMES, ALGORITHM_STYLES, text_color
from sffa_jax.checks import check_choice, reject

OTHERS = ("ffa", "bp")
"""What SFFA is compared with."""


@dataclass(frozen=True)
class Options:
    """Combine the results of several runs into one page."""

    folders: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Output folders of experiments."""
    out: Path = Path("runs/report")
    """Folder for the page."""
    compilation_cache: Path | None = None
    """Nothing is compiled here; as in all experiments."""

    @classmethod
    def defaults(cls, arguments: Sequence[str]) -> Self:
        """The options before the command line is read."""
        del arguments
        return cls(tyro.MISSING)


class Case(NamedTuple):
    """One setting in which algorithms were compared.

    Attributes:
      name: what was asked of them.
      values: for each algorithm, each seed's accuracy.
    """

    name: str
    values: Mapping[str, Mapping[int, float]]


def named(run: Results) -> str:
    """A run by its folder and its data set."""
    folder, dataset = run.path.resolve().name, run.options["dataset"]
    return folder if folder == dataset else f"{folder}: {dataset}"


def compared(run: Results) -> list[Case]:
    """A comparison's or the latents' one setting."""
    widths = [*run.options.get("channels", ()), *run.options["hidden"]]
    name = f"{named(run)}, {'-'.join(map(str, widths))}, {run.options['preset']}"
    return [Case(name, comparison.accuracies(run.records))]


def learned_in_tasks(run: Results) -> list[Case]:
    """Every scenario and strategy of a continual grid."""
    records = continual_tables.ordered(run.records)
    return [
        Case(
            f"{named(run)}, {SCENARIO_NAMES[scenario]}, {STRATEGY_NAMES[strategy]}",
            continual_tables.by_seed(
                continual_tables.of(records, scenario=scenario, strategy=strategy)
            ),
        )
        for scenario, strategy in continual_tables.settings(records)
    ]


CASES: dict[str, Callable[[Results], list[Case]]] = {
    "compare": compared,
    "latents": compared,
    "continual": learned_in_tasks,
}
"""The experiments that compare accuracies, and how."""


def differences(case: Case) -> dict[str, intervals.PairedTest]:
    """SFFA against each other algorithm on the seeds that both have; p as yet uncorrected."""
    return {
        other: test
        for other in OTHERS
        if {"sffa", other} <= {*case.values}
        for test in intervals.paired_tests({name: case.values[name] for name in ("sffa", other)})
    }


def accuracy_table(cases: Sequence[Case]) -> list[list[str]]:
    """A row a setting: accuracies, and SFFA's differences with corrected tests."""
    algorithms = ("sffa", "ffa", "bp")
    head = ["Setting", *(f"{ALGORITHM_NAMES[a]}, %" for a in algorithms)]
    for other in OTHERS:
        head += [f"SFFA - {ALGORITHM_NAMES[other]}, points", "p (paired t, Holm)"]
    tests = [differences(case) for case in cases]
    known = [test.p for of in tests for test in of.values() if test.p is not None]
    corrected = iter(intervals.holm(known))
    table = [head]
    for case, of in zip(cases, tests, strict=True):
        row = [case.name]
        for algorithm in algorithms:
            values = list(case.values.get(algorithm, {}).values())
            row.append(intervals.with_bounds(values))
        for other in OTHERS:
            test = of.get(other)
            row.append("-" if test is None else test.difference.with_bounds())
            row.append("-" if test is None or test.p is None else f"{next(corrected):.2g}")
        table.append(row)
    return table


def differences_figure(cases: Sequence[Case]) -> Figure:
    """SFFA's lead over FFA and backprop in every setting, with 95 % intervals."""
    figure = Figure(figsize=(8.6, 1.3 + 0.3 * len(cases)))
    axes = figure.subplots()
    for place, other in enumerate(OTHERS):
        color, marker = ALGORITHM_STYLES[other]
        found = [
            (i, t[other].difference) for i, c in enumerate(cases) if other in (t := differences(c))
        ]
        if not found:
            continue
        means = np.array([100 * of.mean for _, of in found])
        halves = [100 * of.half_width for _, of in found]
        rows = np.array([i for i, _ in found]) + 0.16 * (2 * place - 1)
        axes.errorbar(
            means,
            rows,
            xerr=halves,
            fmt=marker,
            color=color,
            markersize=5,
            capsize=2,
            label=f"SFFA - {ALGORITHM_NAMES[other]}",
        )
    axes.axvline(0, color=text_color(), linewidth=0.8, linestyle=":")
    axes.set_yticks(range(len(cases)), [case.name for case in cases], fontsize=8)
    axes.set_ylim(len(cases) - 0.5, -0.5)
    axes.grid(axis="x")
    axes.set_xlabel("Points of test accuracy by which SFFA leads (right) or lags (left)")
    figure.legend(loc="outside upper left", ncols=2)
    return figure


def overview(runs: Sequence[Results]) -> Section | None:
    """All comparisons side by side; None where no run compares accuracies."""
    cases = [case for run in runs for case in CASES.get(run.experiment, lambda _: [])(run)]
    cases = [case for case in cases if differences(case)]
    if not cases:
        return None
    return Section(
        title="All comparisons side by side",
        lead="Mean test accuracy and its 95 % interval over seeds (in continual learning over all "
        "tasks after the last), and by how much SFFA leads, paired by seed. The p-values are "
        "corrected together.",
        tables={"Accuracies and differences": accuracy_table(cases)},
        pictures=[
            Picture(
                "differences.png",
                "By how much SFFA leads FFA and backprop, mean and 95 % interval over seeds.",
                partial(differences_figure, cases),
            )
        ],
    )


def main(options: Options) -> None:
    """Reads all folders, then writes the page."""
    if not options.folders:
        raise reject("report", "folders", "name at least one --out of an experiment", "none")
    runs = [read(folder) for folder in options.folders]
    for run in runs:
        check_choice("report", str(run.path), run.experiment, SECTIONS)
        if not run.records:
            raise reject("report", "folders", "hold finished runs", f"none in {run.path}")
    whole = overview(runs)
    own = [SECTIONS[run.experiment](run) for run in runs]
    own = [
        replace(section, title=f"{section.title} ({run.path.resolve().name})")
        for section, run in zip(own, runs, strict=True)
    ]
    sections = [*([whole] if whole else []), *own]
    options.out.mkdir(parents=True, exist_ok=True)
    path = html.write(
        options.out,
        sections,
        title="Forward-only learning: all results",
        lead=f"{sum(len(run.records) for run in runs)} runs of {len(runs)} experiments.",
        keep_parts=False,
    )
    if whole is not None:
        print(f"{whole.text()}\n")
    print(f"Report: {path}")


if __name__ == "__main__":
    sys.exit(execute(main, Options, "report"))
