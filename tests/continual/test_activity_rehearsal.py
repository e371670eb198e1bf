"""Activity rehearsal: its statistics, its draws, its locality, and a run on small images."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pattern_stream import KEY, LABELS, SAMPLES, run_all

from sffa_jax import Network, dense_layers, ffa, sffa
from sffa_jax.continual import features, strategies
from sffa_jax.continual.model import end_to_end, forward_only
from sffa_jax.continual.problem import Problem
from sffa_jax.continual.scenarios import Scenario, TaskData, make_task_stream
from sffa_jax.core import class_units, overlays
from sffa_jax.core.rules import with_class_units


def network(rule=None, hidden=(24, 12)):
    rule = rule or sffa(logit_scale=12.0, eps=1e-3, loss="softmax", measure="mean_square")
    rule = with_class_units(rule, class_units.learned())
    return forward_only(Network(dense_layers(hidden), rule, overlays.none(), 6))


def make_problem(model):
    scenario = Scenario("class", 3, 2)
    stream = make_task_stream(LABELS, LABELS, range(6), scenario)
    return Problem(scenario, model, None, SAMPLES, stream)


def start(model):
    modules, _ = jax.jit(model.init)(KEY, SAMPLES.scaled(SAMPLES.images[:1]))
    return modules


@pytest.mark.parametrize(("online", "relabel"), [(False, True), (True, False)])
def test_no_gradient_crosses_a_layer_and_draws_count(online, relabel):
    """Layer k's loss changes with layer k's weights only, also through rehearsed activity."""
    model = network()
    problem, modules = make_problem(model), start(model)
    components = 1 if online else 2
    strategy = strategies.activity_rehearsal(
        components=components, draws=24, relabel=relabel, online=online
    )

    @jax.jit
    def gradients(modules):
        state = strategy.init(problem, modules)
        first, later = (problem.batch(problem.stream.train[t, :10], jnp.int32(t)) for t in (0, 1))
        state = strategy.observe(problem, state, modules, first)
        if not online:
            state = strategy.after_task(problem, state, KEY, modules, jnp.int32(0))

        def losses(modules):
            return jnp.stack(list(strategy.loss(problem, state, KEY, modules, later)[1]))

        known = jnp.sum(state.gaussians[0].counts, axis=-1)
        return jax.jacrev(losses)(modules), known

    by_module, known = gradients(modules)
    for number, module in enumerate(by_module):
        for k in (0, 1):
            size = sum(np.abs(np.asarray(leaf)[k]).sum() for leaf in jax.tree.leaves(module))
            assert (size > 0) == (number == k)
    assert known.tolist() == ([5, 5] if online else [15, 15]) + [0] * 4


@pytest.mark.parametrize(
    ("rule", "online"),
    [
        (None, False),
        pytest.param(None, True, marks=pytest.mark.slow),
        pytest.param(ffa(loss="softmax"), False, marks=pytest.mark.slow),
    ],
)
def test_earlier_classes_are_remembered_without_images(rule, online):
    model = network(rule, (48,))
    strategy = strategies.activity_rehearsal(components=1, draws=48, shared=0.3, online=online)
    states, accuracies = run_all("class", model, strategy, steps=40)
    assert accuracies[-1, 0].mean() > 0.9
    if not online:
        old, new = (state.strategy_state.gaussians[0] for state in states[:2])
        np.testing.assert_array_equal(old.factor[:2], new.factor[:2])
        assert not any(leaf.shape[-1:] == (90,) for leaf in jax.tree.leaves(states[-1]))


def test_the_network_before_the_task_labels_the_draws():
    """Unit c is class c's; an old network with two classes exchanged exchanges their labels."""
    model = network(hidden=(6,))
    problem = make_problem(model)
    positive = 20 * jnp.eye(6) - 10
    polarities = jnp.stack([positive, -positive])
    modules = ({"class_units": polarities, "kernels": {"input": jnp.eye(16, 6)}},)
    exchanged = jax.tree.map(lambda leaf: leaf, modules)
    exchanged[0]["class_units"] = polarities[:, jnp.array([1, 0, 2, 3, 4, 5])]
    plain, relabel = (
        strategies.activity_rehearsal(components=1, draws=24, relabel=each)
        for each in (False, True)
    )

    @jax.jit
    def losses():
        # Only draws of the first task's classes count; they are their class's axis.
        batch = problem.batch(problem.stream.train[1, :10], jnp.int32(1))
        state = plain.init(problem, modules)
        known = jnp.arange(6)[:, None] < 2
        gaussians = state.gaussians[0]._replace(
            counts=known * 1.0, mean=3.0 * jnp.eye(6, 16)[:, None]
        )
        state = state.replace(gaussians=[gaussians])
        return [
            strategy.loss(problem, state.replace(old=old), KEY, modules, batch)[0]
            for strategy, old in ((plain, None), (relabel, modules), (relabel, exchanged))
        ]

    without, same, other = map(float, losses())
    assert same == pytest.approx(without, rel=1e-6)
    assert other > without + 1


