"""Methods that overwrite nothing: class groups, class subspaces, readouts, usage gating."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from pattern_stream import KEY, LABELS, SAMPLES, SHAPE, run_all

from sffa_jax import Network, dense_layers, sffa
from sffa_jax.continual import features, runner, strategies
from sffa_jax.continual.class_groups import group_activities, grouped_model, normalize_images
from sffa_jax.continual.model import end_to_end, forward_only
from sffa_jax.continual.problem import Problem
from sffa_jax.continual.runner import ContinualConfig, TaskSchedule
from sffa_jax.continual.scenarios import Scenario, TaskData, make_task_stream
from sffa_jax.continual.strategies.class_subspaces import leading_axes
from sffa_jax.core import overlays, rules
from sffa_jax.core.goodness import energy, polar_ratio

KINDS = ("class", "domain", "task")


def test_a_class_of_few_or_blank_images_has_fewer_axes():
    few = np.random.default_rng(0).random((2, 8))
    images = np.concatenate([few, np.full((3, 8), 0.7)]).astype(np.float32)
    images = np.asarray(jax.jit(normalize_images)(images))
    moments = [images[:2].T @ images[:2], images[2:].T @ images[2:], np.zeros((8, 8), np.float32)]
    axes = np.asarray(jax.jit(leading_axes, static_argnums=2)(KEY, np.stack(moments), 5))
    lengths = np.sum(np.square(axes), axis=1)
    np.testing.assert_allclose(lengths, [[1, 1, 0, 0, 0], [1, 0, 0, 0, 0], [0] * 5], atol=1e-4)
    inside = np.sum(np.square(images @ axes[:2]), axis=-1)
    np.testing.assert_allclose(inside[0, :2], 8, rtol=1e-3)
    np.testing.assert_allclose(inside[1, 2:], 8, rtol=1e-3)


def model(hidden=(24, 12), logit=polar_ratio):
    return grouped_model(hidden, 6, logit, polar=logit is polar_ratio)


def groups(**options):
    return strategies.class_groups(shape=SHAPE, **options)


def subspaces(**options):
    return strategies.class_subspaces(logit=polar_ratio, axes=3, **options)


CLOSED_FORM = {
    "class_subspaces": subspaces,
    "slda": strategies.slda,
    "ncm": strategies.ncm,
    "qda": strategies.qda,
}
"""Methods that need no gradient."""


@cache
def closed_form(name, kind, *, online=False):
    """One pass in batches of ten: three batches are a task's thirty samples."""
    return run_all(kind, features.pixels(), CLOSED_FORM[name](online=online), steps=3)


@pytest.mark.parametrize(
    ("kind", "hidden", "options"),
    [
        ("class", (24, 12), {}),
        ("domain", (24,), {"slots": 12}),
        ("task", (24,), {"slots": 12}),
        # The same groups learn, of fewer or more samples.
        pytest.param("class", (24, 12), {"slots": 12}, marks=pytest.mark.slow),
        pytest.param("domain", (24, 12), {}, marks=pytest.mark.slow),
        pytest.param("task", (24, 12), {}, marks=pytest.mark.slow),
    ],
)
def test_groups_of_earlier_classes_are_never_touched_again(kind, hidden, options):
    """Bit for bit, although the optimizer has momentum."""
    states, accuracies = run_all(kind, model(hidden), groups(**options))
    start = states[0].modules
    for task in (1, 2):
        for before, after in zip(states[task - 1].modules, states[task].modules, strict=True):
            np.testing.assert_array_equal(before["w"][: 2 * task], after["w"][: 2 * task])
            current = slice(2 * task, 2 * task + 2)
            assert np.all(np.any(before["w"][current] != after["w"][current], axis=(1, 2)))
    for before, after in zip(start, states[1].modules, strict=True):
        np.testing.assert_array_equal(before["w"][4:], after["w"][4:])
    assert accuracies[-1, 0].mean() > 0.4


def test_a_group_sees_its_own_class_below_and_no_other():
    modules, _ = jax.jit(model().init)(KEY, np.zeros((1, 16), np.float32))
    x = SAMPLES.scaled(SAMPLES.images[:5])
    other = jax.tree.map(lambda w: np.r_[w[:1], np.asarray(w)[1:] + 1], modules)
    activities = jax.jit(lambda modules: list(group_activities(modules, x)))
    for before, after in zip(activities(modules), activities(other), strict=True):
        before, after = np.asarray(before), np.asarray(after)
        np.testing.assert_array_equal(before[0], after[0])
        assert not np.allclose(before[1], after[1])


