"""Combines the results of several runs into one page.

    python -m experiments.report runs/mnist runs/fashion_mnist runs/continual --out runs/all

The page starts with a table and a figure of all comparisons side by side, classification and
continual learning; each folder's own report follows.
"""

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import tyro

from experiments.config.cli import answer_usage
from sffa_jax.checks import check_choice, reject


@dataclass(frozen=True)
class Options:
    """Combine the results of several runs into one page."""

    folders: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Output folders of experiments."""
    out: Path = Path("runs/report")
    """Folder for the page."""


if __name__ == "__main__":
    answer_usage(Options, "report")

from experiments.harness.experiment import execute
from experiments.harness.results import load_results
from experiments.reports import overview
from experiments.reports.html_report import html_report
from experiments.reports.sections import SECTIONS, section_of


def main(options: Options) -> None:
    """Reads all folders, then writes the page."""
    if not options.folders:
        raise reject("report", "folders", "name at least one --out of an experiment", "none")
    runs = [load_results(folder) for folder in options.folders]
    for run in runs:
        check_choice("report", str(run.path), run.experiment, SECTIONS)
        if not run.records:
            raise reject("report", "folders", "contain finished runs", f"none in {run.path}")
    side_by_side = overview.section(runs)
    sections = [side_by_side] if side_by_side else []
    for run in runs:
        section = section_of(run)
        sections.append(replace(section, title=f"{section.title} ({run.path.resolve().name})"))
    options.out.mkdir(parents=True, exist_ok=True)
    path = html_report(
        options.out,
        sections,
        title="Forward-only learning: all results",
        lead=f"{sum(len(run.records) for run in runs)} runs of {len(runs)} experiments.",
        keep_parts=False,
    )
    if side_by_side is not None:
        print(f"{side_by_side.text()}\n")
    print(f"Report: {path}")


if __name__ == "__main__":
    sys.exit(execute(main, Options, "report"))
