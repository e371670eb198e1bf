"""Locality, and one update against NumPy."""

import dataclasses
from functools import cache, partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import oracles
import pytest
from linen_bodies import Normalized
from networks_with_heads import with_heads
from unchecked import no_shape_checks

from sffa_jax import ffa, sffa
from sffa_jax.core import class_units, network, overlays
from sffa_jax.core.architectures import conv_layers, dense_layers
from sffa_jax.core.layer import Layer
from sffa_jax.core.negatives import NEGATIVES
from sffa_jax.core.network import hidden_activities, next_input, predict_labels
from sffa_jax.core.overlays import parts
from sffa_jax.core.rules import with_class_units
from sffa_jax.training import local
from sffa_jax.training.update_order import greedy

NUM_CLASSES = 3
X_NUMPY = np.random.default_rng(0).normal(size=(4, 12)).astype(np.float32)
LABELS_NUMPY = np.array([0, 1, 2, 1], np.int32)
CANDIDATES_NUMPY = np.array([[0, 1], [1, 2], [2, 0], [1, 0]], np.int32)
X, LABELS, CANDIDATES, IS_TARGET = map(
    jnp.asarray,
    (X_NUMPY, LABELS_NUMPY, CANDIDATES_NUMPY, LABELS_NUMPY[:, None] == CANDIDATES_NUMPY),
)
RULES = {"ffa": ffa(threshold=0.5, logit_scale=1.0), "sffa": sffa(logit_scale=3.0, eps=1e-3)}


def build(rule, hidden=(8, 6, 4)):
    return network.Network(dense_layers(hidden), rule, overlays.corner_one_hot(), NUM_CLASSES)


def stateful():
    """Layers whose bodies have running statistics and drop units."""
    return network.Network(
        (
            *dense_layers([8], normalization="batch", dropout=0.25),
            Layer(Normalized(6)),
            *dense_layers([4], normalization="batch"),
        ),
        RULES["sffa"],
        overlays.corner_one_hot(),
        NUM_CLASSES,
    )


def losses_of_layers(net, params):
    """Each layer's loss in training as a function of *all* parameters of the network."""

    def losses(layers):
        overlaid = inputs = parts(params.overlay, X)
        means = []
        for i, of_layer in enumerate(layers):
            batch = inputs, CANDIDATES, IS_TARGET, params.states[i]
            key = net.layers[i].key(jax.random.key(2), i)
            info = local.layer_loss(net, i, of_layer, *batch, train=True, key=key)
            means.append(info.mean_loss)
            inputs = next_input(net, info.activity, overlaid)
        return jnp.stack(means)

    return losses


NETWORKS = {
    **{name: partial(build, rule) for name, rule in RULES.items()},
    **{"stateful": stateful, "with_heads": with_heads},
}


@pytest.mark.parametrize("name", NETWORKS)
def test_no_gradient_crosses_a_layer(name):
    net = NETWORKS[name]()

    @jax.jit
    def sizes_of_gradients(key):
        params = network.init_network(net, key, X)
        by_layer = jax.jacrev(losses_of_layers(net, params))(params.layers)
        return [
            sum(jnp.abs(leaf.reshape(3, -1)).sum(axis=1) for leaf in jax.tree.leaves(gradients))
            for gradients in by_layer
        ]

    sizes = np.stack(sizes_of_gradients(jax.random.key(1)))
    np.testing.assert_array_equal(sizes > 0, np.eye(3, dtype=bool))
    np.testing.assert_array_equal(sizes[~np.eye(3, dtype=bool)], 0)


def products(jaxpr):
    """All matrix products in a jaxpr, with those inside calls and loops."""
    for eqn in jaxpr.eqns:
        if eqn.primitive.name == "dot_general":
            yield eqn
        for value in eqn.params.values():
            for inner in value if isinstance(value, tuple) else (value,):
                if hasattr(inner, "jaxpr"):
                    yield from products(inner.jaxpr)
                elif hasattr(inner, "eqns"):
                    yield from products(inner)


