"""Which runs of a grid a start makes."""

from run_records import trained

from experiments.compare import Options
from experiments.config.cli import parse
from experiments.harness import experiment
from experiments.harness.experiment import Cell, Plan, run_experiment


class Name(str):
    """A name that counts its comparisons."""

    __slots__ = ()
    __hash__ = str.__hash__
    compared = 0

    def __eq__(self, other):
        Name.compared += 1
        return str.__eq__(self, other)


def test_a_start_makes_what_the_folder_lacks_and_looks_once_at_what_it_has(tmp_path, monkeypatch):
    monkeypatch.setattr(experiment, "write_report", lambda _: None)
    made = []

    def run(_, missing):
        for cell, seeds in missing:
            made.append([*seeds])
            yield [cell.names | trained("ffa", seed) for seed in seeds]

    def start(seeds):
        words = ["--algorithms", "ffa", "--seeds", seeds, "--epochs", "2", "--out", str(tmp_path)]
        plan = Plan([Cell({"algorithm": Name("ffa")})], run, {"source": "x", "sha256": {"x": "1"}})
        run_experiment("compare", parse(Options, "compare", words), lambda _: plan)

    start("300")
    Name.compared = 0
    start("300")
    assert Name.compared < 10 * 300
    start("302")
    assert made == [[*range(300)], [300, 301]]
