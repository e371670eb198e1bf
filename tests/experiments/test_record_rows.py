"""The command `records`: its rows, the choice of layers, and its table."""

import dataclasses
import json

import numpy as np
import pytest
from commands import read, run_command

from experiments import records
from experiments.config.recipe import Recipe
from experiments.config.record_rows import ROWS, Row, augmentation_of, rows_of, votes_of
from experiments.harness.record_runs import HELD_OUT, of_few_images
from experiments.reports.record_tables import records_table
from sffa_jax.data.dataset import Dataset

TINY = Recipe(
    hidden=(12, 8),
    overlay="none",
    class_units="learned",
    loss="softmax",
    negatives="all",
    eps=1e-3,
    normalize="whole",
    epochs=2,
    batch_size=64,
    selection="last",
)


@pytest.mark.parametrize("name", ROWS)
def test_every_row_is_a_valid_recipe(name):
    row = ROWS[name]
    for algorithm in row.algorithms:
        row.recipe_of(algorithm).check()
    shape = (32, 32, 3) if row.dataset == "cifar10" else (28, 28)
    assert len(row.recipe.network("sffa", shape, 10).layers) == row.recipe.depth


def test_a_row_is_trained_once_and_predicts_by_layers_chosen_before(tmp_path, monkeypatch):
    monkeypatch.setitem(ROWS, "tiny", Row("digits", TINY, {}, ("sffa",), chooses_layers=True))
    monkeypatch.setitem(ROWS, "few", Row("digits", TINY, {}, ("bp",), images=1000))
    arguments = ["--dataset", "digits", "--seeds", "1", "--parallel", "map", "--out", str(tmp_path)]
    run = run_command("records", *arguments, "--only", "tiny")
    assert run.status == 0, run.err
    (record,) = read(tmp_path)
    assert (record["setting"], record["algorithm"], record["seed"]) == ("tiny", "sffa", 0)
    config = json.loads((tmp_path / "config.json").read_text())
    first, last = config["scored"]["tiny, SFFA"]
    assert [record["recipe"]["first_scored"], record["recipe"]["last_scored"]] == [first, last]
    assert record["test_accuracy"] == record["cumulated_accuracies"][last]
    assert "strictly local" in run.out
    run = run_command("records", *arguments, "--only", "few", "--epochs", "1")
    assert (run.status, "epochs" in run.err) == (2, True), run.err
    run = run_command("records", *arguments, "--only", "few")
    assert run.status == 0, run.err
    first, second = read(tmp_path)
    assert first == record
    assert (second["setting"], second["images"]) == ("few", 1000)
    assert second["tested_on"] == "held-out training images"
    before = (tmp_path / "results.jsonl").read_text()
    assert run_command("records", *arguments).status == 0  # all rows: they have been trained
    assert (tmp_path / "results.jsonl").read_text() == before


def test_the_parts_are_one_folder_for_each_data_set():
    parts = records.Options(only=("cifar10_dense", "mnist_dense")).parts()
    assert [(part.dataset, part.only, str(part.out)) for part in parts] == [
        ("mnist", ("mnist_dense",), "runs/records/mnist"),
        ("cifar10", ("cifar10_dense",), "runs/records/cifar10"),
    ]
    with pytest.raises(ValueError, match="must name rows of mnist: mnist_convolution, mnist_dense"):
        records.Options(dataset="mnist", only=("cifar10_dense",)).parts()
    with pytest.raises(ValueError, match="include one that these rows train: .*, got bp"):
        records.Options(only=("mnist_dense_similarity",), algorithms=("bp",)).parts()
    with pytest.raises(ValueError, match="`epochs` must be at least 1"):
        records.Options(epochs=0).parts()
    with pytest.raises(ValueError, match="`only` must name some of mnist_convolution"):
        rows_of("mnist", ("nothing",))


def test_few_images_are_tested_on_other_training_images():
    images = np.array([[[i // 256, i % 256]] for i in range(6500)], np.uint8)
    labels = np.arange(len(images)) % 2
    whole = Dataset("x", images, labels, images[:2], labels[:2], ("a", "b"), "test")
    few = of_few_images(whole, 2000)
    seen, tested = (
        {int(a) * 256 + int(b) for a, b in split[:, 0]}
        for split in (few.train_images, few.test_images)
    )
    assert (len(seen), len(tested)) == (2000, HELD_OUT)
    assert not seen & tested


def test_words_of_a_recipe():
    recipe = dataclasses.replace(TINY, shift=2, cutout=4, last_scored=0)
    assert augmentation_of(recipe) == "shift 2, cutout 4"
    assert augmentation_of(TINY) == "none"
    assert votes_of(recipe, "sffa") == "layer 1"
    assert votes_of(TINY, "head") == "sum of layers 1 to 2"
    assert votes_of(TINY, "bp") == "readout"
    mirrored = dataclasses.replace(recipe, mirrored=True)
    assert votes_of(mirrored, "sffa") == "layer 1, on image and mirror image"


def test_the_table_by_hand():
    recipe = dataclasses.asdict(dataclasses.replace(TINY, second_term="contrast"))
    base = {"setting": "a", "recipe": recipe, "images": 6000, "status": "done", "seed": 0}
    base["tested_on"] = "test set"
    runs = [
        base | {"algorithm": "sffa", "test_accuracy": 0.5, "layer_accuracies": [0.25, 0.5]},
        base | {"algorithm": "bp", "test_accuracy": 0.75, "layer_accuracies": [0.75]},
    ]
    _, sffa, bp = records_table([run | {"train_seconds": 3.2} for run in runs])
    assert sffa[1:2] + sffa[3:] == [
        *("SFFA", "test set", "with a local head", "none", "6000", "2", "sum of layers 1 to 2"),
        *("25.0 / 50.0", "3"),
    ]
    assert sffa[2].startswith("50.00")
    assert bp[3:] == ["test set", "end to end", "none", "6000", "2", "readout", "-", "3"]