@pytest.mark.parametrize("order", ["simultaneous", "sequential", greedy(2)])
def test_no_product_with_a_transposed_kernel(order):
    """Backprop multiplies by each upper kernel's transpose; a local step never does."""
    net = build(RULES["sffa"])
    learner = local.local_learner(net, optax.sgd(0.1), update_order=order)
    with no_shape_checks():  # shapes alone are no arrays
        state = jax.eval_shape(learner.init, jax.random.key(0), X)
        jaxpr = jax.make_jaxpr(learner.step)(state, jax.random.key(1), X, LABELS).jaxpr
    kernels = {(12, 8), (8, 6), (6, 4)}
    found = list(products(jaxpr))
    assert len(found) >= 6  # a forward and a weight product per layer
    for eqn in found:
        (left, right), _ = eqn.params["dimension_numbers"]
        for variable, axes in zip(eqn.invars, (left, right), strict=True):
            if tuple(variable.aval.shape) in kernels:
                assert axes == (0,), "a kernel is contracted over its outputs"


@pytest.mark.parametrize("name", RULES)
def test_the_layers_above_leave_a_layers_path_bit_identical(name):
    networks = [build(RULES[name], hidden) for hidden in ((8, 6, 4), (8,), (8, 2))]
    assert networks[0].layers[0] == networks[1].layers[0]

    def path(net):
        learner = local.local_learner(net, optax.adam(1e-2))

        @jax.jit
        def train(keys):
            def step(state, key):
                return learner.step(state, key, X, LABELS)[0], None

            return jax.lax.scan(step, learner.init(jax.random.key(0), X), keys)[0].layers[0]

        return train(jax.random.split(jax.random.key(1), 5))

    first, *others = map(path, networks)
    for other in others:
        chex.assert_trees_all_equal(first, other)


def test_the_upper_layers_loss_leaves_the_lower_layers_path_bit_identical():
    net = build(RULES["sffa"], hidden=(8, 6))
    optimizer = optax.adam(1e-2)
    other_rule = sffa(logit_scale=9.0, eps=0.5, loss="softmax")
    start = jax.jit(local.local_learner(net, optimizer).init)(jax.random.key(0), X)

    def train(upper_rule):
        @jax.jit
        def step(states):
            states = list(states)
            overlaid = inputs = parts(start.overlay, X)
            for i, rule in enumerate((net.rule, upper_rule)):
                of_rule = dataclasses.replace(net, rule=rule)
                states[i], info = local.layer_step(
                    of_rule, i, optimizer, states[i], inputs, CANDIDATES, IS_TARGET
                )
                inputs = next_input(net, info.activity, overlaid)
            return tuple(states)

        states = start.layers
        for _ in range(5):
            states = step(states)
        return [state.params["kernels"] for state in states]

    same, other = train(net.rule), train(other_rule)
    np.testing.assert_array_equal(same[0]["input"], other[0]["input"])
    assert not np.array_equal(same[1]["activity"], other[1]["activity"])


@pytest.mark.parametrize("name", RULES)
def test_one_adam_update_matches_numpy(name):
    """Gradient of the two-pass loss by central differences of the NumPy oracle, then Adam."""
    net = build(RULES[name], hidden=(4,))
    learner = local.local_learner(net, optax.adam(1e-2), negatives="uniform")

    @jax.jit
    def first_step(key):
        state = learner.init(jax.random.key(1), X)
        wrong = NEGATIVES["uniform"](key, LABELS, NUM_CLASSES, lambda: None)[:, 1]
        return state, wrong, *learner.step(state, key, X, LABELS)

    state, wrong, new, loss = first_step(jax.random.key(7))
    wrong = np.asarray(wrong)
    kernel = np.float64(state.layers[0].params["kernels"]["input"])

    def probability(h):
        if name == "ffa":
            return oracles.ffa_probability(h, 0.5)
        p = oracles.sffa_probability(h, 1e-3)
        return oracles.sigmoid(3.0 * np.log(p / (1 - p)))

    def mean_loss(kernel):
        total = 0.0
        for i in range(4):
            ps = []
            for label in (LABELS_NUMPY[i], wrong[i]):
                x = np.float64(X_NUMPY[i])
                x[:NUM_CLASSES] = np.eye(NUM_CLASSES)[label]
                ps.append(probability(np.maximum(x @ kernel, 0)))
            total += oracles.two_pass_loss(*ps)
        return total / 4

    np.testing.assert_allclose(loss[0], mean_loss(kernel), rtol=1e-4)
    gradient = np.zeros_like(kernel)
    for index in np.ndindex(*kernel.shape):
        step = np.zeros_like(kernel)
        step[index] = 1e-5
        gradient[index] = (mean_loss(kernel + step) - mean_loss(kernel - step)) / 2e-5
    moved = np.float64(new.layers[0].params["kernels"]["input"]) - kernel
    expected = oracles.adam_first_step(gradient, 1e-2)
    clear = np.abs(gradient) > 1e-4
    assert clear.sum() > 20
    np.testing.assert_allclose(moved[clear], expected[clear], rtol=1e-2, atol=1e-5)


