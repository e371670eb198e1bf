"""Locality, and one update against NumPy."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import oracles
import pytest
from linen_bodies import Normalized

from sffa_jax import ffa, sffa
from sffa_jax.core import class_units, network, overlays
from sffa_jax.core.architectures import conv_layers, dense_layers
from sffa_jax.core.layer import Layer
from sffa_jax.core.negatives import NEGATIVES
from sffa_jax.core.network import next_input
from sffa_jax.core.overlays import parts
from sffa_jax.core.rules import with_class_units
from sffa_jax.training import local
from sffa_jax.training.update_order import greedy

NUM_CLASSES = 3
X = jax.random.normal(jax.random.key(0), (4, 12))
LABELS = jnp.array([0, 1, 2, 1])
CANDIDATES = jnp.array([[0, 1], [1, 2], [2, 0], [1, 0]])
IS_TARGET = LABELS[:, None] == CANDIDATES
RULES = {"ffa": ffa(threshold=0.5), "sffa": sffa(logit_scale=3.0, eps=1e-3)}


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


def loss_of_layer(net, k, states):
    """Layer k's loss in training as a function of *all* parameters of the network."""

    def loss(layers, overlay):
        overlaid = inputs = parts(overlay, X)
        for i, params in enumerate(layers):
            batch = inputs, CANDIDATES, IS_TARGET, states[i]
            key = net.layers[i].key(jax.random.key(2), i)
            info = local.layer_loss(net, i, params, *batch, train=True, key=key)
            if i == k:
                return info.loss.mean()
            inputs = next_input(net, info.activity, overlaid)
        raise AssertionError

    return loss


@pytest.mark.parametrize("k", [0, 1, 2])
@pytest.mark.parametrize("name", [*RULES, "stateful"])
def test_no_gradient_crosses_a_layer(name, k):
    net = stateful() if name == "stateful" else build(RULES[name])

    @jax.jit
    def gradients_of(key):
        params = network.init_network(net, key, X)
        return jax.grad(loss_of_layer(net, k, params.states))(params.layers, params.overlay)

    gradients = gradients_of(jax.random.key(1))
    for i, gradient in enumerate(gradients):
        size = sum(float(jnp.abs(leaf).sum()) for leaf in jax.tree.leaves(gradient))
        assert (size > 0) if i == k else (size == 0), f"layer {k}'s loss moves layer {i}"


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
    state = learner.init(jax.random.key(0), X)
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
    net = build(RULES[name])
    layer = net.layers[0]
    optimizer = optax.adam(1e-2)
    alone = build(RULES[name], hidden=(8,))
    both, single = local.local_learner(net, optimizer), local.local_learner(alone, optimizer)
    state, alone_state = both.init(jax.random.key(0), X), single.init(jax.random.key(0), X)
    other = local.local_learner(build(RULES[name], hidden=(8, 2, 2)), optimizer)
    other_state = other.init(jax.random.key(0), X)
    assert layer == alone.layers[0]
    for i in range(5):
        key = jax.random.key(i)
        state, _ = both.step(state, key, X, LABELS)
        alone_state, _ = single.step(alone_state, key, X, LABELS)
        other_state, _ = other.step(other_state, key, X, LABELS)
    for left, mid, right in zip(
        *(jax.tree.leaves(s.layers[0]) for s in (state, alone_state, other_state)), strict=True
    ):
        np.testing.assert_array_equal(left, mid)
        np.testing.assert_array_equal(left, right)


