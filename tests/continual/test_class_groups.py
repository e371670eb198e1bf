"""Units that belong to classes: nothing that comes later reaches them."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from sffa_jax import Network, dense_layers, sffa
from sffa_jax.continual import features, runner
from sffa_jax.continual.class_groups import group_activities, owned_model, seen_by_groups
from sffa_jax.continual.model import end_to_end, forward_only
from sffa_jax.continual.runner import Course, Data, Plan
from sffa_jax.continual.scenarios import Scenario, make_stream
from sffa_jax.continual.strategies import STRATEGIES, WITHOUT_OVERWRITING
from sffa_jax.continual.strategies.class_groups_gradient import owned_gradient
from sffa_jax.continual.strategies.class_subspaces import owned
from sffa_jax.continual.strategies.slda import slda
from sffa_jax.continual.strategies.usage_gating import protect
from sffa_jax.continual.strategy import Problem
from sffa_jax.core import overlays
from sffa_jax.core.goodness import energy, polar_ratio
from sffa_jax.training.samples import make_samples

SHAPE = (4, 4)
KINDS = ("class", "domain", "task")
LABELS = np.arange(90, dtype=np.int32) % 6
PATTERNS = np.random.default_rng(0).integers(0, 200, (6, *SHAPE))
IMAGES = (PATTERNS[LABELS] + np.random.default_rng(1).integers(0, 56, (90, *SHAPE))).astype(
    np.uint8
)
SAMPLES = make_samples(IMAGES, LABELS, num_classes=6, mean=0.4, std=0.25)


def model(hidden=(24, 12), goodness=polar_ratio):
    return owned_model(hidden, 6, goodness, polar=goodness is polar_ratio)


def learned(kind, model, make_strategy, steps=20, **options):
    """A run's states after each task, and its accuracies."""
    scenario, plan = Scenario(kind, 3, 2), Plan(steps, 10, 10)
    course = Course(model, scenario, make_strategy, optax.adam(1e-2), plan, **options)
    data = Data(make_stream(LABELS, LABELS, range(6), scenario), SAMPLES, SAMPLES)
    run, states, accuracies = runner.begin(course, jax.random.key(0), data), [], []
    train = jax.jit(lambda run, now: runner.train_steps(course, run, now, jnp.arange(steps), data))
    for now in map(jnp.int32, range(3)):
        run = runner.open_task(course, run, now, data)
        run, losses = train(run, now)
        run = runner.close_task(course, run, now, data)
        assert jnp.all(jnp.isfinite(losses))
        states.append(run.train)
        accuracies.append(runner.evaluate_run(course, run, now, data))
    return states, np.stack(accuracies)


def gradient(problem, **options):
    return owned_gradient(problem, shape=SHAPE, **options)


def axes(problem):
    return owned(problem, goodness=polar_ratio, units=3)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("options", [{}, {"slots": 12, "calibration": "standardized"}])
def test_groups_of_earlier_classes_are_never_touched_again(kind, options):
    """Bit for bit, though the optimizer has momentum; and so what they answer."""
    states, accuracies = learned(kind, model(), lambda problem: gradient(problem, **options))
    start = states[0].modules
    for task in (1, 2):
        for before, after in zip(states[task - 1].modules, states[task].modules, strict=True):
            np.testing.assert_array_equal(before["w"][: 2 * task], after["w"][: 2 * task])
            now = slice(2 * task, 2 * task + 2)
            assert jnp.all(jnp.any(before["w"][now] != after["w"][now], axis=(1, 2)))
    for before, after in zip(start, states[1].modules, strict=True):
        np.testing.assert_array_equal(before["w"][4:], after["w"][4:])
    assert accuracies[-1, 0].mean() > 0.4


def test_a_group_sees_its_own_class_below_and_no_other():
    modules, _ = model().init(jax.random.key(0), jnp.zeros((1, 16)))
    x = SAMPLES.scaled(SAMPLES.images[:5])
    other = jax.tree.map(lambda w: w.at[1:].add(1.0), modules)
    for before, after in zip(group_activities(modules, x), group_activities(other, x), strict=True):
        np.testing.assert_array_equal(before[0], after[0])
        assert not np.allclose(before[1], after[1])