def check_losses_fall(learner, state, x):
    """60 steps on one batch lower every layer's loss."""
    step = jax.jit(learner.step)
    losses = []
    for i in range(60):
        state, loss = step(state, jax.random.key(i), x, LABELS)
        losses.append(loss)
    assert np.all(np.mean(losses[-10:], axis=0) < np.mean(losses[:10], axis=0))


@cache
def started(net, optimizer):
    """The state before the first step, which does not depend on the negatives."""
    return jax.jit(local.local_learner(net, optimizer).init)(jax.random.key(2), X)


ADAM = optax.adam(3e-2)
TWO_LAYERS = {name: build(rule, hidden=(8, 6)) for name, rule in RULES.items()}


@pytest.mark.parametrize("negatives", ["uniform", "hard", "all"])
@pytest.mark.parametrize("name", RULES)
def test_steps_lower_every_layers_loss(name, negatives):
    net = TWO_LAYERS[name]
    learner = local.local_learner(net, ADAM, negatives=negatives)
    check_losses_fall(learner, started(net, ADAM), X)


def test_the_activity_factor_scales_the_loss_and_carries_gradient():
    net = build(sffa(activity_rate=10.0), hidden=(8,))

    @jax.jit
    def compared():
        params = network.init_network(net, jax.random.key(1), X)

        def losses_of(rule, layer_params):
            inputs, of_rule = parts(params.overlay, X), dataclasses.replace(net, rule=rule)
            return local.layer_loss(of_rule, 0, layer_params, inputs, CANDIDATES, IS_TARGET)

        def loss_and_info(rule, layer_params):
            info = losses_of(rule, layer_params)
            return info.loss.mean(), info

        return [
            jax.value_and_grad(partial(loss_and_info, rule), has_aux=True)(params.layers[0])
            for rule in (net.rule, sffa())
        ]

    ((_, with_factor), pull), ((_, without), plain) = compared()
    h = np.float64(without.activity)
    factor = 1 + np.exp(-10 * (h[:, 0].mean() + h[:, 1].mean()))
    np.testing.assert_allclose(with_factor.loss, factor * without.loss, rtol=1e-5)
    pull, plain = (np.asarray(gradient["kernels"]["input"]) for gradient in (pull, plain))
    assert not np.allclose(pull, plain * factor, rtol=1e-3)


def test_sequential_updates_show_the_updated_layers_activity():
    """The second layer's loss is that of the first layer after its update, and not before."""
    net = TWO_LAYERS["sffa"]
    optimizer = optax.sgd(0.5)
    learners = [
        local.local_learner(net, optimizer, update_order=order)
        for order in ("sequential", "simultaneous")
    ]
    state = started(net, optimizer)
    key = jax.random.key(5)
    steps = [jax.jit(each.step) for each in learners]
    (after, fresh), (before, stale) = (step(state, key, X, LABELS) for step in steps)
    fresh, stale = np.asarray(fresh), np.asarray(stale)
    np.testing.assert_array_equal(
        after.layers[0].params["kernels"]["input"], before.layers[0].params["kernels"]["input"]
    )
    assert fresh[0] == stale[0]
    updated = state.replace(layers=(after.layers[0], state.layers[1]))
    expected = np.asarray(steps[1](updated, key, X, LABELS)[1])
    np.testing.assert_allclose(fresh[1], expected[1], rtol=1e-5)
    assert abs(float(fresh[1] - stale[1])) > 1e-4


