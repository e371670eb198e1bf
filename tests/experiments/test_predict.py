"""Predicting pictures and tables from the command line, with networks that `save` wrote."""

import csv
import io
import os

import jax
import numpy as np
import optax
import pandas as pd
import pytest
from commands import run_command
from PIL import Image

from sffa_jax import backprop_learner, dense_layers, make_samples, save

PICTURES = np.random.default_rng(0).integers(0, 256, (6, 4, 4)).astype(np.uint8)
FEATURES = np.float32(PICTURES.reshape(6, 16) / 255)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run's folder with two networks, and pictures."""
    folder = tmp_path_factory.mktemp("run")
    samples = make_samples(PICTURES, np.arange(6) % 3, mean=0.5, std=0.3)
    learner = backprop_learner(dense_layers([4]), 3, optax.identity())
    info = {"class_names": ["cat", "dog", "eel"], "image_shape": [4, 4]}
    for seed in (0, 1):
        state = learner.init(jax.random.key(seed), samples.scaled(samples.images))
        save(folder / "networks" / f"bp-{seed}.npz", learner, state, samples, info=info)
    for i, picture in enumerate(PICTURES):
        (folder / "pictures").mkdir(exist_ok=True)
        Image.fromarray(picture).save(folder / "pictures" / f"{i}.png")
    Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(folder / "large.png")
    save(
        folder / "table.npz",
        learner,
        state,
        make_samples(FEATURES, [0, 1, 2] * 2, mean=0, std=1),
    )
    frame = pd.DataFrame(FEATURES)
    frame.to_csv(folder / "header.csv", index=False, header=[f"size {i}" for i in range(16)])
    frame.to_csv(folder / "rows.csv", index=False, header=False)
    np.savez(folder / "rows.npz", features=FEATURES)
    np.savez(folder / "pictures.npz", images=PICTURES)
    frame.iloc[:, 1:].to_csv(folder / "narrow.csv", index=False)
    frame.replace(FEATURES[2, 3], "x").to_csv(folder / "text.csv", index=False)
    # Not a header: it has numbers.
    frame.replace(FEATURES[0, 1], "").to_csv(folder / "gap.csv", index=False, header=False)
    (folder / "empty.csv").write_text("length,width\n")
    np.savez(folder / "labels.npz", labels=[1, 2])
    (folder / "text").write_text("no picture")
    return folder


