"""Whole runs: learning, repeatability, one program for all orders of classes."""

import functools
import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from oracles import plateau_scales

from sffa_jax import Network, data, dense_layers, ffa, sffa
from sffa_jax.continual import strategies
from sffa_jax.continual.model import end_to_end, forward_only
from sffa_jax.continual.runner import (
    ContinualConfig,
    ContinualResult,
    RunState,
    TaskSchedule,
    TrainState,
    end_task,
    evaluate_run,
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


# These two learn to the end of the tasks.
LEARN = ("none", "replay")
STEPS = 3
"""Steps of a call; three calls are an epoch."""


def make_model(algorithm, scenario, hidden=(24, 16)):
    if algorithm == "bp":
        return end_to_end(dense_layers(hidden[:1]), scenario.num_labels)
    overlay = overlays.appended_gaussian(size=20, value=5.0)
    network = Network(dense_layers(hidden), RULES[algorithm], overlay, scenario.num_labels)
    return forward_only(network)


def streams(kind):
    scenario = make_scenario(kind, ORDERS[0], 2)
    many = [make_task_stream(LABELS["train"], LABELS["test"], order, scenario) for order in ORDERS]
    return scenario, jax.tree.map(lambda *leaves: jnp.asarray(np.stack(leaves)), *many)


def stream_of(many, order=0):
    return jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf)[order]), many)