@pytest.mark.parametrize("goodness", [polar_ratio, energy])
def test_outputs_are_the_goodness_of_each_group(goodness):
    made = model(goodness=goodness)
    modules, overlay = made.init(jax.random.key(0), jnp.zeros((1, 16)))
    x = SAMPLES.scaled(SAMPLES.images[:5])
    found = made.outputs(modules, overlay, x, None)
    assert found.shape == (2, 5, 6)
    seen = np.float64(x - x.min(axis=-1, keepdims=True))
    seen /= np.sqrt((seen**2).mean(axis=-1, keepdims=True))
    h = seen @ np.float64(modules[0]["w"][4])
    np.testing.assert_allclose(
        found[0, :, 4], goodness(jnp.asarray(h, jnp.float32)), rtol=1e-3, atol=1e-5
    )
    some = made.outputs(modules, overlay, x, jnp.full((5, 1), 4))
    np.testing.assert_array_equal(some[..., 0], found[..., 4])
    flat = made.hidden(modules, overlay, x, jnp.zeros(5, jnp.int32))
    assert [layer.shape for layer in flat] == [(5, 24), (5, 12)]


def test_axes_are_the_leading_eigenvectors_of_each_class():
    states, accuracies = learned("class", features.pixels(), axes)
    x = np.float64(seen_by_groups(SAMPLES.scaled(SAMPLES.images)))
    for c in range(6):
        own = x[c == LABELS]
        vectors = np.linalg.eigh(own.T @ own)[1][:, -3:]
        found = np.float64(states[-1].memory.axes[c])
        np.testing.assert_allclose(found @ found.T, vectors @ vectors.T, atol=2e-3)
        # Found at the end of the class's task, and the same ever after.
        first = states[c // 2].memory.axes[c]
        np.testing.assert_array_equal(first, states[-1].memory.axes[c])
    assert accuracies[-1, 0].mean() > 0.95


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["owned", "slda", "ncm"])
def test_what_needs_no_gradient_answers_in_every_scenario(kind, name):
    own = {"goodness": polar_ratio, "units": 3} if name == "owned" else {}
    make = WITHOUT_OVERWRITING[name]
    _, accuracies = learned(kind, features.pixels(), lambda problem: make(problem, **own))
    assert accuracies[-1, 0].mean() > 0.8


@pytest.mark.parametrize("name", ["owned", "slda", "ncm"])
def test_online_one_pass_says_what_a_look_after_each_task_does(name):
    """Three batches of ten are a task's thirty samples, once each."""
    own = {"goodness": polar_ratio, "units": 3} if name == "owned" else {}
    make = WITHOUT_OVERWRITING[name]

    def end(online):
        (*_, state), accuracies = learned(
            "class", features.pixels(), lambda p: make(p, **own, online=online), steps=3
        )
        if name != "owned":
            return accuracies, state.memory[0].weights
        axes = np.float64(state.memory.axes)
        return accuracies, axes @ np.swapaxes(axes, 1, 2)

    for found, expected in zip(end(True), end(False), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=3e-3)


@pytest.mark.parametrize("name", ["owned", "slda", "ncm"])
def test_online_no_task_is_looked_at(name):
    own = {"goodness": polar_ratio, "units": 3} if name == "owned" else {}
    made = features.pixels()
    scenario = Scenario("class", 3, 2)
    stream = make_stream(LABELS, LABELS, range(6), scenario)
    problem = Problem(scenario, made, None, SAMPLES, stream)
    strategy = WITHOUT_OVERWRITING[name](problem, **own, online=True)
    modules, _ = made.init(jax.random.key(0), SAMPLES.scaled(SAMPLES.images[:1]))
    batch = problem.batch(jnp.arange(10), jnp.int32(0))
    after = [
        strategy.after_task(
            strategy.observe(strategy.init(modules), modules, batch.replace(now=jnp.int32(now))),
            jax.random.key(1),
            modules,
            jnp.int32(now),
        )
        for now in (0, 2)
    ]
    for one, other in zip(*map(jax.tree.leaves, after), strict=True):
        np.testing.assert_array_equal(one, other)


def test_features_that_learn_by_tasks_are_refused_online():
    made, feature_loss = features.maps(SHAPE, 16, kernel=3, stride=1, grid=2)
    with pytest.raises(ValueError, match="`feature_loss` must be None online"):
        learned("class", made, lambda p: slda(p, feature_loss=feature_loss, online=True))


