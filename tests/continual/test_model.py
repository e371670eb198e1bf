"""Losses over the labels that compete, and that each module learns by its own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sffa_jax import Network, dense_layers, ffa, sffa
from sffa_jax.continual.model import (
    by_module,
    end_to_end,
    forward_only,
    product_loss,
    softmax_loss,
)
from sffa_jax.core import losses, overlays

softmax_loss, product_loss, binary_loss = map(
    jax.jit, (softmax_loss, product_loss, by_module(losses.binary_cross_entropy))
)
RNG = np.random.default_rng(0)
X = jnp.asarray(RNG.normal(size=(5, 12)), jnp.float32)
OUTPUTS = jnp.asarray(3 * RNG.normal(size=(2, 5, 4)), jnp.float32)
TARGETS = jnp.asarray(np.arange(4) == np.array([0, 1, 0, 2, 1])[:, None])
ALLOWED = jnp.asarray(np.broadcast_to(np.arange(4) < 3, (5, 4)))
CANDIDATES = jnp.asarray(np.array([[0, 1], [2, 3], [2, 3], [0, 1], [3, 0]], np.int32))


def network(rule, hidden=(8, 6)):
    return Network(dense_layers(hidden), rule, overlays.appended_gaussian(size=5), 4)


RULES = {"sffa": sffa(logit_scale=3.0, eps=0.1, loss="softmax"), "ffa": ffa(threshold=0.5)}


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def test_losses_by_hand():
    z, right = np.float64(OUTPUTS)[:, :, :3], np.array([0, 1, 0, 2, 1])
    softmax, binary, by_product = (
        np.asarray(loss(OUTPUTS, TARGETS, ALLOWED))
        for loss in (softmax_loss, binary_loss, product_loss)
    )
    for module in range(2):
        for i in range(5):
            row = z[module, i]
            share = np.exp(row) / np.exp(row).sum()
            assert softmax[module, i] == pytest.approx(-np.log(share[right[i]]), rel=1e-5)
            wrong = np.delete(row, right[i])
            expected = -np.log(sigmoid(row[right[i]])) / 2
            expected -= np.mean(np.log(1 - sigmoid(wrong))) / 2
            assert binary[module, i] == pytest.approx(expected, rel=1e-5)
    product = np.prod(sigmoid(z), axis=0)
    for i in range(5):
        terms = [-np.log(p if c == right[i] else 1 - p) for c, p in enumerate(product[i].tolist())]
        assert by_product[0, i] == pytest.approx(np.mean(terms), rel=1e-4)


@pytest.mark.parametrize("loss", [softmax_loss, binary_loss, product_loss])
def test_labels_that_do_not_compete_have_no_part(loss):
    other = np.array(OUTPUTS)
    other[:, :, 3] = 1e4
    other = jnp.asarray(other)
    np.testing.assert_array_equal(loss(OUTPUTS, TARGETS, ALLOWED), loss(other, TARGETS, ALLOWED))
    gradient = np.asarray(jax.jit(jax.grad(lambda z: loss(z, TARGETS, ALLOWED).sum()))(other))
    assert np.all(gradient[:, :, 3] == 0)
    assert np.all(np.isfinite(gradient))


@pytest.mark.parametrize("loss", [softmax_loss, binary_loss, product_loss])
def test_extreme_outputs_have_finite_losses_and_gradients(loss):
    total = jax.jit(jax.value_and_grad(lambda z: loss(z, TARGETS, ALLOWED).sum()))
    for size in (0.0, 30.0, -30.0, 1e3):
        value, gradient = total(jnp.asarray(np.full((2, 5, 4), size, np.float32)))
        assert np.isfinite(value)
        assert np.all(np.isfinite(gradient))


def gradients_of_each_loss(model):
    """Sizes of each module's gradients of the losses; their leaves in a row."""

    @jax.jit
    def sizes(key):
        modules, overlay = model.init(key, X)

        def losses(modules):
            logits = model.logits(modules, overlay, X, None)
            return model.loss(logits, TARGETS, ALLOWED).mean(axis=-1)

        gradients = jax.jacrev(losses)(modules)
        return [
            [jnp.abs(leaf.reshape(leaf.shape[0], -1)).sum(axis=-1) for leaf in jax.tree.leaves(one)]
            for one in gradients
        ]

    return sizes(jax.random.key(2))


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_a_layers_loss_moves_that_layer_alone(rule):
    for k, leaves in enumerate(gradients_of_each_loss(forward_only(network(rule)))):
        for sizes in map(np.asarray, leaves):
            assert sizes[k] > 0
            assert sizes[1 - k] == 0


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_the_released_coupling_is_one_loss_of_all_layers(rule):
    model = forward_only(network(rule), coupling="released")
    assert all(np.sum(sizes) > 0 for leaves in gradients_of_each_loss(model) for sizes in leaves)


