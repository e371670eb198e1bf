import numpy as np
import pytest
from commands import read, run_command
from html_pages import parse

from experiments import benchmark
from experiments.bench import cases, kernels
from experiments.harness.experiment import execute
from sffa_jax.scale import sweep
from sffa_jax.scale.placement import Placement

TINY = [
    *("--networks", "1x16", "--images", "128", "--score-images", "150", "--batch-size", "64"),
    *("--features", "12", "--repeats", "1", "--winners", "3", "--negatives", "uniform"),
    *("--memory-width", "8", "--sweep-widths", "8", "--sweep-seeds", "3"),
]
FIELDS = {
    *("case", "algorithm", "hidden", "winners", "negatives", "parallel", "seconds"),
    *("floor_ratio", "torch_ratio", "peak_mib"),
}


def test_the_command_measures_and_resumes(tmp_path, monkeypatch):
    for module in (cases, sweep):  # as on one device
        monkeypatch.setattr(module, "available", lambda: (Placement("map"), Placement("vmap")))
    arguments = [*TINY, "--out", str(tmp_path), "--cases", "networks", "sweep"]
    run = run_command("benchmark", *arguments)
    assert run.status == 0, run.err
    records = read(tmp_path)
    assert all(record.keys() >= FIELDS for record in records)
    assert {r["case"] for r in records} == {"train_epoch", "score", "compile", "sweep"}
    sffa = [r for r in records if r["case"] == "train_epoch" and r["algorithm"] == "sffa"]
    assert {r["winners"] for r in sffa} == {0, 3}
    (bound,) = (
        r
        for r in records
        if (r["case"], r["algorithm"], r["negatives"]) == ("train_epoch", "lower_bound", "uniform")
    )
    for record in sffa:
        expected = np.median(record["seconds"]) / np.median(bound["seconds"])
        assert record["floor_ratio"] == pytest.approx(expected)
    assert {"single", "map", "vmap"} <= {r["parallel"] for r in records if r["case"] == "sweep"}
    assert {"summary.csv", "config.json"} <= {path.name for path in tmp_path.iterdir()}
    headings = [text for _, text in parse(tmp_path / "report.html").headings]
    assert headings[0] == "Speed and memory"
    assert {"Training, one epoch", "Scoring all images against all labels", "Sweeps"} <= {*headings}
    again = run_command("benchmark", *arguments)
    assert again.status == 0, again.err
    assert "measuring" not in again.out
    assert read(tmp_path) == records


def test_updates_with_all_labels_are_timed_in_turn(monkeypatch):
    monkeypatch.setattr(kernels, "LABEL_WIDTHS", (8,))
    records = kernels.measure_labels(1)
    assert [r["algorithm"] for r in records] == ["8 units, plain JAX", "8 units, this library"]
    assert len({len(r["seconds"]) for r in records}) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--networks", "1400"], "`networks` must be written as DEPTHxWIDTH, got '1400'"),
        (["--networks", "1x15"], "`networks` must have an even width, got '1x15'"),
        (["--cases", "speed"], "`cases` must be one of"),
        (["--images", "100"], "`batch_size` must be at most the 100 training samples"),
        (["--device", "npu"], "`device` must be one of cpu, gpu, tpu, got 'npu'"),
    ],
)
def test_bad_options(arguments, message, tmp_path, capsys):
    arguments = [*arguments, "--out", str(tmp_path / "out")]
    assert execute(benchmark.main, benchmark.Options, "benchmark", arguments) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
