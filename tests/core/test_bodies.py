"""Bodies with a state, and bodies that do not fit."""

from functools import partial

import chex
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx
from linen_bodies import Normalized
from unchecked import no_shape_checks

from sffa_jax.core import class_units, network, overlays, rules
from sffa_jax.core.architectures import conv_layers, dense_layers
from sffa_jax.core.bodies import Body, equinox_body, function_body, nnx_body
from sffa_jax.core.layer import Layer, activity, init_layer, passed_on, training_activity
from sffa_jax.core.overlays import Part

X = jax.random.normal(jax.random.key(0), (6, 5))
LABEL_CODES = jax.random.normal(jax.random.key(1), (3, 5))
INPUTS = (Part("input", X, "sample"), Part("input", LABEL_CODES, "class"))
KEY = jax.random.key(2)


ROWS = np.asarray(X[:, None] + LABEL_CODES[None]).reshape(18, 5)


def identity(h):
    return h


def passes(layer, inputs):
    """Parameters, a training pass and its state, another one, and a scoring pass."""
    params, state = init_layer(layer, jax.random.key(3), inputs)
    keys = (layer.key(KEY, k) for k in range(2))
    (h, new), (other, _) = (
        training_activity(layer, params, state, inputs, None, key) for key in keys
    )
    return params, h, new, other, activity(layer, params, inputs, state=state)


