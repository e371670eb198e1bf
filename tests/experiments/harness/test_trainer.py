"""Training runs together: as each alone, and on any devices."""

import dataclasses
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from unchecked import no_shape_checks

from experiments.config.recipe import Recipe
from experiments.harness.group import Group
from experiments.harness.splits import make_splits
from experiments.harness.trainer import Trainer, train_runs
from sffa_jax import data
from sffa_jax.scale import sweep
from sffa_jax.scale.placement import Placement

RECIPE = Recipe(hidden=(8,), epochs=2, batch_size=64)
DIGITS = data.load("digits")


def train(seeds, varied=None, mode="map", by_seed=False, **changes):
    recipe = dataclasses.replace(RECIPE, **changes)
    splits = make_splits(DIGITS, recipe, 0.1, by_seed=by_seed)
    with no_shape_checks():
        groups = train_runs(recipe, "sffa", seeds, splits, Placement(mode), "x", varied)
        return [record for records in groups for record in records]


@pytest.fixture(scope="module")
def in_a_loop():
    return train([0, 1, 2])


@pytest.fixture(scope="module")
def on_devices():
    return train([0, 1, 2], mode="devices")


@pytest.fixture(scope="module")
def rates():
    return train([3, 3, 3], {"learning_rate": [1e-3, 1e-2, 1e30]})


def test_what_a_run_costs(in_a_loop, on_devices):
    for records in (in_a_loop, on_devices):
        for record in records:
            assert record["updates"] == 2 * 20
            # The smallest product: 64 images with their labels' codes.
            assert 1 < record["flops_per_update"] / (2 * 64 * 164 * 8) < 10
            assert 0 < record["training_accuracy"] <= 1


def losses(records):
    return [record["history"]["loss"] for record in records]


def without_time(records):
    dropped = {"train_seconds": None, "flops_per_update": None}  # XLA counts each program anew
    return [record | dropped for record in records]


def test_varied_numbers_give_what_single_runs_give(rates):
    """One program for two learning rates ends where two programs end."""
    alone = [train([3], learning_rate=rate)[0] for rate in (1e-3, 1e-2)]
    np.testing.assert_allclose(losses(rates[:2]), losses(alone), rtol=1e-3)
    assert rates[0]["history"]["loss"] != rates[1]["history"]["loss"]


def test_the_last_epoch_needs_no_validation_split():
    (run,) = train([0], selection="last")
    assert run["validation_accuracy"] is None
    assert run["selected_epoch"] == 2
    assert run["test_accuracy"] == run["cumulated_accuracies"][-1]
    assert run["history"]["validation_accuracy"] == []
    splits = make_splits(DIGITS, dataclasses.replace(RECIPE, selection="last"), 0.1)
    assert splits.validation is None
    assert len(splits.train.labels) == len(DIGITS.train_labels)


@pytest.mark.parametrize("selection", ["last", "test"])
def test_a_class_may_have_one_image_if_nothing_is_held_out(selection):
    one_each = dataclasses.replace(
        DIGITS,
        train_images=DIGITS.train_images[:10],
        train_labels=np.arange(10, dtype=DIGITS.train_labels.dtype),
    )
    splits = make_splits(one_each, dataclasses.replace(RECIPE, selection=selection), 0.1)
    assert len(splits.train.labels) == 10
    with pytest.raises(data.DataError, match="must have at least 2 samples, got 1"):
        make_splits(one_each, RECIPE, 0.1)


def test_the_released_codes_leak_is_the_test_split():
    (run,) = train([0], selection="test")
    assert run["validation_accuracy"] is None  # nothing is held out
    assert max(run["history"]["validation_accuracy"]) == pytest.approx(run["test_accuracy"])
    splits = make_splits(DIGITS, dataclasses.replace(RECIPE, selection="test"), 0.1)
    assert splits.validation is splits.test


def test_typed_in_scaling():
    splits = make_splits(DIGITS, dataclasses.replace(RECIPE, scaling="mnist"), 0.1)
    np.testing.assert_allclose(splits.train.mean, [0.1307])
    np.testing.assert_allclose(splits.test.std, [0.3081])


def test_seeds_may_draw_the_split():
    """Seed 0 draws the split that seeds share; with constant scaling, its run is the same."""
    (shared,) = train([0], scaling="mnist")
    first, second = train([0, 1], scaling="mnist", by_seed=True)
    np.testing.assert_allclose(losses([first]), losses([shared]), rtol=1e-3)
    for name in ("validation_accuracy", "test_accuracy", "training_accuracy"):
        assert first[name] == pytest.approx(shared[name], abs=0.01)
    assert (second["updates"], second["seed"]) == (shared["updates"], 1)
    splits = make_splits(DIGITS, RECIPE, 0.1, by_seed=True)
    (train_0, held_0), (train_1, held_1) = map(splits.rows, (0, 1))
    assert not np.array_equal(held_0, held_1)
    everything = np.arange(len(DIGITS.train_labels))
    for rows in ((train_0, held_0), (train_1, held_1)):
        np.testing.assert_array_equal(np.sort(np.concatenate(rows)), everything)
    # Runs share the images: a group of runs holds their rows only.
    trainer = Trainer(RECIPE, "sffa", splits, "x")
    group = Group([0, 1], {})
    with no_shape_checks():
        *_, rows, held_out = jax.eval_shape(lambda: trainer.start_all(group))
    assert (rows.shape, held_out.shape) == ((2, len(train_0)), (2, len(held_0)))


def test_runs_do_not_depend_on_their_devices(in_a_loop, on_devices):
    assert [record["seed"] for record in on_devices] == [0, 1, 2]
    assert without_time(on_devices) == [
        {**record, "parallel": "devices"} for record in without_time(in_a_loop)
    ]


def test_runs_do_not_depend_on_how_many_fit_in_memory(in_a_loop, monkeypatch):
    """Loops of other lengths may be compiled to sums in another order."""
    monkeypatch.setattr(sweep, "memory_budget", lambda: 1)
    chunks = train([0, 1, 2])
    assert [record["seed"] for record in chunks] == [0, 1, 2]
    np.testing.assert_allclose(losses(chunks), losses(in_a_loop), rtol=1e-3)
    accuracies = [[run["test_accuracy"] for run in records] for records in (chunks, in_a_loop)]
    np.testing.assert_allclose(*accuracies, atol=0.01)


@pytest.mark.parametrize(("weight", "finite"), [(1.0, True), (np.inf, False), (np.nan, False)])
def test_weights_that_are_not_finite_are_found_after_the_last_update(weight, finite):
    splits = SimpleNamespace(validation=None)
    trainer = Trainer(RECIPE, "sffa", splits, "x")
    state = {"weights": jnp.array([0.0, weight]), "step": jnp.int32(3)}
    assert bool(trainer.finite((SimpleNamespace(state=state), {}))) == finite


def test_a_run_that_diverges_is_marked_and_the_others_continue(rates):
    *finished, diverged = rates
    assert [run["status"] for run in finished] == ["done", "done"]
    assert diverged["status"] == "diverged"
    assert diverged["test_accuracy"] is None
    assert diverged["diverged"]["layer"] == 0
    assert 1 <= diverged["diverged"]["step"] < 20
