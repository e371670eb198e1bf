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
from sffa_jax.continual import strategies
from sffa_jax.continual.model import end_to_end, forward_only
from sffa_jax.continual.problem import Problem
from sffa_jax.continual.runner import (
    ContinualConfig,
    TaskSchedule,
    end_task,
    evaluate_run,
    evaluate_tasks,
    make_task_schedule,
    run_tasks,
    start_run,
    start_task,
    train_steps,
)
from sffa_jax.continual.scenarios import TaskData, make_scenario, make_task_stream
from sffa_jax.core import overlays
from sffa_jax.scale.placement import Placement
from sffa_jax.training.samples import make_samples

RULES = {
    "sffa": sffa(logit_scale=12.0, eps=1.0, loss="softmax"),
    "ffa": ffa(threshold=0.3, logit_scale=20.0, loss="softmax"),
}
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
STRATEGIES = {
    "none": strategies.none(),
    "ewc": strategies.ewc(num_samples=8),
    "si": strategies.si(),
    "mas": strategies.mas(num_samples=8),
    "lwf": strategies.lwf(),
    "gem": strategies.gem(patterns=4),
    "agem": strategies.agem(slots=40),
    "replay": strategies.replay(slots=40),
    "derpp": strategies.derpp(slots=40),
    "gdumb": strategies.gdumb(slots=40),
    "joint": strategies.joint(),
}


def make_model(algorithm, scenario, hidden=(24, 16)):
    if algorithm == "bp":
        return end_to_end(dense_layers(hidden), scenario.num_labels)
    overlay = overlays.appended_gaussian(size=20, value=5.0)
    network = Network(dense_layers(hidden), RULES[algorithm], overlay, scenario.num_labels)
    return forward_only(network)


def streams(kind):
    scenario = make_scenario(kind, ORDERS[0], 2)
    many = [make_task_stream(LABELS["train"], LABELS["test"], order, scenario) for order in ORDERS]
    return scenario, jax.tree.map(lambda *leaves: jnp.stack(leaves), *many)


@functools.cache
def compiled(algorithm, kind, strategy, epochs=1, negatives="all"):
    """One program for every order of classes, shared by the tests: (key, stream) -> result."""
    scenario, both = streams(kind)
    schedule = make_task_schedule(both, epochs=epochs, batch_size=32)
    model = make_model(algorithm, scenario)
    config = ContinualConfig(
        model, scenario, STRATEGIES[strategy], optax.adam(3e-3), schedule, negatives
    )

    def run(key, stream):
        return run_tasks(config, key, TaskData(stream, TRAINING, TEST))

    return jax.jit(run), run, both


def first_of(many):
    return jax.tree.map(lambda leaf: leaf[0], many)


@pytest.mark.parametrize("algorithm", ["sffa", "bp"])
def test_replay_remembers_what_plain_training_forgets(algorithm):
    final = {}
    for strategy in ("none", "replay"):
        run, _, both = compiled(algorithm, "class", strategy, epochs=8, negatives="hard")
        result = run(jax.random.key(0), first_of(both))
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
CASE_OF = {strategy: (kind, strategy) for strategy, kind in CASES}


@pytest.mark.parametrize(("strategy", "kind"), CASES)
def test_every_strategy_runs_layer_by_layer(strategy, kind):
    run, _, both = compiled("sffa", kind, strategy)
    result = run(jax.random.key(0), first_of(both))
    assert result.accuracy.shape == (3, 3, 2)
    assert result.losses.shape == (2, 9, 2)
    assert jnp.all(jnp.isfinite(result.losses))
    assert jnp.all((result.accuracy >= 0) & (result.accuracy <= 1))
    # A task is learned at least in part while it is under way.
    assert result.losses[0, -3:].mean() < result.losses[0, :3].mean()


