"""What each experiment's results say, by the experiment's name."""

from collections.abc import Callable

from experiments import (
    ablation,
    benchmark_report,
    continual_report,
    latents_report,
    robustness,
    symmetry,
)
from experiments.results import Results
from sffa_jax import report
from sffa_jax.page import Section

SECTIONS: dict[str, Callable[[Results], Section]] = {
    "compare": lambda run: report.comparison(run.records, run.config, run.command),
    "symmetry": symmetry.section,
    "latents": latents_report.section,
    "ablation": ablation.section,
    "robustness": robustness.section,
    "continual": continual_report.section,
    "benchmark": benchmark_report.section,
}