def test_linen_statistics_are_those_of_all_rows_and_dropout_draws_from_the_key():
    layer = Layer(Normalized(4), identity)
    params, h, new, other, scoring = jax.jit(partial(passes, layer, INPUTS))()
    rows = ROWS @ np.asarray(params["body"]["Dense_0"]["kernel"])
    mean, var = rows.mean(axis=0), rows.var(axis=0)
    expected = ((rows - mean) / np.sqrt(var + 1e-5)).reshape(6, 3, 4)
    dropped = h == 0
    assert 0.1 < dropped.mean() < 0.4
    np.testing.assert_allclose(h[~dropped], expected[~dropped] / 0.75, rtol=1e-4, atol=1e-5)
    statistics = new["batch_stats"]["BatchNorm_0"]
    np.testing.assert_allclose(statistics["mean"], 0.1 * mean, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(statistics["var"], 0.9 + 0.1 * var, rtol=1e-4)
    assert not np.array_equal(other == 0, dropped)
    np.testing.assert_allclose(scoring, rows.reshape(6, 3, 4) / np.sqrt(1 + 1e-5), rtol=1e-4)


def test_statistics_keep_their_type_when_the_activity_is_wider():
    """Under x64, overlays are drawn in float64."""
    with jax.enable_x64(True):
        inputs = tuple(part._replace(value=part.value.astype(float)) for part in INPUTS)
        (layer,) = dense_layers([4], normalization="batch")
        params, state = init_layer(layer, jax.random.key(3), inputs)
        h, new = training_activity(layer, params, state, inputs, None, layer.key(KEY, 0))
        assert h.dtype == jnp.float64
        assert jax.tree.map(lambda leaf: leaf.dtype, new) == jax.tree.map(
            lambda leaf: leaf.dtype, state
        )


def test_a_normalization_after_a_factored_product_is_that_of_the_sum():
    (layer,) = dense_layers([4], activation=identity, normalization="batch")
    params, h, new, _, _ = jax.jit(partial(passes, layer, INPUTS))()
    np.testing.assert_allclose(h.mean(axis=(0, 1)), np.zeros(4), atol=1e-5)
    np.testing.assert_allclose(h.var(axis=(0, 1)), np.ones(4), rtol=1e-3)
    rows = ROWS @ np.asarray(params["kernels"]["input"])
    expected = (rows - rows.mean(axis=0)) / np.sqrt(rows.var(axis=0) + 1e-5)
    np.testing.assert_allclose(h, expected.reshape(6, 3, 4), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(new["batch_stats"]["mean"], 0.1 * rows.mean(axis=0), rtol=1e-4)


def test_runs_under_vmap_have_their_own_statistics():
    (layer,) = dense_layers([4], normalization="batch")

    def run(x):
        return passes(layer, (Part("input", x, "sample"), INPUTS[1]))[1:3]

    together, *alone = jax.jit(lambda x: (jax.vmap(run)(x), run(x[0]), run(x[1])))(
        jnp.stack([X, 3 * X])
    )
    expected = jax.tree.map(lambda *runs: jnp.stack(runs), *alone)
    chex.assert_trees_all_close(together, expected, rtol=1e-4, atol=1e-5)


def test_group_normalization_of_maps_sees_one_sample():
    (layer,) = conv_layers((4, 4), [32], pool=None, activation=identity, normalization="group")
    inputs = (Part("input", jax.random.normal(KEY, (3, 16)), "sample"),)
    _, _, state, _, h = jax.jit(partial(passes, layer, inputs))()
    assert not jax.tree.leaves(state)
    assert not layer.has_modes
    h = np.asarray(h).reshape(3, 16, 2, 16).swapaxes(1, 2).reshape(3, 2, -1)  # groups of 16 maps
    np.testing.assert_allclose(h.mean(axis=-1), np.zeros((3, 2)), atol=1e-5)
    np.testing.assert_allclose(h.std(axis=-1), np.ones((3, 2)), rtol=1e-2)


def test_dropout_of_what_is_passed_on():
    (layer,) = dense_layers([400], dropout=0.25)
    h = jnp.ones((2, 3, 400))
    found = np.asarray(passed_on(layer, h, KEY))
    np.testing.assert_array_equal(np.unique(found), np.float32([0, 1 / 0.75]))
    np.testing.assert_allclose(found.mean(), 1, atol=0.05)
    assert passed_on(layer, h, None) is h  # scoring


class Odd(nn.Module):
    """Fails, or returns what no layer can use."""

    kind: str

    @nn.compact
    def __call__(self, x):
        y = nn.Dense(4)(x)
        if self.kind == "raises":
            raise RuntimeError("no idea.")
        if self.kind == "dropout without an argument":
            return nn.Dropout(0.5, deterministic=False)(y)
        return {
            "tuple": (y, y),
            "scalar for each row": y[:, 0],
            "sum over rows": y.sum(axis=0, keepdims=True),
            "no unit": y[:, :0],
            "integers": y.astype(int),
        }[self.kind]


def growing_state(params, state, x, key, train):
    return x, jnp.zeros(2 if train else 1)


@pytest.mark.parametrize(
    ("body", "got"),
    [
        (Odd("raises"), "RuntimeError: no idea"),
        (Odd("tuple"), "an output of type tuple"),
        (Odd("scalar for each row"), r"float32\[2\] for 2 rows"),
        (Odd("sum over rows"), r"float32\[1, 4\] for 2 rows"),
        (Odd("no unit"), r"float32\[2, 0\] for 2 rows"),
        (Odd("integers"), r"int32\[2, 4\] for 2 rows"),
        (Odd("dropout without an argument"), "InvalidRngError: .*dropout"),
        (nn.Conv(4, (3, 3)), r"float32\[4\] for 2 rows|Error"),
        (Body(lambda key, x: {}, growing_state), r"`init` that does not return"),
        (Body(lambda key, x: ({}, jnp.zeros(1)), growing_state), "a state that changes"),
    ],
)
def test_a_wrong_body_is_refused_by_the_name_of_its_layer(body, got):
    layers = (*dense_layers([4]), Layer(body))
    net = network.Network(layers, rules.sffa(), overlays.corner_one_hot(), 3)
    message = r"`layers\[1\]` must have a body that maps \[rows, 4\] to rows of units or maps, got "
    with pytest.raises(ValueError, match=message + got):
        jax.eval_shape(lambda: network.init_network(net, KEY, X))


@pytest.mark.parametrize(
    "body", [nn.Dense(3), Body(lambda key, x: ((), ()), lambda p, s, x, *_: (x, s))]
)
def test_widths_are_those_of_the_output(body):
    """No attribute of the body gives its width."""
    net = network.Network((Layer(body),), rules.sffa(), overlays.corner_one_hot(), 3)
    with pytest.raises(ValueError, match=r"`layers\[0\]` must have an even number of units"):
        jax.eval_shape(lambda: network.init_network(net, KEY, X))


def test_a_normalization_of_a_body_that_is_not_affine_is_refused():
    with pytest.raises(ValueError, match="`normalization` must be None unless the body is affine"):
        Layer(Normalized(4), normalization=nn.BatchNorm())


class NnxNormalized(nnx.Module):
    def __init__(self, rngs):
        self.linear = nnx.Linear(5, 4, use_bias=False, rngs=rngs)
        self.norm = nnx.BatchNorm(4, momentum=0.9, rngs=rngs)
        self.dropout = nnx.Dropout(0.25, rngs=rngs)

    def __call__(self, x):
        return self.dropout(self.norm(self.linear(x)))


class EquinoxNormalized(eqx.Module):
    linear: eqx.nn.Linear
    norm: eqx.nn.BatchNorm
    dropout: eqx.nn.Dropout
    order: jax.Array

    def __init__(self, key):
        self.linear = eqx.nn.Linear(5, 4, use_bias=False, key=key)
        self.norm = eqx.nn.BatchNorm(4, "batch", momentum=0.9, mode="ema")
        self.dropout = eqx.nn.Dropout(0.25)
        self.order = jnp.arange(5)  # an array without a gradient

    def __call__(self, x, state, key=None):
        x, state = self.norm(self.linear(x[self.order]), state)
        return self.dropout(x, key=key), state


def equinox_normalized():
    return equinox_body(lambda key: eqx.nn.make_with_state(EquinoxNormalized)(key))


ADAPTED = {
    "nnx": (lambda: nnx_body(NnxNormalized), lambda p: np.asarray(p["linear"]["kernel"][...])),
    "equinox": (equinox_normalized, lambda p: np.asarray(p.linear.weight).T),
}


@pytest.mark.parametrize("make", [lambda: Normalized(4), *(make for make, _ in ADAPTED.values())])
def test_the_summary_names_blocks(make):
    net = network.Network((Layer(make()),), rules.ffa(), overlays.corner_one_hot(), 3)
    with no_shape_checks():
        assert "loss of layer 0, a block of 2 modules\n" in net.summary((5,))


@pytest.mark.parametrize("name", ADAPTED)
def test_adapted_modules_normalize_the_batch_and_drop_units_in_training(name):
    make, kernel = ADAPTED[name]
    layer = Layer(make(), identity)
    assert layer.has_modes
    params, h, new, _, scoring = jax.jit(partial(passes, layer, INPUTS))()
    rows = ROWS @ kernel(params["body"])
    mean, var = rows.mean(axis=0), rows.var(axis=0)
    dropped = np.asarray(h == 0)
    assert 0.1 < dropped.mean() < 0.4
    expected = ((rows - mean) / np.sqrt(var + 1e-5)).reshape(6, 3, 4) / 0.75
    np.testing.assert_allclose(h[~dropped], expected[~dropped], rtol=1e-3, atol=1e-4)
    assert any(jnp.shape(leaf) == (4,) and np.any(leaf) for leaf in jax.tree.leaves(new))
    assert not np.any(np.asarray(scoring).reshape(18, 4)[np.abs(rows) > 0.01] == 0)


class Noisy(eqx.Module):
    """Takes a key, and has nothing by which training and scoring differ."""

    def __call__(self, x, key=None):
        return x[:4] if key is None else x[:4] + jax.random.normal(key, (4,))


@pytest.mark.parametrize(
    "body",
    [
        nnx_body(lambda rngs: nnx.Linear(5, 4, rngs=rngs)),
        equinox_body(lambda key: Noisy()),
        equinox_body(lambda key: eqx.nn.Linear(5, 4, key=key)),
        function_body(lambda key, x: jax.random.normal(key, (5, 4)), lambda w, x: x @ w),
        function_body(lambda key, x: (), lambda params, x: x[:, :4]),
    ],
    ids=["nnx", "equinox with a key", "equinox", "functions", "no parameters"],
)
def test_bodies_without_modes(body):
    layer = Layer(body, identity)
    assert not layer.has_modes
    _, h, new, _, scoring = jax.jit(partial(passes, layer, INPUTS))()
    assert h.shape == (6, 3, 4)
    np.testing.assert_array_equal(h, scoring)
    assert not jax.tree.leaves(new)


def test_a_body_without_modes_gets_no_key_also_if_its_layer_drops_units():
    def apply(params, state, x, key, train):
        assert key is None
        return x, state

    layer = Layer(Body(lambda key, x: ((), ()), apply, has_modes=False), dropout=0.5)
    params, state = init_layer(layer, KEY, INPUTS)
    key = layer.key(KEY, 0)
    assert key is not None
    h, _ = training_activity(layer, params, state, INPUTS, None, key)
    assert h.shape == (6, 3, 5)


def test_a_body_that_splits_its_key_draws_other_numbers_than_class_units():
    def init(key, row):
        _, second = jax.random.split(key)
        return {"w": jax.random.normal(second, (2, row.shape[-1], 6))}  # as many as class units

    body = function_body(init, lambda params, x: x @ params["w"][0])
    rule = rules.with_class_units(rules.sffa(), class_units.learned())
    net = network.Network((Layer(body),), rule, overlays.none(), 3)
    params = network.init_network(net, jax.random.key(0), jnp.ones((1, 3))).layers[0]
    drawn, units = (np.ravel(x) for x in jax.tree.leaves(params))
    assert drawn.shape == units.shape
    assert abs(np.corrcoef(drawn, units)[0, 1]) < 0.9


def test_a_pass_of_an_nnx_module_draws_by_its_key_alone():
    """Whatever its streams drew before: an update order may repeat a pass."""
    body = nnx_body(lambda rngs: nnx.Dropout(0.5, rngs=rngs))
    x = jnp.ones((1, 200))
    params, state = body.init(jax.random.key(0), x)
    keys = jax.random.split(jax.random.key(1))
    first, used = body.apply(params, state, x, keys[0], True)
    again, _ = body.apply(params, used, x, keys[0], True)
    other, _ = body.apply(params, state, x, keys[1], True)
    np.testing.assert_array_equal(first, again)
    raw, _ = body.apply(params, state, x, jax.random.key_data(keys[0]), True)
    np.testing.assert_array_equal(first, raw)
    assert 0.3 < np.mean(np.asarray(first) != np.asarray(other)) < 0.7


def test_a_body_that_splits_its_key_does_not_draw_the_layers_dropout():
    seen = []

    def apply(params, state, x, key, train):
        seen.append(key)
        return x, state

    layer = Layer(Body(lambda key, x: ((), ()), apply, has_modes=True), identity, dropout=0.5)
    key = layer.key(jax.random.key(0), 0)
    training_activity(layer, {"body": ()}, (), INPUTS, None, key)
    parts = jax.random.key_data(jax.random.split(seen[-1], 4))
    own = jax.random.key_data(jax.random.fold_in(key, 1))
    assert not any(np.array_equal(part, own) for part in parts)
