import json

import jax
import numpy as np
import pytest
from commands import read, run_command
from html_pages import parse
from unchecked import no_shape_checks

from experiments.bench import cases, kernels
from experiments.bench.options import Options
from experiments.harness.run_folder import RunFolder
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
    written, append = [], RunFolder.append

    def counted(folder, *rows):
        written.append(len(rows))
        append(folder, *rows)

    monkeypatch.setattr(RunFolder, "append", counted)
    arguments = [*TINY, "--out", str(tmp_path), "--cases", "networks", "sweep"]
    run = run_command("benchmark", *arguments)
    assert run.status == 0, run.err
    records = read(tmp_path)
    # All records of a group at once: the programs of an interrupted one are timed anew.
    assert (len(written), sum(written)) == (2, len(records))
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
    again = run_command("benchmark", *arguments[:-2], "sweep")
    assert again.status == 0, again.err
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["command"].startswith("python -m experiments.benchmark --cases networks sweep --")
    assert "measuring" not in again.out
    assert read(tmp_path) == records
    # Times of two devices would stand in one table.
    file = tmp_path / "config.json"
    config = json.loads(file.read_text())
    config["device"]["host_cores"] += 1
    file.write_text(json.dumps(config))
    elsewhere = run_command("benchmark", *arguments)
    assert elsewhere.status == 2
    assert "`out` must hold times of the same device" in elsewhere.err


def test_a_sweep_copies_no_images_between_devices(monkeypatch):
    """As in training: all devices hold them before the clock starts."""
    placed = []

    def compiled(function, *arguments):
        placed.append(arguments)
        return lambda: None, 0.0

    monkeypatch.setattr(cases, "compiled", compiled)
    monkeypatch.setattr(cases, "available", lambda: (Placement("devices"),))
    monkeypatch.setattr(cases, "fastest", lambda *_: sweep.Choice(Placement("devices"), {}))
    with no_shape_checks():
        cases.measure_sweep(Options(images=64, batch_size=8, features=12, repeats=1), 8, 2)
    runs, samples = placed[0]
    assert samples.images.devices() == jax.tree.leaves(runs)[0].devices()
    assert len(samples.images.devices()) == 2


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
        (["--networks", "1x16"], "`winners` must be a number at most 8, got 15"),
        (["--memory-width", "7"], "`memory_width` must be even, for SFFA's two halves, got 7"),
        (["--sweep-widths", "8", "9"], "`sweep_widths` must be even"),
        (["--batch-size", "66"], "`batch_size` must be a multiple of 4 in the case memory"),
        (["--cases", "sweep", "--sweep-widths"], "`cases` must hold a measurement, got none in sw"),
    ],
)
def test_bad_options(arguments, message, tmp_path):
    run = run_command("benchmark", *arguments, "--out", tmp_path / "out")
    assert run.status == 2
    assert message in run.err
    assert not (tmp_path / "out").exists()
