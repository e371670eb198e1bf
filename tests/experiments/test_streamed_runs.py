"""Pictures that do not fit into memory: `compare` reads them from disk, with the same results."""

import json
import sys
from unittest import mock

import numpy as np
import pytest
from commands import read, run_command
from PIL import Image

from experiments.harness import experiment, streamed_runs, streamed_splits
from experiments.harness.streamed_runs import StreamedTrainer
from sffa_jax import data
from sffa_jax.scale.checkpoints import Checkpoints
from sffa_jax.training.saved import load

COMMON = ["--image-size", "7", "--seeds", "2", "--hidden", "32", "24", "--epochs", "2"]
COMMON += ["--algorithms", "sffa", "--batch-size", "16", "--shift", "1", "--parallel", "map"]
RATE = ["--learning-rate", "0.01"]
SEPARATE = ("train_seconds", "flops_per_update")
"""Fields that depend on the machine, or on the program."""


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A part of scikit-learn's digits as PNG, in one folder for each class."""
    folder, digits = tmp_path_factory.mktemp("pictures"), data.load("digits")
    for i, label in enumerate(digits.train_labels[:400]):
        (folder / str(label)).mkdir(exist_ok=True)
        Image.fromarray(digits.train_images[i]).save(folder / str(label) / f"{i:03}.png")
    return folder


def compare(pictures, out, *more, fits, status=0):
    """Runs the command as if the pictures fitted into memory, or did not; its stderr."""
    with (
        mock.patch.object(streamed_splits, "fits", return_value=fits),
        mock.patch.object(streamed_runs, "UPDATES", 11),
        mock.patch.object(streamed_splits, "SCANNED", 70),
        mock.patch.object(experiment, "write_report"),
    ):
        dataset = ["--dataset", f"folder:{pictures}"]
        run = run_command("compare", *dataset, *COMMON, *more, "--out", out)
    assert run.status == status, run.err
    return run.err


@pytest.fixture(scope="module")
def runs(pictures, tmp_path_factory):
    """Folders of the same runs in memory, and from disk with an interruption between two updates of
    the second run."""
    folder, save, left = tmp_path_factory.mktemp("runs"), Checkpoints.save, [5]

    def save_and_stop(self, *given):
        save(self, *given)
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt

    def parts_of_the_first(trainer):
        """Both starts from disk share their programs."""
        if not parts:
            parts.append((trainer.learner({}), trainer.splits.schedule(trainer.recipe)))
        return parts[0]

    parts = []
    compare(pictures, folder / "memory", *RATE, fits=True)
    disk = [folder / "disk", *RATE, "--save-networks", "--checkpoint-seconds", "0"]
    with mock.patch.object(StreamedTrainer, "parts", property(parts_of_the_first)):
        with mock.patch.object(Checkpoints, "save", save_and_stop):
            err = compare(pictures, *disk, fits=False, status=130)
        assert "does not fit into memory: each epoch reads its images from disk" in err
        assert len(read(folder / "disk")) == 1
        compare(pictures, *disk, fits=False)
    return folder


def assert_equal(ours, expected, **tolerance):
    """Compares records: texts and structure exactly, numbers within a tolerance."""
    if isinstance(expected, dict):
        assert ours.keys() == expected.keys()
        for key in expected:
            assert_equal(ours[key], expected[key], **tolerance)
    elif isinstance(expected, list):
        assert len(ours) == len(expected)
        for pair in zip(ours, expected, strict=True):
            assert_equal(*pair, **tolerance)
    elif isinstance(expected, float):
        np.testing.assert_allclose(ours, expected, **tolerance)
    else:
        assert ours == expected


def test_records_are_those_of_runs_in_memory(runs):
    memory, disk = (read(runs / name) for name in ("memory", "disk"))
    assert len(memory) == 2
    for ours, expected in zip(disk, memory, strict=True):
        assert set(expected) - set(ours) <= {"flops_per_update"}
        for record in (ours, expected):
            for name in SEPARATE:
                record.pop(name, None)
        assert_equal(ours, expected, rtol=1e-4, atol=1e-6)
        for name in ("test_accuracy", "training_accuracy", "validation_accuracy"):
            np.testing.assert_allclose(ours[name], expected[name], rtol=1e-6)


def test_the_data_has_the_same_checksum(runs):
    """A folder of results can be continued when the memory has become larger or smaller."""
    configs = [json.loads((runs / name / "config.json").read_text()) for name in ("memory", "disk")]
    assert configs[0]["data"] == configs[1]["data"]


def test_saved_networks_predict(runs, pictures):
    images = data.load(f"folder:{pictures}", image_size=(7,))
    for record in read(runs / "disk"):
        name = f"{record['algorithm']}-{record['seed']}.npz"
        trained = load(runs / "disk" / "networks" / name)
        right = trained.predict(images.test_images) == images.test_labels
        assert right.mean() == pytest.approx(record["test_accuracy"])
        assert trained.class_names == images.class_names


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (["--tune", "2"], "`tune` must be 0 for images that do not fit into memory, got 2"),
        (["--parallel", "devices"], "`parallel` must be auto or map for images"),
        (["--winners", "16"], "at most half of the layer's 24 units, got 16"),
    ],
)
def test_options_are_refused_before_all_images_are_read(pictures, tmp_path, option, message):
    with mock.patch.object(data, "batches", None):
        err = compare(pictures, tmp_path / "out", *option, fits=False, status=2)
    assert message in err
    assert err.count("\n") == 1


def test_without_grain_the_command_names_what_to_install(pictures, tmp_path):
    with mock.patch.dict(sys.modules, {"grain": None}):
        err = compare(pictures, tmp_path / "out", fits=False, status=2)
    assert "does not fit into memory. Reading batches from disk needs grain. Run `pip" in err
    assert err.count("\n") == 1