def test_layers_and_view_agree():
    """The inputs of each layer give the logits of the whole network."""
    model = network()
    modules, x = start(model), SAMPLES.scaled(SAMPLES.images[:5])

    @jax.jit
    def both(modules):
        inputs = model.layers.inputs(modules, x)
        return model.layers.logits(modules, inputs), model.logits(
            modules, overlays.Overlay(), x, None
        )

    np.testing.assert_allclose(*both(modules), rtol=1e-4, atol=1e-4)


def test_other_networks_are_rejected():
    backprop = end_to_end(dense_layers((8,)), 6)
    with pytest.raises(ValueError, match="`model` must be forward-only with class units"):
        strategies.activity_rehearsal().init(make_problem(backprop), start(backprop))
    with pytest.raises(ValueError, match="`components` must be 1 online, got 3"):
        strategies.activity_rehearsal(components=3, online=True)
    with pytest.raises(ValueError, match="`relabel` must be False online, got True"):
        strategies.activity_rehearsal(components=1, relabel=True, online=True)


def test_components_are_whitened_and_keep_variance():
    model = features.principal_components(features.pixels(), 3)
    modules = start(model)
    learned = jax.jit(model.fit)(KEY, modules, SAMPLES.scaled(SAMPLES.images))
    (z,) = model.hidden(learned, None, SAMPLES.scaled(SAMPLES.images), jnp.zeros(90, jnp.int32))
    covariance = np.cov(np.asarray(z).T, bias=True)
    np.testing.assert_allclose(covariance, np.eye(3), atol=0.03)
    with pytest.raises(ValueError, match="`number` must be at most 16, got 17"):
        start(features.principal_components(features.pixels(), 17))


def test_features_are_extracted_once_from_the_first_task():
    """Later tasks have no effect on the features, and the images are replaced by them."""
    model = features.principal_components(features.pixels(), 3)
    data = TaskData(make_problem(model).stream, SAMPLES, SAMPLES)
    later = SAMPLES.images.at[np.asarray(data.stream.train[1:]).reshape(-1)].set(0)
    changed = data._replace(train=SAMPLES.replace(images=later))
    extract = jax.jit(partial(features.extract, model, KEY))
    (found, params), (_, same) = extract(data), extract(changed)
    jax.tree.map(np.testing.assert_array_equal, params, same)
    (expected,) = model.hidden(
        (params,), None, SAMPLES.scaled(SAMPLES.images), jnp.zeros(90, jnp.int32)
    )
    np.testing.assert_allclose(found.test.images, expected, rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(found.test.scaled(found.test.images), found.test.images)


def test_features_of_a_small_task_are_learned_from_all_its_images():
    given = []

    def fit(key, params, x):
        given.append(x)
        return params

    model = features.feature_model(lambda key, x: {}, lambda params, x: x, fit)
    data = TaskData(make_problem(model).stream, SAMPLES, SAMPLES)
    features.extract(model, KEY, data)
    expected = SAMPLES.scaled(SAMPLES.images[data.stream.train[0, :30]])
    assert sorted(np.asarray(given[0]).tolist()) == sorted(np.asarray(expected).tolist())


@pytest.mark.parametrize(("activation", "signed"), [("relu", False), ("tanh", True)])
def test_draws_of_an_activity_have_its_signs(activation, signed):
    seen = []
    rule = with_class_units(sffa(loss="softmax"), class_units.learned())
    layers = dense_layers((24, 12), activation=activation)
    model = forward_only(Network(layers, rule, overlays.none(), 6))
    problem, modules = make_problem(model), start(model)

    def logits(modules, inputs):
        seen.append(inputs[1])
        return model.layers.logits(modules, inputs)

    watched = model._replace(layers=model.layers._replace(logits=logits))
    strategy = strategies.activity_rehearsal(components=1, draws=24)
    batch = problem.batch(problem.stream.train[0, :10], jnp.int32(0))
    state = strategy.after_task(
        problem, strategy.init(problem, modules), KEY, modules, jnp.int32(0)
    )
    strategy.loss(problem._replace(model=watched), state, KEY, modules, batch)
    drawn = np.asarray(seen[0][10:])
    assert (drawn < 0).any() == signed
    assert (drawn > 0).any()
