"""Unit turnover on a network whose units are known."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from sffa_jax.analysis.unit_turnover import MEASURES, TURNOVER, measure_units, turnover_record
from sffa_jax.continual import strategies
from sffa_jax.continual.model import Model
from sffa_jax.continual.runner import (
    ContinualConfig,
    RunState,
    TaskSchedule,
    TrainState,
)
from sffa_jax.continual.scenarios import TaskData, make_scenario, make_task_stream
from sffa_jax.training.samples import make_samples

LABELS = np.repeat(np.arange(4), 6)
SCENARIO = make_scenario("class", (2, 0, 3, 1), 2)
STREAM = make_task_stream(LABELS, LABELS, (2, 0, 3, 1), SCENARIO)
# Each image holds its class index.
CLASS_INDEX = np.array([1, 3, 0, 2])[LABELS]


def hidden(modules, overlay, x, labels):
    """Two layers: a unit a class and one for all; a unit for none and one for all."""
    del overlay, labels
    index = jnp.round(x[:, 0]).astype(jnp.int32)
    own = jnp.eye(4)[index] * modules[0]
    ones = jnp.ones((len(x), 1))
    return [jnp.concatenate([own, ones], axis=1), jnp.concatenate([0 * ones, ones], axis=1)]


def measured(gain):
    images = CLASS_INDEX[:, None, None].astype(np.uint8)
    samples = make_samples(images, LABELS, mean=0.0, std=1 / 255, num_classes=4)
    model = Model(*[lambda *_: None] * 4, hidden=hidden)
    schedule = TaskSchedule(1, 1, 1)
    config = ContinualConfig(model, SCENARIO, strategies.none(), optax.sgd(1.0), schedule)

    @jax.jit
    def measure(gain):
        run = RunState(TrainState((gain,), (), ()), None, jax.random.key(0))
        return measure_units(config, run, TaskData(STREAM, samples, samples))

    return jax.tree.map(np.asarray, measure(np.float32(gain)))


def test_owners_and_measures_of_known_units():
    found = measured(2.0)
    np.testing.assert_array_equal(found["owners"][0], [0, 1, 2, 3, -1])
    np.testing.assert_array_equal(found["owners"][1], [-1, -1])
    np.testing.assert_array_equal(found["owned"], [[1, 1, 1, 1], [0, 0, 0, 0]])
    first, second = (dict(zip(MEASURES, row, strict=True)) for row in found["measures"])
    assert first["owned_share"] == pytest.approx(0.8)
    assert first["active_share"] == pytest.approx(0.4)
    assert first["dead_share"] == 0
    assert first["selectivity"] == pytest.approx(0.8)
    assert second["dead_share"] == 0.5
    assert second["hoyer"] == pytest.approx(1.0)


def rows(*owners):
    """Arrays of `measure_units` for one layer, a row per measurement."""
    by_row = np.array(owners)
    count = len(owners)
    return {
        "owners": [by_row],
        "owned": np.zeros((count, 1, 4), int),
        "measures": np.zeros((count, 1, len(MEASURES))),
    }


def test_the_record_says_what_became_of_them():
    found = turnover_record(rows([0, 0, -1, -1], [0, 1, 1, -1], [-1, 1, 1, 2]))
    turnover = {name: [row[0] for row in found["turnover"][name]] for name in TURNOVER}
    assert turnover == {
        "kept": [0.25, 0.5],
        "reused": [0.25, 0.0],
        "lost": [0.0, 0.25],
        "gained": [0.25, 0.25],
        "free": [0.25, 0.0],
    }


def test_units_are_measured_on_all_classes_of_a_sorted_set():
    """200 images of each class: the first hundred of a task are all of one class."""
    labels = np.repeat(np.arange(4), 200)
    scenario = make_scenario("class", (0, 1, 2, 3), 2)
    stream = make_task_stream(labels, labels, (0, 1, 2, 3), scenario)
    samples = make_samples(
        labels[:, None, None].astype(np.uint8), labels, mean=0.0, std=1 / 255, num_classes=4
    )
    model = Model(*[lambda *_: None] * 4, hidden=hidden)
    config = ContinualConfig(
        model, scenario, strategies.none(), optax.sgd(1.0), TaskSchedule(1, 1, 1)
    )
    run = RunState(TrainState((jnp.float32(1.0),), (), ()), None, jax.random.key(0))
    found = jax.jit(lambda: measure_units(config, run, TaskData(stream, samples, samples)))()
    np.testing.assert_array_equal(found["owners"][0], [0, 1, 2, 3, -1])
