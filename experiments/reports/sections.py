"""The report of each experiment, and the one function that writes it."""

from collections.abc import Callable

from experiments.harness.results import Results
from experiments.harness.run_folder import RunFolder
from experiments.reports import (
    ablation_tables,
    benchmark_tables,
    comparison_tables,
    continual_report,
    latents_tables,
    robustness_tables,
    symmetry_tables,
)
from experiments.reports.html_report import Section, html_report

SECTIONS: dict[str, Callable[[Results], Section]] = {
    "compare": comparison_tables.section,
    "symmetry": symmetry_tables.section,
    "latents": latents_tables.section,
    "ablation": ablation_tables.section,
    "robustness": robustness_tables.section,
    "continual": continual_report.section,
    "benchmark": benchmark_tables.section,
}
"""By the experiment's name: the function that makes its report from its results."""


def write_report(folder: RunFolder, command: str) -> None:
    """Writes the report of an output folder, and prints its tables and its path.

    Args:
      folder: the folder, with all its records.
      command: repeats the runs.
    """
    results = Results(folder.path, folder.config, folder.records, command)
    section = SECTIONS[results.experiment](results)
    path = html_report(folder.path, [section])
    print(f"\n{section.text()}\n\nReport: {path}")
