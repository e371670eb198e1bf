"""Units that belong to classes: nothing that comes later reaches them."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from sffa_jax.continual import features, runner
from sffa_jax.continual.owned import group_activities, owned_model, seen_by_groups
from sffa_jax.continual.runner import Course, Data, Plan
from sffa_jax.continual.scenarios import Scenario, make_stream
from sffa_jax.continual.strategies import WITHOUT_OVERWRITING
from sffa_jax.continual.strategies.owned import owned
from sffa_jax.continual.strategies.owned_gradient import owned_gradient
from sffa_jax.continual.strategies.slda import slda
from sffa_jax.goodness import energy, polar_ratio
from sffa_jax.train import make_samples

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


def learnt(kind, model, make_strategy, **options):
    """A run's states after each task, and its accuracies."""
    scenario = Scenario(kind, 3, 2)
    course = Course(model, scenario, make_strategy, optax.adam(1e-2), Plan(20, 10, 10), **options)
    data = Data(make_stream(LABELS, LABELS, range(6), scenario), SAMPLES, SAMPLES)
    run, states, accuracies = runner.begin(course, jax.random.key(0), data), [], []
    steps = jax.jit(lambda run, now: runner.train_steps(course, run, now, jnp.arange(20), data))
    for now in map(jnp.int32, range(3)):
        run = runner.open_task(course, run, now, data)
        run, losses = steps(run, now)
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
@pytest.mark.parametrize("options", [{}, {"slots": 12, "calibration": "standardised"}])
def test_groups_of_earlier_classes_are_never_touched_again(kind, options):
    """Bit for bit, though the optimiser has momentum; and so what they answer."""
    states, accuracies = learnt(kind, model(), lambda problem: gradient(problem, **options))
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
    states, accuracies = learnt("class", features.pixels(), axes)
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
    _, accuracies = learnt(kind, features.pixels(), lambda problem: make(problem, **own))
    assert accuracies[-1, 0].mean() > 0.8


def test_features_learn_in_the_first_task_alone():
    made, feature_loss = features.maps(SHAPE, 16, kernel=3, stride=1, grid=2)
    states, _ = learnt("class", made, lambda problem: slda(problem, feature_loss=feature_loss))
    first, *later = [state.modules[0]["w"] for state in states]
    start, _ = made.init(jax.random.split(jax.random.key(0))[0], jnp.zeros((1, 16)))
    assert not np.allclose(first, start[0]["w"])
    for after in later:
        np.testing.assert_array_equal(first, after)


def test_an_optimiser_can_begin_anew_with_every_task():
    kept, fresh = (
        learnt("class", model(), gradient, fresh_optimiser=anew)[0][-1] for anew in (False, True)
    )
    assert kept.opt_states[0][0].count == 60
    assert fresh.opt_states[0][0].count == 20


def test_units_that_cannot_be_shared_out_are_refused():
    with pytest.raises(ValueError, match=r"6 classes can share in two halves, got \(20,\)"):
        model(hidden=(20,))
    with pytest.raises(ValueError, match=r"Choose multiples of 6"):
        model(hidden=(20,), goodness=energy)


def test_a_group_needs_something_to_be_told_from():
    with pytest.raises(ValueError, match="`negatives` must name what a class is told from"):
        learnt("class", model(), lambda problem: gradient(problem, negatives=()))
    with pytest.raises(ValueError, match="`negatives` must be one of hybrid, noise, other"):
        learnt("class", model(), lambda problem: gradient(problem, negatives=("rotated",)))