def make_config(algorithm, kind, strategy, hidden=(24, 16)):
    """Tasks of one epoch, and orders of samples for eight."""
    scenario, both = streams(kind)
    schedule = make_task_schedule(both, epochs=8, batch_size=32)
    schedule = TaskSchedule(schedule.num_steps // 8, 32, schedule.passes)
    assert schedule.num_steps == 3 * STEPS
    model = make_model(algorithm, scenario, hidden)
    optimizer = optax.adam(3e-3)
    negatives = "hard" if strategy in LEARN else "all"
    return ContinualConfig(model, scenario, STRATEGIES[strategy], optimizer, schedule, negatives)


@functools.cache
def evaluation(algorithm, kind, *hidden):
    """One program for all strategies, as none of them has `scores`."""
    assert all(strategy.scores is None for strategy in STRATEGIES.values())
    evaluate = jax.jit(
        functools.partial(evaluate_run, make_config(algorithm, kind, "none", *hidden))
    )

    def accuracy(run, task, data):
        modules = TrainState(run.train.modules, (), ())
        return np.asarray(evaluate(run.replace(train=modules), np.int32(task), data))

    return accuracy


@functools.cache
def compiled(algorithm, kind, strategy, *hidden):
    """Programs of a run's stages, shared by the tests: (key, epochs, order) -> result."""
    config = make_config(algorithm, kind, strategy, *hidden)
    start, begin, end = (
        jax.jit(functools.partial(stage, config)) for stage in (start_run, start_task, end_task)
    )
    traces = []

    @jax.jit
    def train(*arguments):
        traces.append(arguments)
        return train_steps(config, *arguments)

    accuracy = evaluation(algorithm, kind, *hidden)
    _, both = streams(kind)

    def result(key, epochs=1, order=0):
        data = TaskData(stream_of(both, order), TRAINING, TEST)
        run, losses = start(key, data), []
        accuracies = [accuracy(run, -1, data)]
        for task in map(np.int32, range(2)):
            run = begin(run, task, data)
            for steps in np.arange(epochs * config.schedule.num_steps).reshape(-1, STEPS):
                run, some_losses = train(run, task, steps, data)
                losses.append(some_losses)
            run = end(run, task, data)
            accuracies.append(accuracy(run, task, data))
        assert len(traces) == 1, "one program serves every task and order"
        losses = np.concatenate(losses).reshape(2, -1, len(run.train.modules))
        return ContinualResult(np.stack(accuracies), losses, run)

    return result


@pytest.mark.parametrize("algorithm", ["sffa", "bp"])
def test_replay_remembers_what_plain_training_forgets(algorithm):
    final = {}
    for strategy in ("none", "replay"):
        result = compiled(algorithm, "class", strategy)(jax.random.key(0), epochs=8)
        assert np.all(np.isfinite(result.losses))
        accuracy = result.accuracy[:, 0]
        assert accuracy.shape == (3, 2)
        assert accuracy[1, 0] > 0.95, "the first task is learned"
        assert np.all(accuracy[:2, 1] == 0), "unseen classes cannot be named"
        final[strategy] = accuracy[-1]
    assert final["none"][0] < 0.4
    assert final["replay"].mean() > 0.85
    assert final["none"][1] > 0.9


# Each strategy in one scenario: how a strategy asks its questions is tested by itself.
OTHERS = [strategy for strategy in STRATEGIES if strategy not in LEARN]
CASE_OF = dict.fromkeys(LEARN, "class")
CASE_OF |= dict(zip(OTHERS, itertools.cycle(["domain", "task", "class"])))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_runs_layer_by_layer(strategy):
    result = compiled("sffa", CASE_OF[strategy], strategy)(jax.random.key(0))
    assert result.accuracy.shape == (3, 3, 2)
    assert result.losses.shape == (2, 9, 2)
    assert np.all(np.isfinite(result.losses))
    assert np.all((result.accuracy >= 0) & (result.accuracy <= 1))
    # A task is learned at least in part while it is under way.
    assert result.losses[0, -3:].mean() < result.losses[0, :3].mean()


@pytest.mark.parametrize(("strategy", "mode"), [("replay", "map"), ("gdumb", "vmap")])
def test_a_run_stage_by_stage_is_the_run_at_once(strategy, mode):
    """One program of both orders, which repeats itself."""
    kind, keys = CASE_OF[strategy], jax.random.split(jax.random.key(0), 2)
    config, (_, both) = make_config("sffa", kind, strategy), streams(kind)

    def run(one):
        key, stream = one
        return run_tasks(config, key, TaskData(stream, TRAINING, TEST))

    runs = jax.jit(Placement(mode).lift(run))
    at_once, again = runs((keys, both)), runs((keys, both))
    chex.assert_trees_all_equal(at_once.losses, again.losses)
    chex.assert_trees_all_equal(at_once.run.train, again.run.train)
    for order, key in enumerate(keys):
        alone = compiled("sffa", kind, strategy)(key, order=order)
        together = jax.tree.map(
            lambda leaf, i=order: np.asarray(leaf)[i],
            at_once._replace(run=at_once.run.train.modules),
        )
        np.testing.assert_allclose(alone.losses, together.losses, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(alone.accuracy, together.accuracy, atol=0.01)
        chex.assert_trees_all_close(alone.run.train.modules, together.run, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("strategy", ["gem", "ewc"])
def test_a_layer_learns_the_same_whatever_is_on_top_of_it(strategy):
    """Locality through a whole run with a projection or a penalty in play."""
    alone, below = (
        compiled("sffa", CASE_OF[strategy], strategy, *hidden)(jax.random.key(0)).run.train.modules[
            0
        ]
        for hidden in ([(24,)], [])
    )
    np.testing.assert_allclose(
        alone["kernels"]["input"], below["kernels"]["input"], rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("coupling", ["local", "released"])
def test_an_optimizer_gets_the_loss_of_its_module(coupling):
    config, (_, both) = make_config("sffa", "class", "none"), streams("class")
    network = Network(dense_layers((6, 4)), sffa(), overlays.appended_gaussian(size=20), 4)
    reduce = optax.contrib.reduce_on_plateau(factor=0.1, patience=1)
    optimizer = optax.chain(optax.sgd(0.5), reduce)
    config = config._replace(model=forward_only(network, coupling=coupling), optimizer=optimizer)
    data = TaskData(stream_of(both), TRAINING, TEST)
    run = jax.jit(functools.partial(start_run, config))(jax.random.key(0), data)
    train = jax.jit(functools.partial(train_steps, config))
    run, losses = train(run, jnp.int32(0), jnp.arange(STEPS), data)
    scales = [float(opt_state[1].scale) for opt_state in run.train.opt_states]
    for losses_of_module, scale in zip(np.broadcast_to(losses, (STEPS, 2)).T, scales, strict=True):
        assert scale == pytest.approx(plateau_scales(losses_of_module)[-1], rel=1e-4)
    assert min(scales) < 1


def test_a_task_has_the_steps_that_its_epochs_take():
    _, both = streams("class")
    schedule = make_task_schedule(both, epochs=2, batch_size=32)
    per_task = len(LABELS["train"]) / 2
    assert schedule.num_steps == round(2 * per_task / 32)
    assert schedule.passes * int(both.num_train.min()) >= schedule.num_steps * 32
    assert make_task_schedule(both, epochs=0.001, batch_size=32).num_steps == 1


def untrained(algorithm, kind):
    """A run with the state of no optimizer or strategy."""
    model = make_config(algorithm, kind, "none").model
    modules, overlay = jax.jit(model.init)(jax.random.key(0), TRAINING.scaled(TRAINING.images[:1]))
    return model, RunState(TrainState(modules, (), ()), overlay, jax.random.key(0))


def test_accuracy_counts_every_test_sample_of_a_task_once():
    """A model that knows the answers for the first image of each class only."""
    model, run = untrained("bp", "class")
    data = TaskData(stream_of(streams("class")[1]), TRAINING, TEST)
    accuracy = evaluation("bp", "class")(run, 1, data)
    images, modules = TEST.scaled(TEST.images), run.train.modules
    logits = np.asarray(jax.jit(lambda x: model.logits(modules, run.overlay, x, None))(images))[0]
    right = logits.argmax(axis=1) == LABELS["test"]
    for task in (0, 1):
        of_task = np.isin(LABELS["test"], ORDERS[0][2 * task : 2 * task + 2])
        assert accuracy[0, task] == pytest.approx(right[of_task].mean(), abs=1e-6)
    early = evaluation("bp", "class")(run, 0, data)
    right = logits[:, :2].argmax(axis=1) == LABELS["test"]
    of_task = np.isin(LABELS["test"], ORDERS[0][:2])
    assert early[0, 0] == pytest.approx(right[of_task].mean(), abs=1e-6)
    assert early[0, 1] == 0


def test_a_diverged_network_is_never_right():
    _, run = untrained("sffa", "domain")
    modules = jax.tree.map(lambda leaf: np.full_like(leaf, np.nan), run.train.modules)
    data = TaskData(stream_of(streams("domain")[1]), TRAINING, TEST)
    accuracy = evaluation("sffa", "domain")(run.replace(train=TrainState(modules, (), ())), 1, data)
    assert np.all(accuracy == 0)