@pytest.mark.parametrize("logit", [polar_ratio, energy])
def test_logits_are_the_goodness_of_each_group(logit):
    grouped = model(logit=logit)
    x = SAMPLES.scaled(SAMPLES.images[:5])

    @jax.jit
    def found():
        modules, overlay = grouped.init(KEY, x)
        fourth = jnp.full((5, 1), 4)
        return (
            modules,
            grouped.logits(modules, overlay, x, None),
            grouped.logits(modules, overlay, x, fourth),
            grouped.hidden(modules, overlay, x, fourth[:, 0]),
        )

    modules, logits, some, flat = found()
    assert logits.shape == (2, 5, 6)
    logits, x = np.asarray(logits), np.float64(x)
    seen = x - x.min(axis=-1, keepdims=True)
    seen /= np.sqrt((seen**2).mean(axis=-1, keepdims=True))
    h = seen @ np.float64(modules[0]["w"])[4]
    np.testing.assert_allclose(
        logits[0, :, 4], logit(jnp.asarray(h, jnp.float32)), rtol=1e-3, atol=1e-5
    )
    np.testing.assert_array_equal(some[..., 0], logits[..., 4])
    assert [layer.shape for layer in flat] == [(5, 24), (5, 12)]


def test_subspaces_are_the_leading_eigenvectors_of_each_class():
    states, accuracies = closed_form("class_subspaces", "class")
    x = np.float64(jax.jit(lambda: normalize_images(SAMPLES.scaled(SAMPLES.images)))())
    for c in range(6):
        own = x[c == LABELS]
        vectors = np.linalg.eigh(own.T @ own)[1][:, -3:]
        axes = np.float64(states[-1].strategy_state.axes[c])
        np.testing.assert_allclose(axes @ axes.T, vectors @ vectors.T, atol=2e-3)
        # Computed at the end of the class's task, and never changed.
        first = states[c // 2].strategy_state.axes[c]
        np.testing.assert_array_equal(first, states[-1].strategy_state.axes[c])
    assert accuracies[-1, 0].mean() > 0.95


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", CLOSED_FORM)
def test_closed_forms_classify_in_every_scenario(kind, name):
    _, accuracies = closed_form(name, kind)
    assert accuracies[-1, 0].mean() > 0.8


@pytest.mark.parametrize("name", CLOSED_FORM)
def test_one_online_pass_equals_a_pass_after_each_task(name):
    def end(online):
        (*_, last), accuracies = closed_form(name, "class", online=online)
        if name != "class_subspaces":
            return accuracies, jax.tree.leaves(last.strategy_state[0].solution)[0]
        axes = np.float64(last.strategy_state.axes)
        return accuracies, axes @ np.swapaxes(axes, 1, 2)

    for ours, expected in zip(end(online=True), end(online=False), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-3, atol=3e-3)


@pytest.mark.parametrize("name", CLOSED_FORM)
def test_online_no_task_is_looked_at(name):
    pixels = features.pixels()
    scenario = Scenario("class", 3, 2)
    stream = make_task_stream(LABELS, LABELS, range(6), scenario)
    problem = Problem(scenario, pixels, None, SAMPLES, stream)
    strategy = CLOSED_FORM[name](online=True)

    @jax.jit
    def after(task):
        modules, _ = pixels.init(KEY, SAMPLES.scaled(SAMPLES.images[:1]))
        batch = problem.batch(jnp.arange(10), jnp.int32(0))
        state = strategy.init(problem, modules)
        state = strategy.observe(problem, state, modules, batch.replace(task=task))
        return strategy.after_task(problem, state, jax.random.key(1), modules, task)

    chosen = after(jnp.int32(0)), after(jnp.int32(2))
    for first, other in zip(*map(jax.tree.leaves, chosen), strict=True):
        np.testing.assert_array_equal(first, other)


def sparse(labels=6, hidden=(24, 12)):
    code = overlays.appended_gaussian(size=8, value=5.0)
    layers = dense_layers(hidden, winners=2)
    rule = sffa(logit_scale=3.0, eps=0.1, loss="softmax")
    return forward_only(Network(layers, rule, code, labels))


@pytest.mark.parametrize("kind", KINDS)
def test_used_units_are_gated_and_free_ones_learn(kind):
    """With a steep strength a used unit is nearly frozen; an unused unit moves freely."""
    network = sparse(2 if kind == "domain" else 6, (24, 12) if kind == "class" else (24,))
    states, _ = run_all(kind, network, strategies.usage_gating(strength=200.0), evaluate=False)
    first, last = states[0], states[-1]
    usage = first.strategy_state.fractions
    for used, before, after in zip(usage, first.modules, last.modules, strict=True):
        moved = sum(
            np.abs(np.array(b - a)).max(axis=0)
            for b, a in zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True)
        )
        assert 0 < np.mean(used > 0) < 1
        np.testing.assert_array_less(moved[used > 0.5], 1e-6)
        assert moved[used == 0].max() > 1e-3
    for before, after in zip(usage, last.strategy_state.fractions, strict=True):
        assert np.all(after >= before)


