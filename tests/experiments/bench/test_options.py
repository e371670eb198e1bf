from pathlib import Path

from experiments.bench.cases import CASES
from experiments.bench.options import CASE_NAMES, Options
from experiments.config.options import command_of


def test_every_case_has_its_measurements():
    assert tuple(CASES) == CASE_NAMES


def test_the_command_names_only_options_that_differ_from_the_defaults():
    assert command_of("benchmark", Options(), {}) == "python -m experiments.benchmark"
    options = Options(cases=("sweep",), sweep_seeds=(2, 3), out=Path("there"))
    shown = "python -m experiments.benchmark --cases sweep memory --sweep-seeds 2 3"
    assert command_of("benchmark", options, {"cases": ["sweep", "memory"]}) == shown
