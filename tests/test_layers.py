"""A factored layer is the plain layer: same values, same gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from sffa_jax import layers, overlays
from sffa_jax.overlays import Part

X = jax.random.normal(jax.random.key(0), (5, 12))
CANDIDATES = jnp.array([[0, 1], [3, 2], [1, 0], [2, 3], [0, 3]])
OVERLAYS = {
    "corner": overlays.corner_one_hot(12, 4),
    "pattern": overlays.appended_pattern(jax.random.key(1), 4, size=7, density=0.4),
    "gaussian": overlays.appended_gaussian(jax.random.key(1), 4, size=3),
}


def plain_kernel(params):
    return jnp.concatenate(list(params["kernels"].values()))


@pytest.mark.parametrize("candidates", [CANDIDATES, None], ids=["two", "all"])
@pytest.mark.parametrize("name", OVERLAYS)
def test_factored_equals_plain(name, candidates):
    overlay = OVERLAYS[name]
    layer = layers.Layer(nn.Dense(6, bias_init=nn.initializers.normal()))
    params = layers.init_layer(layer, jax.random.key(2), overlays.parts(overlay, X))
    tried = jnp.broadcast_to(jnp.arange(4), (5, 4)) if candidates is None else candidates

    def factored(params):
        return layers.activity(layer, params, overlays.parts(overlay, X), candidates)

    def plain(params):
        columns = [
            nn.relu(
                overlays.overlay_inputs(overlay, X, tried[:, i]) @ plain_kernel(params)
                + params["bias"][None]
            )
            for i in range(tried.shape[1])
        ]
        return jnp.stack(columns, axis=1)

    np.testing.assert_allclose(factored(params), plain(params), rtol=1e-5, atol=1e-6)
    weights = jax.random.normal(jax.random.key(3), factored(params).shape)
    a = jax.grad(lambda p: jnp.sum(weights * factored(p)))(params)
    b = jax.grad(lambda p: jnp.sum(weights * plain(p)))(params)
    for left, right in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-4, atol=1e-5)


def test_the_kernel_is_initialised_as_if_it_were_not_factored():
    layer = layers.dense_layers([6])[0]
    params = layers.init_layer(layer, jax.random.key(2), overlays.parts(OVERLAYS["pattern"], X))
    whole = layer.body.init(jax.random.key(2), jnp.zeros(19))["params"]["kernel"]
    np.testing.assert_array_equal(plain_kernel(params), whole)


def test_the_image_meets_the_kernel_once():
    """One product over the batch's rows, however many candidates there are."""
    layer = layers.dense_layers([6])[0]
    inputs = overlays.parts(OVERLAYS["pattern"], X)
    params = layers.init_layer(layer, jax.random.key(2), inputs)
    jaxpr = jax.make_jaxpr(lambda p: layers.activity(layer, p, inputs))(params)
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
    layer, overlay = layers.Layer(TwoLinear()), OVERLAYS["pattern"]
    inputs = overlays.parts(overlay, X)
    params = layers.init_layer(layer, jax.random.key(2), inputs)
    h = layers.activity(layer, params, inputs, CANDIDATES)
    for i in range(2):
        x = overlays.overlay_inputs(overlay, X, CANDIDATES[:, i])
        expected = nn.relu(layer.body.apply({"params": params}, x))
        np.testing.assert_allclose(h[:, i], expected, rtol=1e-5, atol=1e-6)


def test_a_convolution_factors_too():
    images = jax.random.normal(jax.random.key(4), (3, 6, 6, 2))
    patterns = jax.random.normal(jax.random.key(5), (4, 6, 6, 2))
    layer = layers.Layer(nn.Conv(4, (3, 3), strides=2))
    inputs = (Part("input", images, "sample"), Part("input", patterns, "class"))
    params = layers.init_layer(layer, jax.random.key(6), inputs)
    h = layers.activity(layer, params, inputs)
    whole = {"params": {"kernel": params["kernels"]["input"], "bias": params["bias"]}}
    for label in range(4):
        expected = nn.relu(layer.body.apply(whole, images + patterns[label][None]))
        np.testing.assert_allclose(h[:, label], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"hidden": []}, r"`hidden` must name at least one width"),
        ({"hidden": [0]}, r"`hidden` must be at least 1, got 0"),
        ({"hidden": [10], "winners": 6}, r"`winners` must be at most half of .* 10 units, got 6"),
        ({"hidden": [10], "activation": "gelu"}, r"`activation` must be one of relu, sigmoid"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        layers.dense_layers(**arguments)


def test_input_of_another_shape():
    layer = layers.dense_layers([6])[0]
    params = layers.init_layer(layer, jax.random.key(0), (Part("input", X, "sample"),))
    with pytest.raises(ValueError, match=r"12 features, .* got shape \(5, 9\)"):
        layers.activity(layer, params, (Part("input", X[:, :9], "sample"),))


def test_torchs_initialiser_is_uniform_within_one_over_root_inputs():
    (layer,) = layers.dense_layers([200], initialiser="torch")
    inputs = (Part("input", jnp.zeros((1, 400)), "sample"),)
    kernel = np.array(layers.init_layer(layer, jax.random.key(0), inputs)["kernels"]["input"])
    bound = 1 / np.sqrt(400)
    assert 0.99 * bound < np.abs(kernel).max() <= bound
    np.testing.assert_allclose(kernel.std(), bound / np.sqrt(3), rtol=0.02)