def test_usage_by_hand():
    network = sparse()
    scenario = Scenario("class", 3, 2)
    stream = make_task_stream(LABELS, LABELS, range(6), scenario)
    modules, overlay = jax.jit(network.init)(KEY, SAMPLES.scaled(SAMPLES.images[:1]))
    problem = Problem(scenario, network, overlay, SAMPLES, stream)
    strategy = strategies.usage_gating(strength=2.0)

    @jax.jit
    def after_a_task():
        state = strategy.init(problem, modules)
        state = strategy.after_task(problem, state, jax.random.key(1), modules, jnp.int32(1))
        indices = problem.draw(jax.random.key(1), jnp.int32(1), 1000)
        batch = problem.batch(indices, jnp.int32(2))
        return state, network.hidden(modules, overlay, batch.x, batch.class_index), batch

    state, layers, batch = after_a_task()
    labels = np.asarray(batch.class_index)  # classes arrive in the order of their numbers
    for used, h in zip(state.fractions, layers, strict=True):
        active = np.array(h > 0)
        expected = np.maximum(active[labels == 2].mean(0), active[labels == 3].mean(0))
        np.testing.assert_allclose(used, expected, rtol=1e-5)
    ones = jax.tree.map(lambda leaf: np.ones(leaf.shape, leaf.dtype), modules)
    updates = jax.jit(partial(strategy.updates, problem))(state, ones, batch)
    for used, module in zip(state.fractions, updates, strict=True):
        for leaf in jax.tree.leaves(module):
            expected = np.broadcast_to((1 - np.asarray(used)) ** 2, leaf.shape)
            np.testing.assert_allclose(leaf, expected, rtol=1e-5)


def test_gating_needs_layers_that_learn_for_themselves():
    rule = "must have a module for each layer, got a network trained end to end"
    for units in (8, 12):  # 12 is a multiple of the 6 classes
        with pytest.raises(ValueError, match=rule):
            run_all("class", end_to_end(dense_layers((units,)), 6), strategies.usage_gating())
    heads = Network(dense_layers((12,)), rules.linear_head(), overlays.none(), 6)
    with pytest.raises(ValueError, match=r"last axis is a layer's 12 units, got axes of \[6, 12\]"):
        run_all("class", forward_only(heads), strategies.usage_gating())


def test_an_optimizer_can_be_reset_with_every_task():
    network, scenario = end_to_end(dense_layers((4,)), 6), Scenario("class", 3, 2)
    data = TaskData(make_task_stream(LABELS, LABELS, range(6), scenario), SAMPLES, SAMPLES)
    config = ContinualConfig(
        network, scenario, strategies.none(), optax.adam(1e-2), TaskSchedule(5, 10, 10)
    )
    start, train = (
        jax.jit(partial(stage, config)) for stage in (runner.start_run, runner.train_steps)
    )

    def count(reset):
        run, begin = start(KEY, data), config._replace(reset_optimizer=reset)
        for task in map(jnp.int32, range(3)):
            run = runner.start_task(begin, run, task, data)
            run, _ = train(run, task, np.arange(5), data)
        return run.train.opt_states[0][0].count

    assert count(reset=False) == 15
    assert count(reset=True) == 5


def test_units_that_cannot_be_shared_out_are_refused():
    with pytest.raises(ValueError, match=r"6 classes can share in two halves, got \(20,\)"):
        model(hidden=(20,))
    with pytest.raises(ValueError, match=r"Choose multiples of 6"):
        model(hidden=(20,), logit=energy)


def test_a_group_needs_something_to_be_told_from():
    with pytest.raises(ValueError, match="`negatives` must name at least one kind of negative"):
        groups(negatives=(), slots=12)
    with pytest.raises(ValueError, match="`negatives` must be one of hybrid, noise, other"):
        groups(negatives=("rotated",))


def test_an_empty_buffer_is_no_kind_of_negative():
    """In the first task, a group learns as it does without a buffer."""
    grouped = model(hidden=(24,))
    scenario = Scenario("class", 3, 2)
    stream = make_task_stream(LABELS, LABELS, range(6), scenario)
    problem = Problem(scenario, grouped, None, SAMPLES, stream)
    modules, _ = jax.jit(grouped.init)(KEY, SAMPLES.scaled(SAMPLES.images[:1]))
    batch = problem.batch(stream.train[0, :10], jnp.int32(0))

    def first_loss(strategy):
        state = strategy.init(problem, modules)
        return jax.jit(lambda: strategy.loss(problem, state, KEY, modules, batch)[0])()

    losses = [float(first_loss(groups(slots=slots))) for slots in (0, 12)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