def test_the_released_coupling_scales_a_layers_gradient_by_the_others():
    """With the other layer's log-odds far up the loss is the layer's own product."""

    @jax.jit
    def gradients():
        def loss(first, second):
            return product_loss(jnp.stack([first, second]), TARGETS, ALLOWED).sum()

        sure = jnp.full((5, 4), 40.0)
        alone = jax.grad(lambda z: product_loss(z[None], TARGETS, ALLOWED).sum())(OUTPUTS[0])
        return alone, jax.grad(loss)(OUTPUTS[0], sure), jax.grad(loss)(OUTPUTS[0], OUTPUTS[1])

    alone, beside_sure, scaled = gradients()
    np.testing.assert_allclose(beside_sure, alone, rtol=1e-4, atol=1e-6)
    assert not np.allclose(scaled, alone, rtol=1e-2)


def logits_of(model):
    """The parameters, and the logits of all labels and of `CANDIDATES`."""

    @jax.jit
    def run(key):
        modules, overlay = model.init(key, X)
        return modules, *(model.logits(modules, overlay, X, some) for some in (None, CANDIDATES))

    modules, *logits = run(jax.random.key(0))
    return modules, *map(np.asarray, logits)


def test_end_to_end_is_one_module_with_a_head_for_any_labels():
    model = end_to_end(dense_layers((8,)), 4)
    modules, every, some = logits_of(model)
    assert len(modules) == 1
    assert every.shape == (1, 5, 4)
    np.testing.assert_array_equal(some[0], np.take_along_axis(every[0], CANDIDATES, axis=1))


def test_candidates_select_from_the_labels_of_a_forward_only_network():
    model = forward_only(network(RULES["sffa"]))
    _, every, some = logits_of(model)
    for module in range(2):
        expected = np.take_along_axis(every[module], CANDIDATES, axis=1)
        np.testing.assert_allclose(some[module], expected, rtol=1e-4, atol=1e-5)


def test_an_unknown_coupling_is_refused():
    with pytest.raises(ValueError, match="`coupling` must be one of local, released"):
        forward_only(network(RULES["ffa"]), coupling="loose")


def test_the_rules_own_loss_is_used():
    """Also a function of the user's own; the loss sees which labels compete."""

    def hinge(logits, targets, allowed=None):
        return jnp.sum(jnp.maximum(0, jnp.where(targets, 1 - logits, 1 + logits)) * allowed, -1)

    model = forward_only(network(RULES["sffa"]._replace(loss=hinge)))
    found, expected = jax.jit(
        lambda: (
            model.loss(OUTPUTS, TARGETS, ALLOWED),
            [hinge(logits, TARGETS, allowed=ALLOWED) for logits in OUTPUTS],
        )
    )()
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_rule_with_an_activity_factor_is_refused():
    with pytest.raises(ValueError, match="must have a rule without an activity factor"):
        forward_only(network(ffa(activity_rate=10.0)))


@pytest.mark.parametrize("end", ["local", "end to end"])
def test_layers_that_train_differently_than_they_score_are_refused(end):
    layers = dense_layers([8], normalization="batch")
    net = Network(layers, sffa(), overlays.appended_gaussian(size=4), 3)
    model = forward_only(net) if end == "local" else end_to_end(layers, 3)
    with pytest.raises(ValueError, match="have no dropout and no running statistics"):
        jax.eval_shape(model.init, jax.random.key(0), jnp.ones((1, 5)))
