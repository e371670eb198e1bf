"""Interrupted at any moment, a command resumes and ends as an uninterrupted one, bit for bit."""

import json
from unittest import mock

import jax
import numpy as np
import pytest
from commands import programs_once, read, run_command
from tensorboard_events import curves

from experiments import robustness
from experiments.harness import continual_runs, experiment
from experiments.harness.continual_stages import CompiledStages
from experiments.harness.run_folder import file_name
from sffa_jax.scale.checkpoints import Checkpoints

COMPARE = ["--algorithms", "sffa", "--seeds", "2", "--hidden", "8", "6", "--epochs", "4"]
CONTINUAL = ["--algorithms", "sffa", "--seeds", "2", "--hidden", "8", "6", "--epochs", "1"]
CONTINUAL += ["--scenarios", "class", "--strategies", "replay", "--memory", "20"]
CONTINUAL += ["--tasks", "2", "--class-order", "0", "1", "2", "3"]


def run(name, *arguments, saves=None):
    """Runs a command to its end; or until it has saved so many checkpoints, of which it loses all
    but the last two. What it printed."""
    save, left = Checkpoints.save, saves

    def save_and_count(self, *given):
        nonlocal left
        save(self, *given)
        if left is not None:
            left -= 1
            if not left:
                raise KeyboardInterrupt

    with (
        mock.patch.object(Checkpoints, "save", save_and_count),
        mock.patch.object(experiment, "write_report"),  # test_compare and test_continual read it
    ):
        ended = run_command(name, *arguments, "--checkpoint-seconds", "0")
    assert ended.status == (0 if saves is None else 130), ended.err
    return ended.out


def checkpoints(folder):
    """Steps of the newest checkpoints of each group of runs."""
    steps = [int(p.parent.name) for p in (folder / "checkpoints").glob("*/*/manifest.json")]
    return sorted(steps)


def without_times(folder):
    times = ("train_seconds", "task_seconds")
    return [{k: v for k, v in record.items() if k not in times} for record in read(folder)]


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """`compare`: whole, and interrupted with TensorBoard's events, resumed with a free choice of
    the placement, and started once more with nothing left to do."""
    folder = tmp_path_factory.mktemp("compare")
    resumed = ["--out", folder / "resumed"]
    with programs_once():
        run("compare", *COMPARE, "--parallel", "devices", "--out", folder / "whole")
        run("compare", *COMPARE, *resumed, "--parallel", "devices", "--tensorboard", saves=3)
        assert checkpoints(folder / "resumed") == [2, 3]
        assert not (folder / "resumed" / "results.jsonl").exists()
        printed = run("compare", *COMPARE, *resumed, "--parallel", "auto", "--tensorboard")
        assert "start again" not in printed
        run("compare", *COMPARE, *resumed)
    return folder


@pytest.fixture(scope="module")
def continued(tmp_path_factory):
    """`continual` likewise, interrupted in the middle of its second task."""
    folder, stages = tmp_path_factory.mktemp("continual"), {}

    def compile_once(make_config, placement, number, *samples):
        """Its starts differ in nothing else that programs depend on."""
        new = CompiledStages(make_config, placement, number, *samples)
        return stages.setdefault((placement, number), new)

    with (
        mock.patch.object(continual_runs, "STEPS_PER_PROGRAM", 4),
        mock.patch.object(continual_runs, "CompiledStages", compile_once),
    ):
        for parallel, name in (("map", "resumed"), ("devices", "resumed_on_devices")):
            common = [*CONTINUAL, "--parallel", parallel]
            run("continual", *common, "--out", folder / name.replace("resumed", "whole"))
            common += ["--out", folder / name, "--tensorboard"]
            run("continual", *common, saves=4)
            # Three portions a task: the fourth is the first of the second task.
            assert checkpoints(folder / name) == [3, 4]
            assert "start again" not in run("continual", *common)
    return folder


def test_a_resumed_comparison_is_the_uninterrupted_one(compared):
    assert without_times(compared / "resumed") == without_times(compared / "whole")
    assert len(read(compared / "whole")) == 2
    assert {record["parallel"] for record in read(compared / "resumed")} == {"devices"}
    assert not (compared / "resumed" / "checkpoints").exists()
    assert not (compared / "whole" / "tensorboard").exists()


@pytest.mark.parametrize("suffix", ["", "_on_devices"])
def test_a_continual_run_resumes_in_the_middle_of_a_task(continued, suffix):
    whole = without_times(continued / f"whole{suffix}")
    assert without_times(continued / f"resumed{suffix}") == whole
    assert len(whole) == 2
    assert whole[0]["accuracy_matrix"] != whole[1]["accuracy_matrix"]
    assert np.isfinite([record["task_losses"] for record in whole]).all()
    # A class-incremental run is never tested on classes that it has not seen.
    assert [record["forward_transfer"] for record in whole] == [None, None]
    assert not (continued / f"whole{suffix}" / "tensorboard").exists()


def test_continual_runs_do_not_depend_on_their_placement(continued):
    in_a_loop, on_devices = read(continued / "whole"), read(continued / "whole_on_devices")
    for one, other in zip(in_a_loop, on_devices, strict=True):
        assert one["seed"] == other["seed"]
        assert one["accuracy_matrix"] == other["accuracy_matrix"]
        assert one["stored_bytes"] == other["stored_bytes"]
        np.testing.assert_allclose(one["task_losses"], other["task_losses"], rtol=1e-3)


