"""What becomes of neurons, on a network whose neurons are known."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments.reports import unit_turnover
from experiments.reports.unit_turnover import MEASURE_NAMES, TURNOVER
from sffa_jax.continual.model import Model
from sffa_jax.continual.runner import Course, Data, Plan, Run, TrainState
from sffa_jax.continual.scenarios import make_scenario, make_stream
from sffa_jax.training.samples import make_samples

LABELS = np.repeat(np.arange(4), 6)
SCENARIO = make_scenario("class", (2, 0, 3, 1), 2)
STREAM = make_stream(LABELS, LABELS, (2, 0, 3, 1), SCENARIO)
# Each image holds its class's place in the order.
PLACES = np.array([1, 3, 0, 2])[LABELS]


def hidden(modules, overlay, x, labels):
    """Two layers: a unit a class and one for all; a unit for none and one for all."""
    del overlay, labels
    place = jnp.round(x[:, 0]).astype(jnp.int32)
    own = jnp.eye(4)[place] * modules[0]
    ones = jnp.ones((len(x), 1))
    return [jnp.concatenate([own, ones], axis=1), jnp.concatenate([0 * ones, ones], axis=1)]


def look(gain):
    images = PLACES[:, None, None].astype(np.uint8)
    samples = make_samples(images, LABELS, mean=0.0, std=1 / 255, num_classes=4)
    model = Model(*[lambda *_: None] * 4, hidden=hidden)
    course = Course(model, SCENARIO, lambda _: None, optax.sgd(1.0), Plan(1, 1, 1))
    run = Run(TrainState((jnp.float32(gain),), (), ()), None, jax.random.key(0))
    return unit_turnover.look(course, run, Data(STREAM, samples, samples))


def test_a_look_finds_whose_neurons_are_whose():
    found = look(2.0)
    np.testing.assert_array_equal(found["owners"][0], [0, 1, 2, 3, -1])
    np.testing.assert_array_equal(found["owners"][1], [-1, -1])
    np.testing.assert_array_equal(found["owned"], [[1, 1, 1, 1], [0, 0, 0, 0]])
    first, second = (dict(zip(MEASURE_NAMES, row, strict=True)) for row in found["measures"])
    assert first["owned_share"] == pytest.approx(0.8)
    assert first["active_share"] == pytest.approx(0.4)
    assert first["dead_share"] == 0
    assert first["selectivity"] == pytest.approx(0.8)
    assert second["dead_share"] == 0.5
    assert second["hoyer"] == pytest.approx(1.0)


def rows(*owners):
    """`look`'s arrays of a run with one layer, a row a look."""
    looks = np.array(owners)
    count = len(owners)
    return {
        "owners": [looks],
        "owned": np.zeros((count, 1, 4), int),
        "measures": np.zeros((count, 1, len(MEASURE_NAMES))),
    }


def test_the_record_says_what_became_of_them():
    found = unit_turnover.record_of(rows([0, 0, -1, -1], [0, 1, 1, -1], [-1, 1, 1, 2]))
    turnover = {name: [row[0] for row in found["turnover"][name]] for name in TURNOVER}
    assert turnover == {
        "kept": [0.25, 0.5],
        "reused": [0.25, 0.0],
        "lost": [0.0, 0.25],
        "gained": [0.25, 0.25],
        "free": [0.25, 0.0],
    }


def test_the_figure_stacks_shares_to_one_and_the_table_leaves_out_the_first_task():
    neurons = unit_turnover.record_of(rows([0, 0, -1, -1], [0, 1, 1, -1], [-1, 1, 1, 2]))
    run = {"scenario": "class", "strategy": "none", "algorithm": "sffa", "neurons": neurons}
    records = [run, {**run, "algorithm": "bp"}, {"scenario": "class", "strategy": "none"}]
    axes = unit_turnover.turnover_figure(records, 0).axes
    tops = [bar.get_y() + bar.get_height() for bar in axes[0].patches[-2:]]
    assert tops == pytest.approx([1, 1])
    head, first, _ = unit_turnover.table(records[:2])
    shown = dict(zip(head, first, strict=True))
    assert shown["kept, %"] == "50.0"
    assert shown["reused, %"] == "0.0"
    assert shown["lost, %"] == "25.0"
    assert unit_turnover.depth(records[2:]) == 0
