import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from sffa_jax import ffa, sffa
from sffa_jax.core import network, overlays, rules
from sffa_jax.core.architectures import dense_layers
from sffa_jax.core.class_units import groups, learned

X = jnp.asarray(np.random.default_rng(0).normal(size=(4, 12)), jnp.float32)
NUM_CLASSES = 3
# One program each, in place of one for each operation.
init_network, label_scores, layer_logits, activities, hidden_activities = (
    jax.jit(function, static_argnums=0)
    for function in (
        network.init_network,
        network.label_scores,
        network.layer_logits,
        lambda *arguments: list(network.activities(*arguments)),
        lambda *arguments: list(network.hidden_activities(*arguments)),
    )
)


def build(rule, hidden=(8, 6), **options):
    return network.Network(
        dense_layers(hidden),
        rule,
        overlays.appended_pattern(size=5, density=0.5),
        NUM_CLASSES,
        **options,
    )


def oracle_scores(rule_name, params, x):
    """Forward pass of one image with one label at a time, in NumPy."""
    kernels = [
        np.concatenate([np.float64(k) for k in layer["kernels"].values()])
        for layer in params.layers
    ]
    codes = np.float64(params.overlay.appended)
    scores = np.zeros((len(x), NUM_CLASSES))
    for i in range(len(x)):
        for label in range(NUM_CLASSES):
            h = np.concatenate([np.float64(x[i]), codes[label]])
            for kernel in kernels:
                h = np.maximum(h @ kernel, 0)
                if rule_name == "ffa":
                    p = oracles.ffa_probability(h, 0.5, 2.0)
                    groups = [h]
                else:
                    p = oracles.sffa_probability(h, 1e-3)
                    groups = np.split(h, 2)
                scores[i, label] += np.log(p / (1 - p))
                h = np.concatenate([g / np.sqrt(np.mean(g**2) + 1e-8) for g in groups])
    return scores


@pytest.mark.parametrize(
    ("name", "rule"),
    [("ffa", ffa(threshold=0.5, logit_scale=2.0)), ("sffa", sffa(logit_scale=1.0, eps=1e-3))],
)
def test_label_scores_match_numpy(name, rule):
    net = build(rule)
    params = init_network(net, jax.random.key(1), X)
    expected = oracle_scores(name, params, X)
    np.testing.assert_allclose(label_scores(net, params, X), expected, rtol=1e-3, atol=1e-4)
    labels = jax.jit(network.predict_labels, static_argnums=0)(net, params, X)
    np.testing.assert_array_equal(labels, expected.argmax(axis=1))


