"""A factored layer is the plain layer: same values, same gradients."""

from functools import cache, partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from sffa_jax.core import overlays
from sffa_jax.core.architectures import conv_layers, dense_layers
from sffa_jax.core.image_layout import Grid
from sffa_jax.core.layer import Layer, activity, init_layer
from sffa_jax.core.overlays import Part

RNG = np.random.default_rng(0)


def normal(*shape):
    return jnp.asarray(RNG.normal(size=shape), jnp.float32)


X = normal(5, 12)
CANDIDATES = jnp.asarray(np.int32([[0, 1], [3, 2], [1, 0], [2, 3], [0, 3]]))
OVERLAYS = {
    "corner": overlays.corner_one_hot(),
    "pattern": overlays.appended_pattern(size=7, density=0.4),
    "gaussian": overlays.appended_gaussian(size=3),
}
OVERLAYS = {
    name: jax.jit(lambda key, make=make: make(key, (12,), 4))(jax.random.key(1))
    for name, make in OVERLAYS.items()
}


def initialized(layer, inputs):
    """A layer's parameters; one program, in place of one for each operation."""
    return jax.jit(lambda key: init_layer(layer, key, inputs)[0])(jax.random.key(2))


def activity_of(layer, params, inputs, candidates=None):
    return np.asarray(jax.jit(lambda p: activity(layer, p, inputs, candidates))(params))


@partial(jax.jit, static_argnums=0)
def value_and_gradient(function, params):
    """A function's value, and the gradient of its product with random weights, as one program."""
    out, pull = jax.vjp(function, params)
    weights = np.random.default_rng(3).normal(size=out.shape)
    return out, pull(jnp.asarray(weights, out.dtype))[0]


def plain_kernel(params):
    return jnp.concatenate(list(params["kernels"].values()))


@pytest.mark.parametrize("candidates", [CANDIDATES, None], ids=["two", "all"])
@pytest.mark.parametrize("name", OVERLAYS)
def test_factored_equals_plain(name, candidates):
    overlay = OVERLAYS[name]
    layer = Layer(nn.Dense(6, bias_init=nn.initializers.normal()))
    params = initialized(layer, overlays.parts(overlay, X))
    tried = jnp.asarray(
        np.tile(np.int32([0, 1, 2, 3]), (5, 1)) if candidates is None else candidates
    )

    def factored(params):
        return activity(layer, params, overlays.parts(overlay, X), candidates)

    def plain(params):
        columns = [
            nn.relu(
                overlays.overlay_inputs(overlay, X, tried[:, i]) @ plain_kernel(params)
                + params["bias"][None]
            )
            for i in range(tried.shape[1])
        ]
        return jnp.stack(columns, axis=1)

    out, gradient = value_and_gradient(factored, params)
    expected_out, expected = value_and_gradient(plain, params)
    np.testing.assert_allclose(out, expected_out, rtol=1e-5, atol=1e-6)
    chex.assert_trees_all_close(gradient, expected, rtol=1e-4, atol=1e-5)


def test_no_sample_has_no_activity():
    layer, overlay = Layer(nn.Dense(6)), OVERLAYS["gaussian"]
    params = initialized(layer, overlays.parts(overlay, X))
    assert activity_of(layer, params, overlays.parts(overlay, X[:0])).shape == (0, 4, 6)


def test_the_kernel_is_initialized_as_if_it_were_not_factored():
    layer = dense_layers([6])[0]
    params, _ = init_layer(layer, jax.random.key(2), overlays.parts(OVERLAYS["pattern"], X))
    whole = layer.body.init(jax.random.key(2), jnp.zeros(19))["params"]["kernel"]
    np.testing.assert_array_equal(plain_kernel(params), whole)


def test_the_image_meets_the_kernel_once():
    """One product over the batch's rows, however many candidates there are."""
    layer = dense_layers([6])[0]
    inputs = overlays.parts(OVERLAYS["pattern"], X)
    params = initialized(layer, inputs)
    jaxpr = jax.make_jaxpr(lambda p: activity(layer, p, inputs))(params)
    shapes = [
        sorted(tuple(v.aval.shape) for v in eqn.invars)
        for eqn in jaxpr.eqns
        if eqn.primitive.name == "dot_general"
    ]
    assert sorted(shapes) == sorted([[(5, 12), (12, 6)], [(4, 7), (7, 6)]])


class TwoLinear(nn.Module):
    """A body that the library does not know: not affine."""

    features: int = 6

    @nn.compact
    def __call__(self, x):
        return nn.Dense(self.features)(nn.tanh(nn.Dense(5)(x)))


def test_any_flax_module_is_a_body():
    layer, overlay = Layer(TwoLinear()), OVERLAYS["pattern"]
    inputs = overlays.parts(overlay, X)
    params = initialized(layer, inputs)
    h = activity_of(layer, params, inputs, CANDIDATES)

    @jax.jit
    def plain(params, labels):
        x = overlays.overlay_inputs(overlay, X, labels)
        return nn.relu(layer.body.apply({"params": params["body"]}, x))

    for i, labels in enumerate(np.asarray(CANDIDATES).T):
        np.testing.assert_allclose(h[:, i], plain(params, labels), rtol=1e-5, atol=1e-6)


