from experiments.bench.cases import CASES
from experiments.bench.options import CASE_NAMES, Options


def test_every_case_has_its_measurements():
    assert tuple(CASES) == CASE_NAMES


def test_the_command_names_only_options_that_differ_from_the_defaults():
    assert Options().command() == "python -m experiments.benchmark"
    command = Options(cases=("sweep",), sweep_seeds=(2, 3), out=None).command()
    assert command == "python -m experiments.benchmark --cases sweep --sweep-seeds 2 3"
