"""What each experiment's results say, by the experiment's name."""

from collections.abc import Callable

from experiments import ablation, robustness, symmetry
from experiments.harness.results import Results
from experiments.reports import benchmark_tables, comparison, continual_tables, latents_tables
from experiments.reports.html import Section

SECTIONS: dict[str, Callable[[Results], Section]] = {
    "compare": lambda run: comparison.comparison(run.records, run.config, run.command),
    "symmetry": symmetry.section,
    "latents": latents_tables.section,
    "ablation": ablation.section,
    "robustness": robustness.section,
    "continual": continual_tables.section,
    "benchmark": benchmark_tables.section,
}