def test_a_convolution_factors_too():
    images, patterns = normal(3, 6, 6, 2), normal(4, 6, 6, 2)
    layer = Layer(nn.Conv(4, (3, 3), strides=2), grid=Grid(6, 6, 2))
    inputs = (Part("input", images, "sample"), Part("input", patterns, "class"))
    params = initialized(layer, inputs)
    h = activity_of(layer, params, inputs)
    whole = {"params": {"kernel": params["kernels"]["input"], "bias": params["bias"]}}
    plain = jax.jit(lambda pattern: nn.relu(layer.body.apply(whole, images + pattern[None])))
    for label, pattern in enumerate(np.asarray(patterns)):
        np.testing.assert_allclose(h[:, label], plain(pattern), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"hidden": []}, r"`hidden` must name at least one width"),
        ({"hidden": [0]}, r"`hidden` must be at least 1, got 0"),
        ({"hidden": [10], "winners": 6}, r"`winners` must be at most half of .* 10 units, got 6"),
        ({"hidden": [25], "normalization": "group"}, "`hidden` must be even under group .* got 25"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        dense_layers(**arguments)


def test_input_of_another_shape():
    layer = dense_layers([6])[0]
    params = initialized(layer, (Part("input", X, "sample"),))
    with pytest.raises(ValueError, match=r"12 features, .* got shape \(5, 9\)"):
        activity(layer, params, (Part("input", normal(5, 9), "sample"),))


def test_torchs_initializer_is_uniform_within_one_over_root_inputs():
    (layer,) = dense_layers([200], initializer="torch")
    inputs = (Part("input", normal(1, 400), "sample"),)
    kernel = np.array(initialized(layer, inputs)["kernels"]["input"])
    bound = 1 / np.sqrt(400)
    assert 0.99 * bound < np.abs(kernel).max() <= bound
    np.testing.assert_allclose(kernel.std(), bound / np.sqrt(3), rtol=0.02)


IMAGES = normal(3, 6 * 5 * 2)
GRID = Grid(6, 5, 2)


def conv(channels=(4, 6), **options):
    return conv_layers((6, 5, 2), channels, **{"pool": None, "kernel": 3} | options)


@cache
def waves():
    return overlays.image_wave((6, 5, 2))(jax.random.key(5), (60,), 4)


SOME = jnp.asarray(np.asarray(CANDIDATES)[:3])


@pytest.mark.parametrize("candidates", [SOME, None], ids=["two", "all"])
def test_a_factored_convolution_is_the_plain_one(candidates):
    """Of each overlaid image by itself, through Flax's own convolution."""
    layer = conv()[0]
    params = initialized(layer, overlays.parts(waves(), IMAGES))
    tried = jnp.asarray(
        np.tile(np.int32([0, 1, 2, 3]), (3, 1)) if candidates is None else candidates
    )
    plain = nn.Conv(4, (3, 3), use_bias=False)

    def factored(params):
        return activity(layer, params, overlays.parts(waves(), IMAGES), candidates)

    def one_by_one(params):
        found = []
        for i in range(tried.shape[1]):
            x = overlays.overlay_inputs(waves(), IMAGES, tried[:, i]).reshape(3, 6, 5, 2)
            found.append(
                nn.relu(plain.apply({"params": {"kernel": params["kernels"]["input"]}}, x))
            )
        return jnp.stack(found, axis=1)

    out, gradient = value_and_gradient(factored, params)
    expected_out, expected = value_and_gradient(one_by_one, params)
    np.testing.assert_allclose(out, expected_out, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        gradient["kernels"]["input"], expected["kernels"]["input"], rtol=1e-3, atol=1e-4
    )


def test_class_patterns_are_convolved_once_a_step_and_not_once_a_sample():
    layer = conv()[0]
    params = initialized(layer, overlays.parts(waves(), IMAGES))
    traced = jax.make_jaxpr(lambda p, x: activity(layer, p, overlays.parts(waves(), x), SOME))(
        params, IMAGES
    )

    def rows(jaxpr):
        for equation in jaxpr.eqns:
            if equation.primitive.name == "conv_general_dilated":
                yield equation.invars[0].aval.shape[0]
            for value in equation.params.values():
                if hasattr(value, "jaxpr"):
                    yield from rows(value.jaxpr)

    assert sorted(rows(traced.jaxpr)) == [3, 4]


@pytest.mark.parametrize("pool", ["max", "mean"])
def test_pooling_by_hand(pool):
    (layer,) = conv((4,), pool=pool)
    inputs = (Part("input", IMAGES, "sample"),)
    params = initialized(layer, inputs)
    found = activity_of(layer, params, inputs)[:, 0]
    (whole,) = conv((4,))
    unpooled = activity_of(whole, params, inputs)[:, 0]
    blocks = np.array(unpooled)[:, :, :4].reshape(3, 3, 2, 2, 2, 4)
    np.testing.assert_allclose(found, getattr(blocks, pool)(axis=(2, 4)), rtol=1e-5)


def test_winners_are_found_in_each_half_of_the_maps():
    (layer,), (free,) = conv((4,), winners=1), conv((4,))
    inputs = (Part("input", IMAGES, "sample"),)
    params = initialized(layer, inputs)
    found = activity_of(layer, params, inputs)[:, 0].reshape(3, 6, 5, 2, 2)
    halves = activity_of(free, params, inputs)[:, 0].reshape(3, 6, 5, 2, 2)
    expected = np.where(halves == halves.max(axis=(1, 2, 4), keepdims=True), halves, 0)
    np.testing.assert_array_equal(found, expected)


def test_functions_stand_where_names_do():
    """An activation, an initializer and a pooling as functions give what their names give."""
    named = conv((4,), pool="max", activation="tanh", initializer="torch")
    functions = conv(
        (4,),
        pool=lambda maps: nn.max_pool(maps, (2, 2), (2, 2)),
        activation=jnp.tanh,
        initializer=nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform"),
    )
    inputs = (Part("input", IMAGES, "sample"),)
    activities = []
    for (layer,) in (named, functions):
        activities.append(activity_of(layer, initialized(layer, inputs), inputs))
    np.testing.assert_allclose(*activities, rtol=1e-6)  # two programs may round differently


@pytest.mark.parametrize(
    ("options", "sizes"),
    [
        (
            {"channels": (64, 128), "kernel": 7, "stride": 2, "padding": "VALID"},
            [(11, 64), (3, 128)],
        ),
        ({"channels": (8, 8, 8), "pool": "max"}, [(14, 8), (7, 8), (3, 8)]),
        ({"channels": (8, 6), "stride": 2}, [(14, 8), (7, 6)]),
    ],
)
def test_the_sizes_of_maps(options, sizes):
    """The first is the released code's network, on MNIST's images."""
    built = conv_layers((28, 28), **{"pool": None} | options)
    inputs = (Part("input", jnp.zeros((1, 784)), "sample"),)
    for layer, (side, channels) in zip(built, sizes, strict=True):
        params, _ = jax.eval_shape(lambda i=inputs, at=layer: init_layer(at, jax.random.key(0), i))
        h = jax.eval_shape(lambda p, i=inputs, at=layer: activity(at, p, i), params)
        assert h.shape == (1, 1, side, side, channels)
        inputs = (Part("activity", jnp.zeros(h.shape), "candidate"),)


class Separable(nn.Module):
    """A body of a user's: a depthwise and a pointwise convolution."""

    @nn.compact
    def __call__(self, x):
        x = nn.Conv(x.shape[-1], (3, 3), feature_group_count=x.shape[-1])(x)
        return nn.Conv(6, (1, 1))(x)


class Attention(nn.Module):
    """Another: pixels attend to pixels; the result is a plain row of units."""

    @nn.compact
    def __call__(self, x):
        tokens = x.reshape(x.shape[0], -1, x.shape[-1])
        tokens = nn.MultiHeadDotProductAttention(num_heads=2, qkv_features=4)(nn.Dense(4)(tokens))
        return nn.Dense(8)(tokens.mean(axis=1))


@pytest.mark.parametrize(("body", "units"), [(Separable(), (6, 5, 6)), (Attention(), (8,))])
def test_any_flax_module_is_a_body_of_images(body, units):
    layer = Layer(body, grid=GRID)
    parts = overlays.parts(waves(), IMAGES)
    params = initialized(layer, parts)
    found = activity_of(layer, params, parts, SOME)
    assert found.shape == (3, 2, *units)

    @jax.jit
    def plain(params):
        x = overlays.overlay_inputs(waves(), IMAGES, SOME[:, 1]).reshape(3, 6, 5, 2)
        return nn.relu(body.apply({"params": params["body"]}, x))

    expected = plain(params)
    np.testing.assert_allclose(found[:, 1], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: conv(()), "`channels` must name at least one layer"),
        (lambda: conv((0,)), "`channels`"),
        (lambda: conv(kernel=0), "`kernel` must be"),
        (lambda: conv(stride=0), "`stride` must be"),
        (lambda: conv((4, 4, 4, 4), pool="max"), "`channels` must leave something of images"),
        (lambda: Layer(nn.Dense(3), pool="max"), "`grid` must be given with pooling"),
        (lambda: GRID.read(jnp.zeros((2, 59)), 1), "must have rows of 6 x 5 x 2 features"),
    ],
)
def test_bad_convolutions(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_convolution_takes_no_appended_label():
    with pytest.raises(ValueError, match="be one image under a convolution"):
        init_layer(
            conv()[0],
            jax.random.key(0),
            (Part("input", IMAGES, "sample"), Part("label", jnp.zeros((4, 7)), "class")),
        )
