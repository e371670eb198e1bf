"""The report of each experiment, and the one function that writes it."""

import importlib
from dataclasses import replace
from typing import TYPE_CHECKING

from experiments.harness.results import Results
from experiments.harness.run_folder import RunFolder

if TYPE_CHECKING:
    from experiments.reports.html_report import Section

SECTIONS = {
    "compare": "comparison_tables",
    "symmetry": "symmetry_tables",
    "latents": "latents_tables",
    "ablation": "ablation_tables",
    "records": "record_tables",
    "robustness": "robustness_tables",
    "continual": "continual_report",
    "estimators": "estimator_tables",
    "benchmark": "benchmark_tables",
    "tune": "tuning_tables",
}
"""By the experiment's name: the module whose function `section` makes its report."""


def section_of(results: Results) -> "Section":
    """Returns the report of an experiment's results, which hold at least one record.

    The libraries that draw and test (matplotlib, pandas, scipy) are imported here, so that commands
    start without them.
    """
    module = importlib.import_module(f"experiments.reports.{SECTIONS[results.experiment]}")
    section: Section = module.section(results)
    return replace(section, config=results.config, command=results.command)


def write_report(folder: RunFolder) -> None:
    """Writes the report of an output folder, and prints its tables and its path."""
    from experiments.reports.html_report import html_report

    section = section_of(Results(folder.path, folder.config, folder.records))
    path = html_report(folder.path, [section])
    print(f"\n{section.text()}\n\nReport: {path}")
