"""Training runs, in a process of their own: the type-checking hook rejects compiling ahead."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from commands import run_program

from experiments.config.recipe import Recipe
from experiments.harness.splits import make_splits
from sffa_jax import data

ROOT = Path(__file__).parents[3]
RECIPE = Recipe(hidden=(8,), epochs=2, batch_size=64)

CASES = """
import dataclasses, json, tempfile
import jax
from rich.console import Console
from experiments.harness.splits import make_splits
from experiments.config.recipe import Recipe
from experiments.harness.trainer import train_runs
from sffa_jax import data
from sffa_jax.scale import sweep
from sffa_jax.scale.placement import Placement
from sffa_jax.scale.checkpoints import Checkpoints

jax.config.update("jax_num_cpu_devices", 2)

def train(seeds, varied=None, mode="map", checkpoints=None, **changes):
    recipe = dataclasses.replace(Recipe(hidden=(8,), epochs=2, batch_size=64), **changes)
    splits = make_splits(data.load("digits"), recipe, 0.1)
    groups = train_runs(
        recipe, "sffa", seeds, splits, Placement(mode), Console(quiet=True), "x", varied,
        checkpoints=checkpoints, every_seconds=0,
    )
    return [record for records in groups for record in records]

class Killed(Checkpoints):
    def save(self, *arguments):
        super().save(*arguments)
        raise KeyboardInterrupt

def resumed(**options):
    folder = tempfile.mkdtemp()
    try:
        train(**options, checkpoints=Killed(folder))
    except KeyboardInterrupt:
        pass
    ended = train(**options, checkpoints=Checkpoints(folder))
    assert not Checkpoints(folder).steps()
    return ended

runs = {
    "together": train([3, 3, 3], {"learning_rate": [1e-3, 1e-2, 1e30]}),
    "alone": [train([3], learning_rate=rate)[0] for rate in (1e-3, 1e-2)],
    "last": train([0], selection="last"),
    "test": train([0], selection="test"),
    "three": train([0, 1, 2]),
    "devices": train([0, 1, 2], mode="devices"),
    "resumed": resumed(seeds=[0, 1, 2], mode="devices"),
}
sweep.memory_budget = lambda: 1
runs["chunks"] = train([0, 1, 2], mode="devices")
print("RUNS" + json.dumps(runs))
"""


@pytest.fixture(scope="module")
def runs():
    return json.loads(run_program(CASES).partition("RUNS")[2])


def test_varied_numbers_give_what_single_runs_give(runs):
    """One program for two learning rates ends where two programs end."""
    losses = {name: [run["history"]["loss"] for run in runs[name][:2]] for name in runs}
    np.testing.assert_allclose(losses["together"], losses["alone"], rtol=1e-3)
    assert losses["together"][0] != losses["together"][1]


def test_the_last_epoch_needs_no_validation_split(runs):
    (run,) = runs["last"]
    assert run["validation_accuracy"] is None
    assert run["selected_epoch"] == 2
    assert run["test_accuracy"] == run["cumulated_accuracies"][-1]
    recipe = dataclasses.replace(RECIPE, selection="last")
    splits = make_splits(data.load("digits"), recipe, 0.1)
    assert splits.validation is None
    assert len(splits.training.labels) == len(data.load("digits").train_labels)


def test_the_released_codes_leak_is_the_test_split(runs):
    (run,) = runs["test"]
    assert run["validation_accuracy"] == run["test_accuracy"]
    splits = make_splits(data.load("digits"), dataclasses.replace(RECIPE, selection="test"), 0.1)
    assert splits.validation is splits.test


def test_typed_in_scaling():
    splits = make_splits(data.load("digits"), dataclasses.replace(RECIPE, scaling="mnist"), 0.1)
    np.testing.assert_allclose(splits.training.mean, [0.1307])
    np.testing.assert_allclose(splits.test.std, [0.3081])


@pytest.mark.parametrize("way", ["devices", "chunks"])
def test_runs_do_not_depend_on_how_they_are_spread(runs, way):
    assert [run["seed"] for run in runs[way]] == [0, 1, 2]
    losses, expected = ([run["history"]["loss"] for run in runs[name]] for name in (way, "three"))
    np.testing.assert_allclose(losses, expected, rtol=1e-3)
    accuracies = [[run["test_accuracy"] for run in runs[name]] for name in (way, "three")]
    np.testing.assert_allclose(*accuracies, atol=0.01)


def test_a_run_that_was_stopped_ends_bit_identical(runs):
    def without_time(records):
        return [{**record, "train_seconds": None} for record in records]

    assert without_time(runs["resumed"]) == without_time(runs["devices"])


def test_a_run_that_diverges_says_where_and_the_others_go_on(runs):
    *whole, diverged = runs["together"]
    assert [run["status"] for run in whole] == ["done", "done"]
    assert diverged["status"] == "diverged"
    assert diverged["test_accuracy"] is None
    assert diverged["diverged"]["layer"] == 0
    assert 1 <= diverged["diverged"]["step"] < 20
