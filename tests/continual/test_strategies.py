"""Penalties against closed forms, on networks so small that one can be written down."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from small_problems import (
    CURVATURES,
    KEY,
    after_two_tasks,
    all_of,
    make_problem,
    modules_of,
    quadratic_model,
)
from unchecked import no_shape_checks

from sffa_jax import make_samples
from sffa_jax.continual import quadratic, strategies
from sffa_jax.continual.runner import TrainState, train_step
from sffa_jax.continual.scenarios import Scenario, split_tasks
from sffa_jax.continual.storage import StoredBytes, stored_bytes
from sffa_jax.continual.strategies import ewc, gem, lwf, mas, replay, si
from sffa_jax.continual.strategies.ewc import fisher
from sffa_jax.continual.strategies.gem import inner
from sffa_jax.continual.strategies.mas import sensitivity
from sffa_jax.continual.strategy import Strategy


def test_fisher_is_the_mean_of_squared_gradients_sample_by_sample():
    problem = make_problem(model=quadratic_model())
    modules, batch = modules_of(problem), all_of(problem)
    x = np.float64(batch.x)
    importance = jax.jit(partial(fisher, problem))(modules, batch)
    for a, module, found in zip(CURVATURES, modules, importance, strict=True):
        by_sample = a * (np.float64(module["w"]) - x)
        np.testing.assert_allclose(found["w"], (by_sample**2).mean(axis=0), rtol=1e-5)
        assert not np.allclose(found["w"], by_sample.mean(axis=0) ** 2, rtol=0.1)


def on_drawn(function, problem, count, modules, task):
    """`function` of the samples that a strategy draws after a task."""
    indices = problem.draw(jax.random.fold_in(KEY, task), task, count)
    return function(problem, modules, problem.batch(indices, task))


@pytest.mark.parametrize("mode", ["separate", "online"])
def test_ewcs_penalty_is_the_sum_of_the_tasks_quadratics(mode):
    problem = make_problem(model=quadratic_model())
    strategy = ewc(strength=3.0, mode=mode, fisher_decay=0.7, num_samples=5)
    memory, ends = after_two_tasks(strategy, problem)
    of_drawn = jax.jit(partial(on_drawn, fisher, problem, 5))
    fishers = [of_drawn(end, now) for now, end in enumerate(ends)]

    def expected(modules):
        total = 0.0
        for k in range(2):
            w = modules[k]["w"]
            if mode == "separate":
                for f, end in zip(fishers, ends, strict=True):
                    total += jnp.sum(f[k]["w"] * (w - end[k]["w"]) ** 2)
            else:
                f = 0.7 * fishers[0][k]["w"] + fishers[1][k]["w"]
                total += jnp.sum(f * (w - ends[1][k]["w"]) ** 2)
        return 0.5 * 3.0 * total

    now = modules_of(problem)
    penalty = partial(strategy.penalty, problem, memory, KEY, batch=all_of(problem))
    pull, by_hand = jax.jit(lambda now: (jax.grad(penalty)(now), jax.grad(expected)(now)))(now)
    for found, wanted in zip(pull, by_hand, strict=True):
        np.testing.assert_allclose(found["w"], wanted["w"], rtol=1e-4, atol=1e-5)


def test_parameters_that_never_mattered_are_not_pulled():
    start = ({"w": jnp.array([1.0, 2.0])},)
    none = quadratic.zero_quadratic(start)
    grown = quadratic.add_quadratic(none, ({"w": jnp.array([0.0, 4.0])},), ({"w": jnp.zeros(2)},))
    assert quadratic.penalty(none, ({"w": jnp.array([9.0, 9.0])},)) == 0
    assert quadratic.penalty(grown, ({"w": jnp.array([9.0, 1.0])},)) == 4
    assert jnp.all(jnp.isfinite(grown.anchor[0]["w"]))


def test_sis_path_integral_is_the_loss_that_gradient_descent_took_off():
    """On a quadratic, n steps of rate r take the distance e to e (1 - r a)^n; the sum of
    -gradient * step is then a geometric series, and for small r the drop of the loss."""
    problem = make_problem(model=quadratic_model())
    strategy = si(strength=2.0, damping=0.1)
    start = modules_of(problem)
    rate, num_steps = 0.05, 40
    optimizer = optax.sgd(rate)
    state = TrainState(
        start, tuple(optimizer.init(m) for m in start), strategy.init(problem, start)
    )
    step = jax.jit(partial(train_step, problem, strategy, optimizer))
    for i in range(num_steps):
        state, _ = step(state, jax.random.key(i), np.arange(24), jnp.int32(0))
    middle = np.float64(all_of(problem).x).mean(axis=0)
    after_task = jax.jit(partial(strategy.after_task, problem))
    done = after_task(state.strategy_state, KEY, state.modules, jnp.int32(0))
    for k, a in enumerate(CURVATURES):
        distance = np.float64(start[k]["w"]) - middle
        ratio = 1 - rate * a
        series = (1 - ratio ** (2 * num_steps)) / (1 - ratio**2)
        gain = rate * a**2 * distance**2 * series
        np.testing.assert_allclose(state.strategy_state.gain[k]["w"], gain, rtol=1e-4)
        drop = 0.5 * a * distance**2 * (1 - ratio ** (2 * num_steps))
        np.testing.assert_allclose(gain, drop, rtol=0.06)
        end = middle + distance * ratio**num_steps
        np.testing.assert_allclose(state.modules[k]["w"], end, rtol=1e-4)
        moved = end - np.float64(start[k]["w"])
        importance = done.quadratic.importance[k]["w"]
        np.testing.assert_allclose(importance, gain / (moved**2 + 0.1), rtol=1e-3)
        assert jnp.all(done.gain[k]["w"] == 0)
    away = jax.tree.map(lambda w: w + 1, state.modules)
    wanted = 2.0 * sum(float(m["w"].sum()) for m in done.quadratic.importance)
    assert strategy.penalty(problem, done, KEY, away, all_of(problem)) == pytest.approx(
        wanted, rel=1e-4
    )


def test_sis_gain_leaves_the_penalty_out():
    problem = make_problem(model=quadratic_model())
    weak, strong = (si(strength=s) for s in (0.0, 50.0))
    start = modules_of(problem)
    optimizer = optax.sgd(0.01)
    gains = []
    for strategy in (weak, strong):
        memory = strategy.init(problem, start)
        held = memory.quadratic.replace(
            importance=jax.tree.map(jnp.ones_like, start),
            anchor=jax.tree.map(lambda w: w - 1, start),
        )
        opt_states = tuple(optimizer.init(m) for m in start)
        state = TrainState(start, opt_states, memory.replace(quadratic=held))
        step = jax.jit(partial(train_step, problem, strategy, optimizer))
        state, _ = step(state, KEY, np.arange(24), jnp.int32(0))
        moved = jax.tree.map(jnp.subtract, state.modules, start)
        gains.append((state.strategy_state.gain, moved))
    gradient, _ = jax.jit(problem.gradient)(start, all_of(problem))
    for gain, moved in gains:
        for k in range(2):
            wanted = -gradient[k]["w"] * moved[k]["w"]
            np.testing.assert_allclose(gain[k]["w"], wanted, rtol=1e-4, atol=1e-7)


def test_mas_is_the_mean_absolute_slope_of_the_outputs_squared_length():
    problem = make_problem(model=quadratic_model())._replace(scenario=Scenario("task", 3, 3))
    modules, batch = modules_of(problem), all_of(problem)
    x = np.float64(batch.x)
    importance = jax.jit(partial(sensitivity, problem))(modules, batch)
    for module, found in zip(modules, importance, strict=True):
        slopes = np.abs(2 * (np.float64(module["w"]) - x))
        np.testing.assert_allclose(found["w"], slopes.mean(axis=0), rtol=1e-5)


def test_mas_mixes_importances_but_takes_the_first_whole():
    problem = make_problem()
    strategy = mas(strength=2.0, keep=0.25, num_samples=6)
    memory, ends = after_two_tasks(strategy, problem)
    of_drawn = jax.jit(partial(on_drawn, sensitivity, problem, 6))
    new = [of_drawn(end, now)[0]["w"] for now, end in enumerate(ends)]
    np.testing.assert_allclose(
        memory.importance[0]["w"], 0.25 * new[0] + 0.75 * new[1], rtol=1e-5, atol=1e-6
    )
    np.testing.assert_array_equal(memory.anchor[0]["w"], ends[1][0]["w"])


@pytest.mark.parametrize("kind", ["class", "domain", "task"])
def test_lwf_has_no_pull_where_nothing_changed_and_pulls_back_where_it_did(kind):
    problem = make_problem(kind)
    strategy = lwf(strength=1.0, temperature=2.0)
    old = modules_of(problem)
    batch = problem.batch(problem.stream.train[1], jnp.int32(1))
    penalty = jax.jit(partial(strategy.penalty, problem))
    pull = jax.jit(jax.grad(partial(strategy.penalty, problem), argnums=2))
    assert jnp.abs(pull(old, KEY, old, batch)[0]["w"]).max() < 1e-5
    moved = jax.tree.map(lambda w: w.at[:, 0].add(0.5), old)
    gradient = pull(old, KEY, moved, batch)[0]["w"]
    assert inner(gradient, moved[0]["w"] - old[0]["w"]) > 0
    first = batch.replace(task=jnp.int32(0))
    assert penalty(old, KEY, moved, first) == 0
    # By hand, for the first sample (class): softmax at T = 2 over the two labels seen before.
    if kind == "class":
        one = batch.replace(
            x=batch.x[:1], class_index=batch.class_index[:1], weights=batch.weights[:1]
        )
        x = np.float64(batch.x[0])
        before, after = ((x @ np.float64(m[0]["w"]))[:2] / 2 for m in (old, moved))
        p = np.exp(before) / np.exp(before).sum()
        log_q = after - np.log(np.exp(after).sum())
        assert penalty(old, KEY, moved, one) == pytest.approx(-4 * p @ log_q, rel=1e-4)


GENERAL = ("none", "ewc", "si", "mas", "lwf", "gem", "agem", "replay", "derpp", "gdumb", "joint")
"""Strategies that take any network."""


def test_what_a_method_keeps_is_counted_in_bytes():
    problem = make_problem()
    modules = modules_of(problem)
    parameters = 3 * 6 * 4
    # Nine images; the tasks contain six of them.
    samples = make_samples(np.zeros((9, 10, 10), np.uint8), [0, 1, 2] * 3, mean=0.0, std=1.0)
    _, data = split_tasks(samples, samples, num_tasks=1, order=(2, 0))

    def stored(name):
        strategy = getattr(strategies, name)()
        with no_shape_checks():  # shapes alone are no arrays
            state = jax.eval_shape(lambda: strategy.init(problem, modules))
        return stored_bytes(strategy, modules, state, data)

    assert stored("none") == StoredBytes(0, 0, parameters)
    assert stored("joint") == StoredBytes(6 * 100, 0, parameters)
    assert stored("ewc") == stored("mas") == StoredBytes(0, 2 * parameters, parameters)
    assert stored("si").statistics == 3 * parameters
    assert stored("lwf").statistics == parameters
    assert stored("gem") == StoredBytes(2 * 20 * 100, 0, parameters)
    # A slot also holds a class and a priority.
    replay = StoredBytes(500 * 100, 500 * (4 + 4), parameters)
    assert stored("replay") == stored("agem") == replay
    assert stored("derpp") == replay._replace(statistics=replay.statistics + 500 * 6 * 4)
    assert replay.total == sum(replay)


@pytest.mark.parametrize("name", GENERAL)
def test_hooks_keep_the_shape_of_the_state(name):
    """A scan over tasks needs it."""
    problem = make_problem()
    modules = modules_of(problem)
    strategy = getattr(strategies, name)()
    assert isinstance(strategy, Strategy)

    def states():
        state, task = strategy.init(problem, modules), jnp.int32(1)
        return state, (
            strategy.before_task(problem, state, KEY, modules, task),
            strategy.after_step(problem, state, modules, modules, modules),
            strategy.after_task(problem, state, KEY, modules, task),
        )

    with no_shape_checks():
        state, after_hooks = jax.eval_shape(states)
    for changed in after_hooks:
        assert jax.tree.structure(changed) == jax.tree.structure(state)
        for old, new in zip(jax.tree.leaves(state), jax.tree.leaves(changed), strict=True):
            assert (old.shape, old.dtype) == (new.shape, new.dtype)


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (ewc, {"mode": "offline"}, "`mode` must be one of online, separate"),
        (ewc, {"strength": -1.0}, "`strength` must be a number at least 0"),
        (si, {"damping": 0.0}, "`damping` must be a number above 0"),
        (gem, {"patterns": 0}, "`patterns` must be at least 1"),
        (replay, {"slots": 0}, "`slots` must be at least 1"),
        (replay, {"weight": 0.0}, "`weight` must be a number above 0"),
        (lwf, {"temperature": 0.0}, "`temperature` must be a number above 0"),
        (mas, {"keep": 2.0}, "at most 1"),
    ],
)
def test_options_out_of_range(make, options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)
