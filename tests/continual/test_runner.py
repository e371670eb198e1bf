"""Whole runs: learning, repeatability, one program for all orders of classes."""

import functools
import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from sffa_jax import Network, data, dense_layers, ffa, sffa
from sffa_jax.continual.model import end_to_end, forward_only
from sffa_jax.continual.runner import (
    Course,
    Data,
    Plan,
    begin,
    close_task,
    evaluate_run,
    evaluate_tasks,
    make_plan,
    open_task,
    run_tasks,
    train_steps,
)
from sffa_jax.continual.scenarios import make_scenario, make_stream
from sffa_jax.continual.strategies import STRATEGIES
from sffa_jax.continual.strategy import Problem
from sffa_jax.core import overlays
from sffa_jax.scale.placement import Placement
from sffa_jax.training.samples import make_samples

RULES = {"sffa": sffa(logit_scale=12.0, eps=1.0), "ffa": ffa(threshold=0.3, logit_scale=20.0)}
ORDERS = ((0, 1, 2, 3), (3, 1, 0, 2))
DIGITS = data.load("digits")
KEPT = {split: getattr(DIGITS, f"{split}_labels") < 4 for split in ("train", "test")}
LABELS = {split: getattr(DIGITS, f"{split}_labels")[kept] for split, kept in KEPT.items()}
TRAINING, TEST = (
    make_samples(
        getattr(DIGITS, f"{split}_images")[kept],
        LABELS[split],
        num_classes=4,
        mean=0.3,
        std=0.37,
    )
    for split, kept in KEPT.items()
)
MEMORY = {"slots": 40}
OPTIONS = dict.fromkeys(("replay", "derpp", "agem", "gdumb"), MEMORY) | {
    "ewc": {"num_samples": 8},
    "mas": {"num_samples": 8},
    "gem": {"patterns": 4},
}


def make_model(algorithm, scenario, hidden=(24, 16)):
    if algorithm == "bp":
        return end_to_end(dense_layers(hidden), scenario.num_labels)
    overlay = overlays.appended_gaussian(size=20, value=5.0)
    network = Network(dense_layers(hidden), RULES[algorithm], overlay, scenario.num_labels)
    return forward_only(network)


def streams(kind):
    scenario = make_scenario(kind, ORDERS[0], 2)
    many = [make_stream(LABELS["train"], LABELS["test"], order, scenario) for order in ORDERS]
    return scenario, jax.tree.map(lambda *leaves: jnp.stack(leaves), *many)


def make_run(algorithm, kind, strategy, *, epochs=8, num_wrong=None):
    scenario, both = streams(kind)
    make = functools.partial(STRATEGIES[strategy], **OPTIONS.get(strategy, {}))
    plan = make_plan(both, epochs=epochs, batch_size=32)
    model = make_model(algorithm, scenario)

    def run(one, training, test):
        key, stream = one
        course = Course(model, scenario, make, optax.adam(3e-3), plan, num_wrong)
        return run_tasks(course, key, Data(stream, training, test))

    return run, both


def first_of(many):
    return jax.tree.map(lambda leaf: leaf[0], many)


@pytest.mark.parametrize("algorithm", ["sffa", "bp"])
def test_replay_remembers_what_plain_training_forgets(algorithm):
    final = {}
    for strategy in ("none", "replay"):
        run, both = make_run(algorithm, "class", strategy, num_wrong=1)
        one = (jax.random.key(0), first_of(both))
        result = jax.jit(run)(one, TRAINING, TEST)
        assert jnp.all(jnp.isfinite(result.losses))
        accuracy = np.asarray(result.accuracy[:, 0])
        assert accuracy.shape == (3, 2)
        assert accuracy[1, 0] > 0.95, "the first task is learned"
        assert np.all(accuracy[:2, 1] == 0), "unseen classes cannot be named"
        final[strategy] = accuracy[-1]
    assert final["none"][0] < 0.4
    assert final["replay"].mean() > 0.85
    assert final["none"][1] > 0.9


# Each strategy in one scenario: how a strategy asks its questions is tested by itself.
CASES = list(zip(STRATEGIES, itertools.cycle(["class", "domain", "task"])))


@pytest.mark.parametrize(("strategy", "kind"), CASES)
def test_every_strategy_runs_layer_by_layer(strategy, kind):
    run, both = make_run("sffa", kind, strategy, epochs=1)
    result = jax.jit(run)((jax.random.key(0), first_of(both)), TRAINING, TEST)
    assert result.accuracy.shape == (3, 3, 2)
    assert result.losses.shape == (2, 9, 2)
    assert jnp.all(jnp.isfinite(result.losses))
    assert jnp.all((result.accuracy >= 0) & (result.accuracy <= 1))
    # A task is learned at least in part while it is under way.
    assert result.losses[0, -3:].mean() < result.losses[0, :3].mean()