def sparse(labels=6):
    code = overlays.appended_gaussian(size=8, value=5.0)
    layers = dense_layers((24, 12), winners=2)
    return forward_only(Network(layers, sffa(logit_scale=3.0, eps=0.1), code, labels))


@pytest.mark.parametrize("kind", KINDS)
def test_used_units_are_protected_and_free_ones_learn(kind):
    """With a steep strength a used unit is as good as frozen; what no class used moves freely."""
    made = sparse(2 if kind == "domain" else 6)
    states, _ = learned(kind, made, lambda problem: protect(problem, strength=200.0))
    first, last = states[0], states[-1]
    for share, before, after in zip(first.memory.shares, first.modules, last.modules, strict=True):
        moved = sum(
            np.abs(np.array(b - a)).max(axis=0)
            for b, a in zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True)
        )
        assert 0 < np.mean(share > 0) < 1
        np.testing.assert_array_less(moved[share > 0.5], 1e-6)
        assert moved[share == 0].max() > 1e-3
    for before, after in zip(first.memory.shares, last.memory.shares, strict=True):
        assert jnp.all(after >= before)


def test_use_by_hand():
    made = sparse()
    scenario = Scenario("class", 3, 2)
    stream = make_stream(LABELS, LABELS, range(6), scenario)
    modules, overlay = made.init(jax.random.key(0), SAMPLES.scaled(SAMPLES.images[:1]))
    problem = Problem(scenario, made, overlay, SAMPLES, stream)
    strategy = protect(problem, strength=2.0)
    memory = strategy.after_task(strategy.init(modules), jax.random.key(1), modules, jnp.int32(1))
    indices = problem.draw(jax.random.key(1), jnp.int32(1), 1000)
    x, labels = SAMPLES.scaled(SAMPLES.images[indices]), LABELS[indices]
    layers = made.hidden(modules, overlay, x, jnp.asarray(labels))
    for share, h in zip(memory.shares, layers, strict=True):
        active = np.array(h > 0)
        expected = np.maximum(active[labels == 2].mean(0), active[labels == 3].mean(0))
        np.testing.assert_allclose(share, expected, rtol=1e-5)
    ones = jax.tree.map(jnp.ones_like, modules)
    batch = problem.batch(indices[:5], jnp.int32(2))
    for share, module in zip(memory.shares, strategy.updates(memory, ones, batch), strict=True):
        for leaf in jax.tree.leaves(module):
            expected = np.broadcast_to((1 - share) ** 2, leaf.shape)
            np.testing.assert_allclose(leaf, expected, rtol=1e-5)


def test_protection_needs_layers_that_learn_for_themselves():
    made = end_to_end(dense_layers((8,)), 6)
    with pytest.raises(ValueError, match="must have a module for each layer, got 1 layers in"):
        learned("class", made, protect)


def test_features_learn_in_the_first_task_alone():
    made, feature_loss = features.maps(SHAPE, 16, kernel=3, stride=1, grid=2)
    states, _ = learned("class", made, lambda problem: slda(problem, feature_loss=feature_loss))
    first, *later = [state.modules[0]["w"] for state in states]
    start, _ = made.init(jax.random.split(jax.random.key(0))[0], jnp.zeros((1, 16)))
    assert not np.allclose(first, start[0]["w"])
    for after in later:
        np.testing.assert_array_equal(first, after)


def test_an_optimizer_can_begin_anew_with_every_task():
    kept, fresh = (
        learned("class", sparse(), STRATEGIES["none"], steps=5, fresh_optimizer=anew)[0][-1]
        for anew in (False, True)
    )
    assert kept.opt_states[0][0].count == 15
    assert fresh.opt_states[0][0].count == 5


def test_units_that_cannot_be_shared_out_are_refused():
    with pytest.raises(ValueError, match=r"6 classes can share in two halves, got \(20,\)"):
        model(hidden=(20,))
    with pytest.raises(ValueError, match=r"Choose multiples of 6"):
        model(hidden=(20,), goodness=energy)


def test_a_group_needs_something_to_be_told_from():
    with pytest.raises(ValueError, match="`negatives` must name what a class is told from"):
        learned("class", model(), lambda problem: gradient(problem, negatives=()))
    with pytest.raises(ValueError, match="`negatives` must be one of hybrid, noise, other"):
        learned("class", model(), lambda problem: gradient(problem, negatives=("rotated",)))
