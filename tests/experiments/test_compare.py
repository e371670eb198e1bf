"""The main job, as a user starts it."""

import dataclasses
import errno
import json
import os
import shlex
from pathlib import Path

import numpy as np
import pytest
from commands import programs_once, read, run_command, start
from PIL import Image

from experiments import compare
from experiments.config.presets import PRESETS
from experiments.harness.experiment import execute, parse
from sffa_jax import data
from sffa_jax.training.saved import load

TINY = ["--seeds", "2", "--epochs", "8", "--hidden", "32"]


def test_the_command(tmp_path):
    run = run_command("compare", *TINY, "--parallel", "map", "--save-networks", "--out", tmp_path)
    assert run.status == 0, run.err
    assert "SFFA - Backprop" in run.out
    assert f"Report: {tmp_path}" in run.out
    records = read(tmp_path)
    assert [(r["algorithm"], r["seed"]) for r in records] == [
        (a, s) for a in ("ffa", "sffa", "bp") for s in (0, 1)
    ]
    for record in records:
        assert record["test_accuracy"] > 0.5, "chance is 0.1"
        assert record["training_accuracy"] > 0.5
        assert record["history"]["loss"][1] < record["history"]["loss"][0]
        history = record["history"]
        assert record["validation_accuracy"] == max(history["validation_accuracy"])
        # One layer is the network.
        by_layer = [[accuracy] for accuracy in history["validation_accuracy"]]
        assert history["validation_layer_accuracies"] == by_layer
        assert record["train_seconds"] > 0
        confusion = np.array(record["confusion"])
        assert np.trace(confusion) / 359 == pytest.approx(record["test_accuracy"])
        assert confusion.sum() == 359
        # No bias in forward-only layers; the label is 100 further inputs.
        sizes = {"ffa": 164 * 32, "sffa": 164 * 32, "bp": 64 * 32 + 33 * 10}
        assert record["num_parameters"] == sizes[record["algorithm"]]
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["options"]["hidden"] == [32]
    assert config["data"]["source"] == "scikit-learn load_digits"
    digits = data.load("digits")
    for record in records[::2]:
        trained = load(tmp_path / "networks" / f"{record['algorithm']}-{record['seed']}.npz")
        right = trained.predict(digits.test_images) == digits.test_labels
        assert right.mean() == pytest.approx(record["test_accuracy"])
    names = {path.name for path in tmp_path.iterdir()}
    assert "checkpoints" not in names
    assert {"summary.csv", "report.html", "accuracy.png", "learning_curves.png"} <= names


def test_a_second_start_adds_only_what_is_missing(tmp_path):
    common = ["--epochs", "1", "--hidden", "8", "--parallel", "map", "--out", str(tmp_path)]
    more = [*common, "--seeds", "2", "--algorithms", "bp", "sffa"]
    with programs_once():
        assert run_command("compare", *common, "--seeds", "1", "--algorithms", "bp").status == 0
        before = (tmp_path / "results.jsonl").read_text()
        assert run_command("compare", *more).status == 0
    after = (tmp_path / "results.jsonl").read_text()
    assert after.startswith(before)
    runs = [json.loads(line) for line in after.splitlines()]
    expected = [("bp", 0), ("bp", 1), ("sffa", 0), ("sffa", 1)]
    assert [(run["algorithm"], run["seed"]) for run in runs] == expected
    assert run_command("compare", *more).status == 0
    assert (tmp_path / "results.jsonl").read_text() == after
    refused = run_command("compare", *more, "--save-networks")
    assert refused.status == 2
    assert "4 finished runs without a network" in refused.err
    assert (tmp_path / "results.jsonl").read_text() == after


def test_the_users_data_may_move_between_two_starts(tmp_path):
    """Its content binds the folder, not its path."""
    features, labels = data.load("digits").train_images[:200].reshape(200, -1), np.arange(200) % 10
    np.savez(tmp_path / "one.npz", features=features, labels=labels)
    common = ["--epochs", "1", "--hidden", "8", "--parallel", "map", "--algorithms", "bp"]
    common += ["--out", tmp_path / "out"]
    started = run_command(
        "compare", *common, "--seeds", "1", "--dataset", f"npz:{tmp_path}/one.npz"
    )
    assert started.status == 0, started.err
    (tmp_path / "one.npz").rename(tmp_path / "other.npz")
    again = run_command(
        "compare", *common, "--seeds", "2", "--dataset", f"npz:{tmp_path}/other.npz"
    )
    assert again.status == 0, again.err
    runs = [(record["dataset"], record["seed"]) for record in read(tmp_path / "out")]
    assert runs == [(f"npz:{tmp_path}/one.npz", 0), (f"npz:{tmp_path}/one.npz", 1)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dataset", "mnsit"], "`dataset` must be one of cifar10, digits"),
        (
            ["--algorithms", "sffa", "gan"],
            "`algorithms` must be one of bp, ffa, head, sffa, got 'gan'",
        ),
        (["--hidden", "7"], "even number of units (half positive, half negative neurons), got 7"),
        (["--hidden", "8", "--winners", "5"], "at most half of the layer's 8 units, got 5"),
        (["--epochs", "0"], "`epochs` must be at least 1, got 0"),
        (["--batch-size", "5000"], "`batch_size` must be at most the"),
        (["--seeds", "0"], "`seeds` must be at least 1, got 0"),
        (["--learning-rate", "-1"], "`learning_rate` must be a number above 0, got -1"),
        (["--validation", "nan"], "`validation` must be a number above 0"),
        (["--dataset", "mnist", "--data-dir", "nowhere"], "which does not exist"),
        (["--seeds", "many"], "--seeds"),
        (["--seeds", "100000000"], "`seeds` must be a number at most 1000"),
        (["--epochs", "100000000"], "`epochs` must be a number at most 100000"),
        (["--hidden", "100000000"], "got weights of 72 GiB"),
        (["--hidden", *["8"] * 3000], "must hold at most 300 widths, got 3000 layers"),
        (["--channels", "8"], "must be one image under a convolution"),
        (["--sedes", "3"], "Unknown option --sedes. Did you mean --seeds? See --help."),
        (["--algorithms", "sfa"], "got 'sfa'. Did you mean 'sffa'?"),
        (["--preset", "bset"], "got 'bset'. Did you mean 'best'?"),
    ],
)
def test_bad_input_is_one_line_and_status_2(tmp_path, arguments, message):
    out = tmp_path / "out"
    run = run_command("compare", *arguments, "--out", out)
    assert run.status == 2
    assert message in run.err
    assert run.err.startswith("error: ")
    assert run.err.count("\n") == 1
    assert not out.exists()