def test_one_program_serves_every_order_and_repeats_itself():
    run, traceable, both = compiled("sffa", *CASE_OF["replay"])
    keys = jax.random.split(jax.random.key(0), 2)
    alone = [run(key, jax.tree.map(lambda leaf, i=i: leaf[i], both)) for i, key in enumerate(keys)]
    again = run(keys[0], first_of(both))
    assert run._cache_size() == 1
    np.testing.assert_array_equal(alone[0].losses, again.losses)
    chex.assert_trees_all_equal(alone[0].state.modules, again.state.modules)
    for mode in ("map", "vmap"):
        lifted = Placement(mode).lift(lambda one: traceable(*one))
        together = jax.jit(lifted)((keys, both))
        for i, one in enumerate(alone):
            np.testing.assert_allclose(together.losses[i], one.losses, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("strategy", ["replay", "gdumb"])
def test_a_run_stage_by_stage_is_the_run_at_once(strategy):
    scenario, both = streams("class")
    schedule = TaskSchedule(num_steps=4, batch_size=16, passes=1)
    model = make_model("sffa", scenario, (12,))
    config = ContinualConfig(model, scenario, STRATEGIES[strategy], optax.adam(3e-3), schedule)
    data = TaskData(first_of(both), TRAINING, TEST)
    key = jax.random.key(4)
    whole = jax.jit(functools.partial(run_tasks, config))(key, data)
    stages = {
        stage.__name__: jax.jit(functools.partial(stage, config))
        for stage in (start_run, start_task, train_steps, end_task, evaluate_run)
    }
    run, losses, accuracies = stages["start_run"](key, data), [], []
    for task in map(jnp.int32, range(2)):
        run = stages["start_task"](run, task, data)
        for steps in (jnp.arange(2), jnp.arange(2, 4)):
            run, some_losses = stages["train_steps"](run, task, steps, data)
            losses.append(some_losses)
        run = stages["end_task"](run, task, data)
        accuracies.append(stages["evaluate_run"](run, task, data))
    np.testing.assert_allclose(
        np.concatenate(losses), np.concatenate(whole.losses), rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose(accuracies, whole.accuracy[1:], atol=0.01)
    chex.assert_trees_all_close(run.train.modules, whole.state.modules, rtol=1e-3, atol=1e-4)


def test_a_layer_learns_the_same_whatever_is_on_top_of_it():
    """Locality through a whole run with a projection or a penalty in play."""
    scenario, both = streams("task")
    schedule = TaskSchedule(num_steps=6, batch_size=16, passes=2)
    for name in ("gem", "ewc"):
        kernels = []
        for hidden in ((24,), (24, 16)):
            model = make_model("sffa", scenario, hidden)
            config = ContinualConfig(model, scenario, STRATEGIES[name], optax.sgd(0.1), schedule)
            run = jax.jit(functools.partial(run_tasks, config))
            result = run(jax.random.key(0), TaskData(first_of(both), TRAINING, TEST))
            kernels.append(result.state.modules[0]["kernels"]["input"])
        np.testing.assert_allclose(kernels[0], kernels[1], rtol=1e-5, atol=1e-6)


def test_a_task_has_the_steps_that_its_epochs_take():
    _, both = streams("class")
    schedule = make_task_schedule(both, epochs=2, batch_size=32)
    per_task = len(LABELS["train"]) / 2
    assert schedule.num_steps == round(2 * per_task / 32)
    assert schedule.passes * int(both.num_train.min()) >= schedule.num_steps * 32
    assert make_task_schedule(both, epochs=0.001, batch_size=32).num_steps == 1


def test_accuracy_counts_every_test_sample_of_a_task_once():
    """A model that knows the answers for the first image of each class only."""
    scenario, both = streams("class")
    stream = first_of(both)
    model = make_model("bp", scenario)
    first = TRAINING.scaled(TRAINING.images[:1])
    modules, overlay = jax.jit(model.init)(jax.random.key(0), first)
    problem = Problem(scenario, model, overlay, TRAINING, stream)
    evaluate = jax.jit(functools.partial(evaluate_tasks, problem))
    accuracy = evaluate(modules, TEST, jnp.int32(1))
    images = TEST.scaled(TEST.images)
    logits = np.asarray(jax.jit(lambda x: model.logits(modules, overlay, x, None))(images))[0]
    right = logits.argmax(axis=1) == LABELS["test"]
    for task in (0, 1):
        of_task = np.isin(LABELS["test"], ORDERS[0][2 * task : 2 * task + 2])
        assert accuracy[0, task] == pytest.approx(right[of_task].mean(), abs=1e-6)
    early = evaluate(modules, TEST, jnp.int32(0))
    right = logits[:, :2].argmax(axis=1) == LABELS["test"]
    of_task = np.isin(LABELS["test"], ORDERS[0][:2])
    assert early[0, 0] == pytest.approx(right[of_task].mean(), abs=1e-6)
    assert early[0, 1] == 0


def test_a_diverged_network_is_never_right():
    scenario, both = streams("domain")
    model = make_model("sffa", scenario)
    first = TRAINING.scaled(TRAINING.images[:1])
    modules, overlay = jax.jit(model.init)(jax.random.key(0), first)
    broken = jax.tree.map(lambda leaf: np.full_like(leaf, np.nan), modules)
    problem = Problem(scenario, model, overlay, TRAINING, first_of(both))
    evaluate = jax.jit(functools.partial(evaluate_tasks, problem))
    assert np.all(np.asarray(evaluate(broken, TEST, jnp.int32(1))) == 0)