@cache
def convolutional(label):
    """Two convolutions with the label written into the image, or with class units."""
    layers = conv_layers((4, 3), (6, 12), pool=None)
    if label != "image":
        make = {"groups": class_units.groups(), "learned": class_units.learned()}[label]
        rule = with_class_units(sffa(eps=1e-3), make)
        return network.Network(layers, rule, overlays.none(), NUM_CLASSES)
    return network.Network(layers, sffa(eps=0.1), overlays.image_wave((4, 3)), NUM_CLASSES)


LABEL_KINDS = pytest.mark.parametrize("label", ["groups", "learned", "image"])


@LABEL_KINDS
def test_no_gradient_crosses_a_convolution(label):
    net = convolutional(label)
    params = started(net, ADAM).params
    is_target = jnp.asarray(np.arange(NUM_CLASSES) == LABELS_NUMPY[:, None])

    @jax.jit
    def gradients_of(layers):
        def losses(layers):
            logits = network.layer_logits(net, network.NetworkParams(layers, params.overlay), X)
            return jnp.stack([jnp.mean(net.rule.loss(of_layer, is_target)) for of_layer in logits])

        return jax.jacrev(losses)(layers)

    for i, gradients in enumerate(gradients_of(params.layers)):
        for k in (0, 1):
            norm = max(np.abs(np.asarray(leaf)[k]).max() for leaf in jax.tree.leaves(gradients))
            assert (norm > 0) if i == k else (norm == 0), f"layer {k}'s loss moves layer {i}"


@pytest.mark.parametrize("negatives", ["uniform", "all"])
@LABEL_KINDS
def test_convolutions_learn(label, negatives):
    net = convolutional(label)
    learner = local.local_learner(net, ADAM, negatives=negatives)
    check_losses_fall(learner, started(net, ADAM), X)


@cache
def with_state():
    """The network with body states, its first state, and its scores."""
    net = stateful()
    scores = local.local_learner(net, ADAM).scores
    return net, started(net, ADAM), jax.jit(scores)


def test_latents_contain_the_predicted_label_while_layers_have_not_started():
    net, state, _ = with_state()
    learner = local.local_learner(net, ADAM, update_order=greedy(100))
    assert learner.latents is not None
    labels = jnp.argmax(jnp.sum(learner.scores(state, X)[net.scored], axis=0), axis=-1)
    expected = hidden_activities(net, state.params, X, labels)
    assert np.any(labels != predict_labels(net, state.params, X)), "the example must differ"
    for found, of_layer in zip(learner.latents(state, X), expected, strict=True):
        np.testing.assert_allclose(found, of_layer, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("order", ["sequential", greedy(1)])
def test_the_state_of_a_body_changes_in_its_layers_update_only(order):
    net, state, scores = with_state()
    learner = local.local_learner(net, ADAM, update_order=order)
    new, _ = jax.jit(learner.step)(state, jax.random.key(1), X, LABELS)
    changed = [
        not np.array_equal(a, b)
        for layer, updated in zip(state.layers, new.layers, strict=True)
        for a, b in zip(*map(jax.tree.leaves, (layer.body_state, updated.body_state)), strict=True)
    ]
    assert changed == [True, True] * 3 if isinstance(order, str) else [True, True] + [False] * 4
    # Scores depend on the running statistics, and on no other sample.
    changed_x = jnp.asarray(np.r_[X_NUMPY[:2], 3 * X_NUMPY[2:]])
    np.testing.assert_array_equal(scores(new, X)[:, :2], scores(new, changed_x)[:, :2])
    assert not np.allclose(scores(new, X), scores(state, X))