def test_the_upper_layers_loss_leaves_the_lower_layers_path_bit_identical():
    net = build(RULES["sffa"], hidden=(8, 6))
    optimizer = optax.adam(1e-2)
    other_rule = sffa(logit_scale=9.0, eps=0.5, loss="softmax")
    start = local.local_learner(net, optimizer).init(jax.random.key(0), X)

    def train(upper_rule):
        states = list(start.layers)
        for _ in range(5):
            overlaid = inputs = parts(start.overlay, X)
            for i, rule in enumerate((net.rule, upper_rule)):
                of_rule = dataclasses.replace(net, rule=rule)
                states[i], info = local.layer_step(
                    of_rule, i, optimizer, states[i], inputs, CANDIDATES, IS_TARGET
                )
                inputs = next_input(net, info.activity, overlaid)
        return [state.params["kernels"] for state in states]

    same, other = train(net.rule), train(other_rule)
    np.testing.assert_array_equal(same[0]["input"], other[0]["input"])
    assert not np.array_equal(same[1]["activity"], other[1]["activity"])


@pytest.mark.parametrize("name", RULES)
def test_one_adam_update_matches_numpy(name):
    """Gradient of the two-pass loss by central differences of the NumPy oracle, then Adam."""
    net = build(RULES[name], hidden=(4,))
    learner = local.local_learner(net, optax.adam(1e-2), negatives="uniform")
    state = learner.init(jax.random.key(1), X)
    key = jax.random.key(7)
    new, loss = learner.step(state, key, X, LABELS)
    wrong = np.array(NEGATIVES["uniform"](key, LABELS, NUM_CLASSES, lambda: None)[:, 1])
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
            for label in (int(LABELS[i]), int(wrong[i])):
                x = np.float64(X[i]).copy()
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


def check_losses_fall(learner, x):
    """60 steps on one batch lower every layer's loss."""
    state = jax.jit(learner.init)(jax.random.key(2), x)
    step = jax.jit(learner.step)
    losses = []
    for i in range(60):
        state, loss = step(state, jax.random.key(i), x, LABELS)
        losses.append(loss)
    assert np.all(np.mean(losses[-10:], axis=0) < np.mean(losses[:10], axis=0))


@pytest.mark.parametrize("negatives", ["uniform", "hard", "all"])
@pytest.mark.parametrize("name", RULES)
def test_steps_lower_every_layers_loss(name, negatives):
    network = build(RULES[name], hidden=(8, 6))
    learner = local.local_learner(network, optax.adam(3e-2), negatives=negatives)
    check_losses_fall(learner, X)


def test_the_activity_factor_scales_the_loss_and_carries_gradient():
    net = build(sffa(activity_rate=10.0), hidden=(8,))
    params = network.init_network(net, jax.random.key(1), X)

    def losses_of(rule, layer_params):
        inputs, of_rule = parts(params.overlay, X), dataclasses.replace(net, rule=rule)
        return local.layer_loss(of_rule, 0, layer_params, inputs, CANDIDATES, IS_TARGET)

    with_factor = losses_of(net.rule, params.layers[0])
    without = losses_of(sffa(), params.layers[0])
    h = np.float64(without.activity)
    factor = 1 + np.exp(-10 * (h[:, 0].mean() + h[:, 1].mean()))
    np.testing.assert_allclose(with_factor.loss, factor * without.loss, rtol=1e-5)
    pull = jax.grad(lambda p: losses_of(net.rule, p).loss.mean())(params.layers[0])
    plain = jax.grad(lambda p: losses_of(sffa(), p).loss.mean() * factor)(params.layers[0])
    assert not np.allclose(pull["kernels"]["input"], plain["kernels"]["input"], rtol=1e-3)


def test_sequential_updates_show_the_updated_layers_activity():
    """The second layer's loss is that of the first layer after its update, and not before."""
    net = build(RULES["sffa"], hidden=(8, 6))
    optimizer = optax.sgd(0.5)
    learners = [
        local.local_learner(net, optimizer, update_order=order)
        for order in ("sequential", "simultaneous")
    ]
    state = learners[0].init(jax.random.key(0), X)
    key = jax.random.key(5)
    (after, fresh), (before, stale) = (each.step(state, key, X, LABELS) for each in learners)
    np.testing.assert_array_equal(
        after.layers[0].params["kernels"]["input"], before.layers[0].params["kernels"]["input"]
    )
    assert fresh[0] == stale[0]
    updated = state.replace(layers=(after.layers[0], state.layers[1]))
    _, expected = learners[1].step(updated, key, X, LABELS)
    np.testing.assert_allclose(fresh[1], expected[1], rtol=1e-5)
    assert abs(float(fresh[1] - stale[1])) > 1e-4


