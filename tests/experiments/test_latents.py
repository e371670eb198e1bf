"""The latents command: measurements of every layer, pictures, and what they say of the claims."""

import csv
import json
import shutil

import numpy as np
import pytest
from commands import read, run_command

from experiments import latents
from experiments.harness.experiment import execute
from experiments.reports import latents_tables
from experiments.reports.intervals import plus_minus
from experiments.reports.latents_tables import CLAIMS, MEASURES

GIVEN = ["--hidden", "16", "8", "--epochs", "2", "--seeds", "1", "--batch-size", "64"]
GIVEN += ["--algorithms", "sffa", "bp", "--probes", "120", "--embedded", "60", "--parallel", "map"]


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    out = tmp_path_factory.mktemp("latents")
    run = run_command("latents", *GIVEN, "--out", out)
    assert run.status == 0, run.err
    return out, run.out


def test_every_layer_is_measured(done):
    records = read(done[0])
    assert len(records) == 2
    goodness = {"auroc", "calibration_error", "goodness_overlap", "agreement"}
    for record in records:
        expected = {*MEASURES} - (goodness if record["algorithm"] == "bp" else set())
        assert {*record["layers"]} == expected
        for name, layers in record["layers"].items():
            assert len(layers) == 2
            low = -1 if name == "silhouette" else 0
            assert all(low <= value <= (1e3 if name == "fisher" else 1) for value in layers), name
        # Two epochs, two layers.
        for name in ("hoyer", "owned_share"):
            assert np.shape(record["history"][name]) == (2, 2)


def test_pictures_and_tables(done):
    out, said = done
    shown = {path.stem for path in out.glob("*.png")}
    by_layer = {
        f"{kind}_layer_{k}" for kind in ("activity", "embedding", "goodness") for k in (1, 2)
    }
    assert shown == by_layer | {"receptive_fields", "training"}
    page = (out / "report.html").read_text()
    assert page.count("data:image/png") == len(shown)
    for name in ("Measurements", "Linear probe (no label)", "Test accuracy"):
        assert name in said
        assert name in page
    with (out / "summary.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 2


def test_a_diverged_seed_has_no_pictures(done, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(done[0], out)
    (out / "pictures-sffa.npz").unlink()
    sffa, bp = read(out)
    sffa |= {"status": "diverged", "test_accuracy": None, "layer_accuracies": None}
    del sffa["layers"]
    (out / "results.jsonl").write_text(json.dumps(sffa) + "\n" + json.dumps(bp) + "\n")
    again = run_command("latents", *GIVEN, "--out", out)
    assert again.status == 0, again.err
    assert not (out / "pictures-sffa.npz").exists()
    (out / "pictures-bp.npz").write_bytes(b"PK")
    damaged = run_command("latents", *GIVEN, "--out", out)
    assert (damaged.status, damaged.err.count("\n")) == (2, 1)
    assert "pictures-bp.npz, got" in damaged.err


def record(algorithm, seed, value):
    layers = {name: [value, 1 - value] for name in MEASURES}
    return {"algorithm": algorithm, "seed": seed, "layers": layers}


def test_verdicts_follow_the_intervals():
    """SFFA higher by 0.2 in the first layer and lower by as much in the second."""
    records = [
        record(algorithm, seed, base + 0.01 * seed + 0.001 * (seed == 1) * (algorithm == "sffa"))
        for algorithm, base in (("sffa", 0.6), ("ffa", 0.4))
        for seed in range(5)
    ]
    _, *rows = latents_tables.claims_table(records)
    assert len(rows) == 18
    for claim, measure, wanted, layer, _, verdict, _ in rows:
        assert measure in (MEASURES[name] for name in CLAIMS[claim])
        assert verdict == ("confirmed" if (wanted == "higher") == (layer == "1") else "refuted")
    undecided = [record("sffa", s, 0.5 + 0.1 * (-1) ** s) for s in range(5)]
    undecided += [record("ffa", s, 0.5) for s in range(5)]
    assert {row[5] for row in latents_tables.claims_table(undecided)[1:]} == {"undecided"}
    assert plus_minus([]) == "-"


def test_bad_arguments(capsys):
    assert execute(latents.main, latents.Options, "latents", ["--probes", "3"]) == 2
    assert "`probes` must be at least 50, got 3" in capsys.readouterr().err