def test_a_run_starts_again_where_another_number_of_devices_pads_its_checkpoint(tmp_path):
    three = [*COMPARE, "--seeds", "3", "--hidden", "8", "--parallel", "devices", "--out", tmp_path]
    with mock.patch.object(jax, "devices", return_value=jax.devices()[:2]):
        run("compare", *three, saves=2)
    assert checkpoints(tmp_path) == [1, 2]
    printed = run("compare", *three)
    assert "is of another number of devices, or of other runs, so these runs start again" in printed
    assert [record["seed"] for record in read(tmp_path)] == [0, 1, 2]


def test_a_continual_run_starts_again_on_another_number_of_devices(tmp_path):
    given = [*CONTINUAL, "--hidden", "8", "--parallel", "devices", "--out", tmp_path]
    with mock.patch.object(continual_runs, "STEPS_PER_PROGRAM", 4):
        run("continual", *given, saves=2)
        with mock.patch.object(jax, "device_count", return_value=1):
            printed = run("continual", *given)
    assert "is of another number of devices, or of other runs, so these runs start again" in printed
    assert [record["seed"] for record in read(tmp_path)] == [0, 1]


def test_events_of_training_are_the_records_history(compared):
    records = read(compared / "resumed")
    assert len(records) == len(list((compared / "resumed" / "tensorboard").iterdir())) == 2
    for record in records:
        history = record["history"]
        by_tag = curves(compared / "resumed" / "tensorboard" / f"sffa-seed-{record['seed']}")
        assert np.shape(history["validation_layer_accuracies"]) == (4, 2)
        assert all(steps == [1, 2, 3, 4] for steps, _ in by_tag.values())
        values = {tag: np.array(values, np.float32) for tag, (_, values) in by_tag.items()}
        by_layer = {
            name: np.stack([values.pop(f"{name}/layer_{k}") for k in (1, 2)], axis=1)
            for name in ("loss", "validation_accuracy")
        }
        np.testing.assert_allclose(by_layer["loss"].mean(axis=1), history["loss"], rtol=1e-6)
        np.testing.assert_array_equal(
            by_layer["validation_accuracy"],
            np.float32(history["validation_layer_accuracies"]),
        )
        network = values.pop("validation_accuracy/network")
        np.testing.assert_array_equal(network, np.float32(history["validation_accuracy"]))
        assert not values


def test_events_of_continual_runs_are_the_records_matrices(continued):
    records = read(continued / "resumed")
    assert len(records) == 2
    for record in records:
        path = continued / "resumed" / "tensorboard" / f"class-replay-sffa-seed-{record['seed']}"
        by_tag = {tag: (steps, np.float32(values)) for tag, (steps, values) in curves(path).items()}
        losses = []
        for layer in (1, 2):
            steps, values = by_tag.pop(f"loss/layer_{layer}")
            assert steps == list(range(record["steps"]))
            losses.append(values.reshape(2, -1))
        np.testing.assert_allclose(np.mean(losses, axis=(0, 2)), record["task_losses"], rtol=1e-5)
        steps, values = by_tag.pop("average_accuracy/network")
        assert steps == [1, 2]
        np.testing.assert_allclose(values, record["learning_curve"], rtol=1e-6)
        for layer, matrix in enumerate(record["layer_matrices"], 1):
            steps, values = by_tag.pop(f"average_accuracy/layer_{layer}")
            assert steps == [1, 2]
            expected = [matrix[0][0], np.mean(matrix[1])]
            np.testing.assert_allclose(values, expected, rtol=1e-6)
        matrix = record["accuracy_matrix"]
        for task, learned in ((0, [1, 2]), (1, [2])):
            steps, values = by_tag.pop(f"accuracy/task_{task + 1}")
            assert steps == learned
            expected = np.float32([matrix[row - 1][task] for row in learned])
            np.testing.assert_array_equal(values, expected)
        assert not by_tag


def test_every_setting_has_events_of_its_own_even_if_it_diverges(tmp_path):
    robust = ["--algorithms", "sffa", "--widths", "8", "--activations", "relu", "--shares", "1"]
    robust += ["--densities", "0.3", "--learning-rates", "1e-3", "1e30", "--epochs", "1"]
    robust += ["--seeds", "1", "--parallel", "map", "--tensorboard", "--out", tmp_path]
    with mock.patch.dict(robustness.OWN_AXES, {"sffa": {"logit_scale": (6.0,)}}):
        assert run_command("robustness", *robust).status == 0
    records = {record["setting"]: record for record in read(tmp_path)}
    assert [record["status"] for record in records.values()].count("diverged") == 1
    paths = {name: tmp_path / "tensorboard" / f"sffa-{file_name(name)}-seed-0" for name in records}
    assert {*paths.values()} == {*(tmp_path / "tensorboard").iterdir()}
    for name, record in records.items():
        ((steps, (loss,)),) = [v for k, v in curves(paths[name]).items() if k == "loss/layer_1"]
        assert steps == [1]
        assert np.isfinite(loss) == (record["status"] != "diverged")
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["options"]["tensorboard"] is True