def test_first_scored_leaves_out_the_layers_below():
    net = build(sffa(), first_scored=1)
    params = init_network(net, jax.random.key(1), X)
    by_layer = jax.jit(network.layer_scores, static_argnums=0)(net, params, X)
    np.testing.assert_array_equal(label_scores(net, params, X), np.asarray(by_layer)[1])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: init_network(build(sffa(), hidden=(8, 7)), jax.random.key(0), X),
            r"even number of units .* got 7. Choose an even",
        ),
        (lambda: build(sffa(), first_scored=2), r"`first_scored` must be below 2 layers, got 2"),
        (
            lambda: network.Network((), ffa(), overlays.corner_one_hot(), 3),
            r"`layers` must contain at least one layer",
        ),
    ],
)
def test_bad_networks(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_ffa_takes_an_odd_width():
    net = build(ffa(), hidden=(7,))
    assert label_scores(net, init_network(net, jax.random.key(0), X), X).shape == (4, 3)


def skipping_scores(params, x):
    """As `oracle_scores`, with the overlaid input beside each upper layer's activity."""
    codes, scores = np.float64(params.overlay.appended), np.zeros((len(x), NUM_CLASSES))
    for i in range(len(x)):
        for label in range(NUM_CLASSES):
            overlaid = h = np.concatenate([np.float64(x[i]), codes[label]])
            for depth, layer in enumerate(params.layers):
                kernel = np.concatenate([np.float64(k) for k in layer["kernels"].values()])
                if depth:
                    halves = [g / np.sqrt(np.mean(g**2) + 1e-8) for g in np.split(h, 2)]
                    h = np.concatenate([*halves, overlaid])
                h = np.maximum(h @ kernel, 0)
                p = oracles.sffa_probability(h, 1e-3)
                scores[i, label] += np.log(p / (1 - p))
    return scores


def test_input_skip_matches_numpy():
    net = build(sffa(logit_scale=1.0, eps=1e-3), hidden=(8, 6, 4), input_skip=True)
    params = init_network(net, jax.random.key(1), X)
    assert {k.shape for k in params.layers[0]["kernels"].values()} == {(12, 8), (5, 8)}
    upper = sum(k.shape[0] for k in params.layers[1]["kernels"].values())
    assert upper == 8 + 12 + 5
    expected = skipping_scores(params, X)
    np.testing.assert_allclose(label_scores(net, params, X), expected, rtol=1e-3, atol=1e-4)
    chosen = jnp.array([[2, 0], [1, 1], [0, 2], [2, 2]])
    for h, some in zip(activities(net, params, X), activities(net, params, X, chosen), strict=True):
        picked = np.take_along_axis(np.array(h), np.array(chosen)[:, :, None], axis=1)
        np.testing.assert_allclose(some, picked, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["appended", "corner"])
def test_hidden_activities_are_the_activities_of_one_label(name):
    overlay = {
        "appended": overlays.appended_gaussian(size=4),
        "corner": overlays.corner_one_hot(),
    }[name]
    net = network.Network(dense_layers((8, 6)), sffa(eps=0.1), overlay, NUM_CLASSES)
    params = init_network(net, jax.random.key(0), X)
    labels = jnp.array([0, 2, 1, 2])
    found = hidden_activities(net, params, X, labels)
    for h, every in zip(found, activities(net, params, X), strict=True):
        np.testing.assert_allclose(h, np.asarray(every)[np.arange(4), labels], rtol=1e-5)


def test_maps_of_half_precision_are_measured_in_float32():
    assert network.flat(jnp.zeros((1, 2, 2, 3), jnp.bfloat16)).dtype == jnp.float32


def network_of_class_units(layers=None, **changes):
    settings = {
        "layers": layers or dense_layers((12, 18)),
        "rule": rules.with_class_units(sffa(eps=0.1), groups()),
        "make_overlay": overlays.none(),
        "num_classes": NUM_CLASSES,
    }
    return network.Network(**settings | changes)


@pytest.mark.parametrize("class_units", [groups, learned])
def test_class_units_give_all_labels_in_one_pass(class_units):
    net = network_of_class_units(rule=rules.with_class_units(sffa(eps=0.1), class_units()))
    params = init_network(net, jax.random.key(0), X)
    shapes = [h.shape for h in activities(net, params, X)]
    assert shapes == [(4, 1, 12), (4, 1, 18)]
    found = layer_logits(net, params, X)
    assert found.shape == (2, 4, NUM_CLASSES)
    some = jnp.array([[2, 0], [1, 1], [0, 2], [2, 1]])
    np.testing.assert_allclose(
        layer_logits(net, params, X, some),
        np.take_along_axis(np.array(found), np.array(some)[None], axis=2),
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: init_network(network_of_class_units(dense_layers([8])), jax.random.key(0), X),
            "units that 3 classes can share, got 8. .* 6",
        ),
        (
            lambda: init_network(
                network_of_class_units(make_overlay=overlays.corner_one_hot()),
                jax.random.key(0),
                X,
            ),
            r"`make_overlay` must be `overlays.none\(\)`, since the rule has class units",
        ),
        (
            lambda: init_network(network_of_class_units(rule=sffa()), jax.random.key(0), X),
            "`make_overlay` must mark the label",
        ),
    ],
)
def test_bad_networks_of_class_units(make, message):
    with pytest.raises(ValueError, match=message):
        make()
