"""The latents command: measurements of every layer, pictures, and what they say of the claims."""

import csv
import json
import shutil

import numpy as np
import pytest
from commands import read, run_command

from experiments import latents
from experiments.harness.layer_measurements import check_measured
from experiments.reports import latents_tables
from experiments.reports.intervals import plus_minus
from experiments.reports.latents_tables import CLAIMS, MEASURES
from sffa_jax.data.splits import spread_rows

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


def test_an_interval_of_a_share_holds_no_negative_number():
    """Student's would reach from -0.002 to 0.008."""
    records = [record("sffa", seed, share) for seed, share in enumerate([0, 0, 0, 0.01, 0.005])]
    rows = {tuple(row[:2]): row[2] for row in latents_tables.measures_table(records)[1:]}
    assert rows["Dead units, share", "1"].startswith("0.003 [0.000, 0.")
    assert rows["Silhouette (no label)", "1"] == "0.003 ± 0.006"


def test_bad_arguments():
    run = run_command("latents", "--probes", "3")
    assert run.status == 2
    assert "`probes` must be at least 50, got 3" in run.err


def test_a_sorted_table_and_networks_of_unequal_depth(tmp_path):
    """Every class is measured; a table has no pictures of weights; backprop has one more layer."""
    labels = np.repeat([0, 1, 2], 120)
    features = np.eye(3, 6)[labels] + 0.1 * np.random.default_rng(0).normal(size=(360, 6))
    arrays = {"train_features": features, "train_labels": labels}
    arrays |= {"test_features": features, "test_labels": labels}
    np.savez(tmp_path / "sorted.npz", **arrays)
    arguments = [
        "--dataset",
        f"npz:{tmp_path / 'sorted.npz'}",
        "--hidden",
        "8",
        "--bp.hidden",
        "8",
        "4",
    ]
    arguments += ["--weight-average", "0.9", "--epochs", "2", "--seeds", "1", "--parallel", "map"]
    arguments += ["--algorithms", "sffa", "bp", "--probes", "60", "--embedded", "50"]
    run = run_command("latents", *arguments, "--out", tmp_path / "out")
    assert run.status == 0, run.err
    sffa, bp = read(tmp_path / "out")
    assert sffa["layers"]["linear_probe"][0] > 0.9
    assert (len(sffa["layers"]["hoyer"]), len(bp["layers"]["hoyer"])) == (1, 2)
    shown = {path.stem for path in (tmp_path / "out").glob("*.png")}
    assert "receptive_fields" not in shown
    assert {"activity_layer_2", "embedding_layer_2"} <= shown


def test_convolutions_alone_have_no_pictures_of_weights(tmp_path):
    """Their maps may be bfloat16, which scikit-learn does not know."""
    arguments = ["--channels", "2", "--hidden", "--overlay", "none", "--class-units", "learned"]
    arguments += ["--precision", "bfloat16"]
    arguments += ["--epochs", "1", "--seeds", "1", "--parallel", "map", "--algorithms", "sffa"]
    run = run_command(
        "latents", *arguments, "--probes", "60", "--embedded", "50", "--out", tmp_path
    )
    assert run.status == 0, run.err
    assert not (tmp_path / "receptive_fields.png").exists()
    assert (tmp_path / "activity_layer_1.png").exists()


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 1] * 20, "`training images` must be at least 50, got 40"),
        ([0] * 500 + [1], "`class 1` must be among the 60 training images that are measured"),
    ],
)
def test_too_few_images_are_refused_before_training(labels, message):
    chosen = np.asarray(labels)[spread_rows(len(labels), 60)]
    with pytest.raises(ValueError, match=message):
        check_measured("training", chosen, ["0", "1"], latents.LEAST)


def test_a_verdict_needs_a_corrected_p_and_every_seed():
    """Each interval leaves 0 out (p = 0.02), but not after a correction for 18 rows."""
    noise = [0.1, -0.08, 0.07, 0.05, -0.06]
    records = [record("sffa", s, 0.5 + 0.1 + 0.9 * noise[s]) for s in range(5)]
    records += [record("ffa", s, 0.5) for s in range(5)]
    rows = latents_tables.claims_table(records)[1:]
    assert {row[5] for row in rows} == {"undecided"}
    diverged = {"algorithm": "ffa", "seed": 5, "status": "diverged"}
    clear = [record("sffa", s, 0.9 + 0.01 * noise[s]) for s in range(5)]
    clear += [record("ffa", s, 0.5) for s in range(5)]
    assert "confirmed" in {row[5] for row in latents_tables.claims_table(clear)[1:]}
    rows = latents_tables.claims_table([*clear, diverged])[1:]
    assert {row[5] for row in rows} == {"not tested"}
    silent = [*clear, record("ffa", 5, 0.5), record("sffa", 5, 0.9)]
    silent[-1]["layers"]["hoyer"] = [None, 0.1]
    first, second = latents_tables.claims_table(silent)[1:3]
    assert first[5:] == ["not tested", "not tested: SFFA has no value in 1 of 6 runs"]
    assert second[5] == "refuted"