@pytest.mark.parametrize(
    ("command", "size", "advice"),
    [("latents", "59604.6", "sffa_jax.scale.streaming"), ("compare", "74505806.0", "--image-size")],
)
def test_pictures_that_do_not_fit_into_memory_are_refused_unread(tmp_path, command, size, advice):
    """Each would take 15 TiB; three of the files are no pictures, and are never read. `compare`
    needs memory only for some batches."""
    for name in ("train/a", "train/b", "test/a", "test/b"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        (tmp_path / "pictures" / name / "1.png").write_bytes(b"")
    Image.new("L", (2, 2)).save(tmp_path / "pictures" / "train" / "a" / "1.png")
    dataset = ["--dataset", f"folder:{tmp_path / 'pictures'}", "--image-size", "4000000"]
    dataset += ["--preset", "best_convolution"] if command == "compare" else []
    run = run_command(command, *dataset, "--out", tmp_path / "out")
    assert (run.status, run.err.count("\n")) == (2, 1)
    assert f"must fit into memory twice, read and on the device, got {size} GiB" in run.err
    assert advice in run.err
    assert not (tmp_path / "out").exists()


def test_bad_input_as_a_command():
    """`__main__` words its errors like an import does: no traceback."""
    run = start("compare", "--algorithms")
    assert (run.returncode, run.stderr.count("\n")) == (2, 1)
    assert "`algorithms` must name one of ffa, sffa, bp, head, got none" in run.stderr


def test_an_interrupt_keeps_what_is_done(monkeypatch, capsys):
    def interrupted(_):
        raise KeyboardInterrupt

    assert execute(interrupted, compare.Options, "compare", []) == 130
    assert "Interrupted. Finished work is saved" in capsys.readouterr().err


def test_a_full_disk_is_said_in_one_line(capsys):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device", "runs/x")

    assert execute(full, compare.Options, "compare", []) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "No space left on device: 'runs/x'. Finished work is saved" in said


def test_our_own_bugs_keep_their_traceback():
    def broken(_):
        return int("x")

    with pytest.raises(ValueError, match="invalid literal"):
        execute(broken, compare.Options, "compare", [])


def test_the_described_command_repeats_the_run():
    recipe = dataclasses.replace(PRESETS["released"], hidden=(8, 6), input_skip=False)
    options = compare.Options(preset="released", recipe=recipe, seeds=3, out=Path("x"))
    command = options.command("compare")
    expected = "--seeds 3 --preset released --hidden 8 6 --no-input-skip"
    assert command == f"python -m experiments.compare {expected}"
    assert parse(compare.Options, "compare", command.split()[3:]).recipe == recipe
    spaced = dataclasses.replace(options, data_dir=Path("my data/$HOME"))
    words = shlex.split(spaced.command("compare"))[3:]
    assert words[:2] == ["--data-dir", "my data/$HOME"]
    assert parse(compare.Options, "compare", words).data_dir == spaced.data_dir


@pytest.mark.slow
def test_accuracy_on_mnist(tmp_path):
    if "SFFA_DATA_DIR" not in os.environ:
        pytest.skip("needs SFFA_DATA_DIR")
    arguments = ["--dataset", "mnist", "--hidden", "1400", "--epochs", "10", "--seeds", "3"]
    run = start("compare", *arguments, "--out", str(tmp_path))
    assert run.returncode == 0, run.stderr
    by_algorithm = {}
    for line in (tmp_path / "results.jsonl").read_text().splitlines():
        record = json.loads(line)
        by_algorithm.setdefault(record["algorithm"], []).append(record)
    floors = {"sffa": 0.975, "ffa": 0.94, "bp": 0.98}
    for name, floor in floors.items():
        mean = sum(r["test_accuracy"] for r in by_algorithm[name]) / 3
        assert mean >= floor, (name, mean)
    seconds = {name: runs[0]["train_seconds"] for name, runs in by_algorithm.items()}
    assert seconds["sffa"] <= 2.5 * seconds["bp"]