def test_unknown_negatives():
    with pytest.raises(ValueError, match=r"`negatives` must be one of all, hard, uniform, got 'x'"):
        local.local_learner(build(RULES["ffa"]), optax.sgd(0.1), negatives="x")


def convolutional(label):
    """Two convolutions with the label written into the image, or with class units."""
    layers = conv_layers((4, 3), (6, 12), pool=None)
    if label != "image":
        make = {"groups": class_units.groups(), "learned": class_units.learned()}[label]
        rule = with_class_units(sffa(eps=1e-3), make)
        return network.Network(layers, rule, overlays.none(), NUM_CLASSES)
    return network.Network(layers, sffa(eps=0.1), overlays.image_wave((4, 3)), NUM_CLASSES)


@pytest.mark.parametrize("negatives", ["uniform", "all"])
@pytest.mark.parametrize("label", ["groups", "learned", "image"])
def test_convolutions_learn_and_no_gradient_crosses_them(label, negatives):
    net = convolutional(label)
    x = jax.random.normal(jax.random.key(0), (4, 12))
    params = jax.jit(partial(network.init_network, net))(jax.random.key(1), x)
    is_target = jnp.arange(NUM_CLASSES)[None] == LABELS[:, None]

    def loss_of(k, layers):
        found = network.layer_logits(net, network.NetworkParams(layers, params.overlay), x)
        return jnp.mean(net.rule.loss(found[k], is_target))

    for k in (0, 1):
        gradient = jax.jit(jax.grad(partial(loss_of, k)))(params.layers)
        norms = [max(float(np.abs(leaf).max()) for leaf in jax.tree.leaves(g)) for g in gradient]
        assert norms[k] > 0
        assert norms[1 - k] == 0
    learner = local.local_learner(net, optax.adam(1e-2), negatives=negatives)
    check_losses_fall(learner, x)


def test_each_layer_can_have_an_optimizer():
    net = build(RULES["sffa"], hidden=(8, 6))
    learner = local.local_learner(net, [optax.sgd(0.0), optax.adam(1e-2)])
    state = jax.jit(learner.init)(jax.random.key(0), X)
    new, _ = jax.jit(learner.step)(state, jax.random.key(1), X, LABELS)
    same = [
        np.array_equal(*map(jax.tree.leaves, (a.params, b.params)))
        for a, b in zip(state.layers, new.layers, strict=True)
    ]
    assert same == [True, False]
    with pytest.raises(ValueError, match="one for each of the 2 layers, got 3"):
        local.local_learner(net, [optax.sgd(0.1)] * 3)


@pytest.mark.parametrize("order", ["sequential", greedy(1)])
def test_the_state_of_a_body_changes_in_its_layers_update_only(order):
    learner = local.local_learner(stateful(), optax.adam(1e-2), update_order=order)
    state = jax.jit(learner.init)(jax.random.key(0), X)
    new, _ = jax.jit(learner.step)(state, jax.random.key(1), X, LABELS)
    changed = [
        not np.array_equal(a, b)
        for layer, updated in zip(state.layers, new.layers, strict=True)
        for a, b in zip(*map(jax.tree.leaves, (layer.body_state, updated.body_state)), strict=True)
    ]
    assert changed == [True, True] * 3 if isinstance(order, str) else [True, True] + [False] * 4
    # Scores depend on the running statistics, and on no other sample.
    scores = jax.jit(learner.scores)
    changed_x = X.at[2:].multiply(3.0)
    np.testing.assert_array_equal(scores(new, X)[:, :2], scores(new, changed_x)[:, :2])
    assert not np.allclose(scores(new, X), scores(state, X))