def test_one_program_serves_every_order_and_repeats_itself():
    run, both = make_run("sffa", "task", "replay", epochs=1)
    keys = jax.random.split(jax.random.key(0), 2)
    traced = jax.jit(chex.assert_max_traces(n=1)(run))
    alone = [
        traced((key, jax.tree.map(lambda leaf, i=i: leaf[i], both)), TRAINING, TEST)
        for i, key in enumerate(keys)
    ]
    again = traced((keys[0], first_of(both)), TRAINING, TEST)
    np.testing.assert_array_equal(alone[0].losses, again.losses)
    chex.assert_trees_all_equal(alone[0].state.modules, again.state.modules)
    for mode in ("map", "vmap"):
        together = jax.jit(Placement(mode).lift(run))((keys, both), TRAINING, TEST)
        for i, one in enumerate(alone):
            np.testing.assert_allclose(together.losses[i], one.losses, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("strategy", ["replay", "gdumb"])
def test_a_run_in_pieces_is_the_run_at_once(strategy):
    scenario, both = streams("class")
    make = functools.partial(STRATEGIES[strategy], **OPTIONS.get(strategy, {}))
    plan = Plan(num_steps=5, batch_size=16, passes=1)
    course = Course(make_model("sffa", scenario), scenario, make, optax.adam(3e-3), plan)
    shown = Data(first_of(both), TRAINING, TEST)
    key = jax.random.key(4)
    whole = jax.jit(functools.partial(run_tasks, course))(key, shown)
    pieces = {
        piece.__name__: jax.jit(functools.partial(piece, course))
        for piece in (begin, open_task, train_steps, close_task, evaluate_run)
    }
    run, losses, accuracies = pieces["begin"](key, shown), [], []
    for task in map(jnp.int32, range(2)):
        run = pieces["open_task"](run, task, shown)
        for steps in (jnp.arange(3), jnp.arange(3, 5)):
            run, found = pieces["train_steps"](run, task, steps, shown)
            losses.append(found)
        run = pieces["close_task"](run, task, shown)
        accuracies.append(pieces["evaluate_run"](run, task, shown))
    np.testing.assert_allclose(
        np.concatenate(losses), np.concatenate(whole.losses), rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose(accuracies, whole.accuracy[1:], atol=0.01)
    chex.assert_trees_all_close(run.train.modules, whole.state.modules, rtol=1e-3, atol=1e-4)


def test_a_layer_learns_the_same_whatever_is_on_top_of_it():
    """Locality through a whole run with a projection or a penalty in play."""
    scenario, both = streams("task")
    plan = Plan(num_steps=6, batch_size=16, passes=2)
    for name in ("gem", "ewc"):
        make = functools.partial(STRATEGIES[name], **OPTIONS.get(name, {}))
        kernels = []
        for hidden in ((24,), (24, 16)):
            model = make_model("sffa", scenario, hidden)
            course = Course(model, scenario, make, optax.sgd(0.1), plan)
            run = jax.jit(functools.partial(run_tasks, course))
            result = run(jax.random.key(0), Data(first_of(both), TRAINING, TEST))
            kernels.append(result.state.modules[0]["kernels"]["input"])
        np.testing.assert_allclose(kernels[0], kernels[1], rtol=1e-5, atol=1e-6)


def test_a_task_has_the_steps_that_its_epochs_take():
    _, both = streams("class")
    plan = make_plan(both, epochs=2, batch_size=32)
    per_task = len(LABELS["train"]) / 2
    assert plan.num_steps == round(2 * per_task / 32)
    assert plan.passes * int(both.num_train.min()) >= plan.num_steps * 32
    assert make_plan(both, epochs=0.001, batch_size=32).num_steps == 1


def test_accuracy_counts_every_test_sample_of_a_task_once():
    """A model that knows the answers for the first image of each class only."""
    scenario, both = streams("class")
    stream = first_of(both)
    model = make_model("bp", scenario)
    modules, overlay = model.init(jax.random.key(0), TRAINING.scaled(TRAINING.images[:1]))
    problem = Problem(scenario, model, overlay, TRAINING, stream)
    found = evaluate_tasks(problem, modules, TEST, jnp.int32(1))
    outputs = np.asarray(model.outputs(modules, overlay, TEST.scaled(TEST.images), None))[0]
    right = outputs.argmax(axis=1) == LABELS["test"]
    for task in (0, 1):
        mine = np.isin(LABELS["test"], ORDERS[0][2 * task : 2 * task + 2])
        assert found[0, task] == pytest.approx(right[mine].mean(), abs=1e-6)
    early = evaluate_tasks(problem, modules, TEST, jnp.int32(0))
    right = outputs[:, :2].argmax(axis=1) == LABELS["test"]
    mine = np.isin(LABELS["test"], ORDERS[0][:2])
    assert early[0, 0] == pytest.approx(right[mine].mean(), abs=1e-6)
    assert early[0, 1] == 0


def test_a_diverged_network_is_never_right():
    scenario, both = streams("domain")
    model = make_model("sffa", scenario)
    modules, overlay = model.init(jax.random.key(0), TRAINING.scaled(TRAINING.images[:1]))
    broken = jax.tree.map(lambda leaf: leaf * jnp.nan, modules)
    problem = Problem(scenario, model, overlay, TRAINING, first_of(both))
    assert jnp.all(evaluate_tasks(problem, broken, TEST, jnp.int32(1)) == 0)