def read_table(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_each_picture_has_a_line(folder, monkeypatch):
    from sffa_jax import load

    monkeypatch.setattr("experiments.harness.prediction_inputs.CHUNK", 4)
    network = folder / "networks" / "bp-1.npz"
    run = run_command("predict", network, folder / "pictures")
    assert run.status == 0
    table = read_table(run.out)
    assert [row["file"] for row in table] == [str(folder / f"pictures/{i}.png") for i in range(6)]
    saved = load(network)
    expected = [saved.class_names[label] for label in saved.predict(PICTURES)]
    assert [row["label"] for row in table] == expected
    assert [row["layer_1"] for row in table] == expected  # one layer: the network
    np.testing.assert_allclose(
        [float(row["probability"]) for row in table],
        saved.predict_proba(PICTURES).max(axis=1),
        atol=1e-6,
    )


def test_the_best_network_on_validation_data_is_chosen(folder, tmp_path, monkeypatch):
    class Run:
        records = [  # noqa: RUF012
            {"algorithm": "bp", "seed": seed, "validation_accuracy": accuracy}
            for seed, accuracy in ((0, 0.8), (1, 0.9))
        ]

    monkeypatch.setattr("experiments.predict.load_results", lambda path: Run)
    for arguments, chosen in (([], "bp-1"), (["--network", "bp-0"], "bp-0")):
        out = tmp_path / "new" / f"{chosen}.csv"
        large = [folder / "large.png", "--resize", "--out", out]
        run = run_command("predict", folder, *large, *arguments)
        assert run.status == 0
        assert f"Network: {folder / 'networks' / chosen}.npz" in run.err
        assert len(read_table(out.read_text())) == 1


def test_a_name_that_is_no_utf8_is_escaped(folder, tmp_path):
    picture = tmp_path / os.fsdecode(b"\xff.png")
    Image.fromarray(PICTURES[0]).save(picture)
    run = run_command(
        "predict", folder / "networks" / "bp-0.npz", picture, "--out", tmp_path / "labels.csv"
    )
    assert run.status == 0, run.err
    assert r"\udcff.png" in (tmp_path / "labels.csv").read_text()


def test_without_validation_accuracies_a_network_is_named(folder, monkeypatch):
    class Run:
        records = ({"algorithm": "bp", "seed": 0, "validation_accuracy": None},)

    monkeypatch.setattr("experiments.predict.load_results", lambda path: Run)
    run = run_command("predict", folder, folder / "large.png", "--resize")
    assert run.status == 2
    assert "`network` must name one of the networks, because none has a validation" in run.err
    assert "They are bp-0, bp-1." in run.err


def test_sums_of_probabilities_are_not_shown_as_probabilities(folder, tmp_path):
    from sffa_jax import load

    network = tmp_path / "sffa-0.npz"
    saved = load(folder / "networks" / "bp-0.npz")
    info = saved.info | {"algorithm": "sffa", "recipe": {"score": "probability"}}
    samples = make_samples(PICTURES, np.arange(6) % 3, mean=0.5, std=0.3)
    save(network, saved.learner, saved.state, samples, info=info)
    run = run_command("predict", network, folder / "pictures")
    assert [row["probability"] for row in read_table(run.out)] == [""] * 6


def test_each_row_of_a_table_has_a_line(folder, monkeypatch):
    """A header, an archive and chunks change nothing; the samples of pictures may lie in one."""
    from sffa_jax import load

    monkeypatch.setattr("experiments.harness.prediction_inputs.CHUNK", 4)
    for network, files, samples in (
        ("table.npz", ["header.csv", "rows.csv", "rows.npz"], FEATURES),
        ("networks/bp-1.npz", ["pictures.npz"], PICTURES),
    ):
        run = run_command("predict", folder / network, *(folder / file for file in files))
        assert run.status == 0, run.err
        table, saved = read_table(run.out), load(folder / network)
        expected = [(f"{folder / file}:{i}") for file in files for i in range(1, 7)]
        assert [row["file"] for row in table] == expected
        names = [saved.class_names[label] for label in saved.predict(samples)]
        assert [row["label"] for row in table] == names * len(files)


@pytest.mark.parametrize(
    ("run", "rest", "message"),
    [
        ("none", ["pictures"], "`run` must exist, got"),
        ("pictures", ["pictures"], "`run` must contain networks, got none"),
        ("networks/bp-0.npz", ["pictures", "--network", "x"], "`network` must be left out for"),
        (".", ["pictures", "--network", "x"], "`network` must be one of bp-0, bp-1, got 'x'"),
        ("networks/bp-0.npz", ["none.png"], "`images` must exist, got"),
        ("networks/bp-0.npz", ["networks"], "`images` must contain pictures, got none in"),
        (
            "networks/bp-0.npz",
            ["large.png"],
            "must be 4x4 pixels, like the training images, got 9x9",
        ),
        ("networks/bp-0.npz", ["text"], "text cannot be read"),
        ("networks/bp-0.npz", ["labels.npz"], "an array `features` or `images`, got neither in"),
        ("networks/bp-0.npz", ["networks/bp-0.npz"], "an array `features` or `images`, got"),
        ("table.npz", ["narrow.csv"], "must have 16 features, like the training data, got 15 in"),
        ("table.npz", ["text.csv"], "finite numbers as features, got 'x' in row 4, column 4 of"),
        ("table.npz", ["gap.csv"], "finite numbers as features, got '' in row 1, column 2 of"),
        ("table.npz", ["empty.csv"], "must contain samples, got none in"),
        ("table.npz", ["pictures.npz"], "must be floats of the training images' units"),
        ("table.npz", ["pictures"], "must be a network for pictures, got one for other data"),
    ],
)
def test_bad_input_is_one_line(folder, run, rest, message):
    paths = [word if word[0] == "-" or word == "x" else folder / word for word in rest]
    result = run_command("predict", folder / run, *paths)
    assert result.status == 2
    assert message in result.err
    assert result.out == ""
