from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from jax.test_util import check_grads

from sffa_jax.core import goodness

ACTIVITY = hnp.arrays(np.float32, 8, elements=st.floats(0, 100, width=32))


@given(ACTIVITY)
def test_energy_matches_the_formula(h):
    logits = goodness.energy(jnp.array(h), threshold=2.0)
    mean_square = float(np.mean(np.float64(h) ** 2))
    np.testing.assert_allclose(logits, mean_square - 2.0, rtol=1e-5, atol=1e-5)


@given(ACTIVITY)
def test_polar_ratio_is_the_papers_goodness(h):
    logits = goodness.polar_ratio(jnp.array(h), eps=1e-3)
    expected = oracles.sffa_probability(h, 1e-3)
    np.testing.assert_allclose(jax.nn.sigmoid(logits), expected, rtol=2e-4, atol=1e-6)


def test_probabilities_at_known_points():
    h = jnp.array([1.0, 3.0, 2.0, 1.0])
    assert jax.nn.sigmoid(goodness.energy(h, threshold=3.75)) == pytest.approx(0.5)
    assert jax.nn.sigmoid(goodness.polar_ratio(h)) == pytest.approx(10 / 15)
    assert goodness.polar_ratio(h, logit_scale=3.0) == pytest.approx(3 * np.log(2), rel=1e-6)


@given(ACTIVITY, st.sampled_from(sorted(goodness.MEASURES)))
def test_exchanging_the_halves_negates_the_logits_exactly(h, name):
    swapped = np.concatenate([h[4:], h[:4]])
    a = goodness.polar_ratio(jnp.array(h), logit_scale=6.0, eps=1.0, measure=name)
    b = goodness.polar_ratio(jnp.array(swapped), logit_scale=6.0, eps=1.0, measure=name)
    np.testing.assert_array_equal(a, -b)


def test_symmetry_of_loss_and_gradient_norm():
    """Positive loss on (P, N) equals negative loss on (N, P), and so do the gradient norms."""
    h = jax.random.uniform(jax.random.key(0), (8,))
    swapped = jnp.concatenate([h[4:], h[:4]])
    positive = jax.value_and_grad(lambda h: jax.nn.softplus(-goodness.polar_ratio(h)))(h)
    negative = jax.value_and_grad(lambda h: jax.nn.softplus(goodness.polar_ratio(h)))(swapped)
    np.testing.assert_array_equal(positive[0], negative[0])
    np.testing.assert_allclose(
        jnp.linalg.norm(positive[1]), jnp.linalg.norm(negative[1]), rtol=1e-6
    )


@pytest.mark.parametrize("name", sorted(goodness.MEASURES))
@pytest.mark.parametrize("function", [goodness.energy, goodness.polar_ratio])
def test_finite_at_zero_activity(function, name):
    value, gradient = jax.value_and_grad(partial(function, measure=name))(jnp.zeros(6))
    assert np.isfinite(value)
    np.testing.assert_array_equal(gradient, np.zeros(6))


def test_odd_width_is_refused():
    with pytest.raises(ValueError, match=r"even last axis.*shape \(7,\).*even layer width"):
        goodness.polar_ratio(jnp.ones(7))


@given(ACTIVITY, st.sampled_from(sorted(goodness.MEASURES)))
def test_the_whole_family_matches_its_formulas(h, name):
    plus, minus = oracles.measure(h[:4], name), oracles.measure(h[4:], name)
    near = {"rtol": 1e-4, "atol": 1e-4}
    logits = goodness.energy(jnp.array(h), threshold=0.5, logit_scale=2.0, measure=name)
    np.testing.assert_allclose(logits, 2 * (oracles.measure(h, name) - 0.5), **near)
    logits = goodness.polar_ratio(jnp.array(h), eps=0.1, logit_scale=2.0, measure=name)
    np.testing.assert_allclose(logits, 2 * np.log((plus + 0.1) / (minus + 0.1)), **near)


@pytest.mark.parametrize("name", sorted(goodness.MEASURES))
def test_the_ratio_of_every_measure_is_symmetric(name):
    polar = goodness.polar_ratio
    h = jax.random.uniform(jax.random.key(2), (5, 8))
    swapped = jnp.concatenate([h[:, 4:], h[:, :4]], axis=1)
    np.testing.assert_array_equal(polar(h, measure=name), -polar(swapped, measure=name))


@pytest.mark.parametrize("shape", [(3, 6), (2, 4, 5, 6)])
@pytest.mark.parametrize("name", sorted(goodness.MEASURES))
def test_the_gradient_of_the_ratio_is_that_of_the_plain_formula(name, shape):
    """Bit by bit in reverse mode; in forward mode, which sums in another order, up to rounding."""
    h, t = (jax.random.uniform(jax.random.key(k), shape) for k in (3, 4))
    unit_axes = len(shape) - 1
    ratio = partial(goodness.polar_ratio, logit_scale=2.0, eps=0.1, unit_axes=unit_axes)

    @partial(jax.jit, static_argnums=0)
    def derivatives(measure, h, t):
        def total(h):
            return jnp.sum(ratio(h, measure=measure))

        return jax.grad(total)(h), jax.jvp(total, (h,), (t,))[1]

    def other(h, unit_axes=1):
        return goodness.MEASURES[name](h, unit_axes)

    ours, forward = derivatives(name, h, t)
    plain, plain_forward = derivatives(other, h, t)
    np.testing.assert_array_equal(ours, plain)
    np.testing.assert_allclose(forward, plain_forward, rtol=1e-5)


def test_unknown_measure():
    with pytest.raises(
        ValueError,
        match=r"energy: `measure` must be one of mean_square, .* got 'median'. A function",
    ):
        goodness.energy(jnp.ones(4), measure="median")


@given(
    st.lists(st.integers(1, 4), max_size=2),
    st.integers(1, 5),
    st.sampled_from(["float16", "bfloat16", "float32"]),
    st.sampled_from(sorted(goodness.MEASURES)),
)
def test_shapes_and_dtypes_pass_through(lead, half, dtype, name):
    h = jax.ShapeDtypeStruct((*lead, 2 * half), dtype)
    for function in (goodness.energy, goodness.polar_ratio):
        logits = jax.eval_shape(lambda h, of=function: of(h, measure=name), h)
        assert logits.shape == tuple(lead)
        assert logits.dtype == h.dtype


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("function", [goodness.energy, goodness.polar_ratio])
def test_logits_are_finite_in_every_precision(function, dtype):
    for name in goodness.MEASURES:
        logits = jax.jit(lambda h, of=name: function(h, measure=of))(jnp.ones((3, 10), dtype))
        assert np.isfinite(np.float32(logits)).all()


@pytest.mark.parametrize("name", sorted(goodness.MEASURES))
@pytest.mark.parametrize("function", [goodness.energy, goodness.polar_ratio])
def test_gradients_of_every_measure_match_finite_differences(function, name):
    with jax.enable_x64(True):
        h = jax.random.uniform(jax.random.key(1), (6,), jnp.float64) + 0.1
        of = lambda h: function(jnp.asarray(h), measure=name)  # noqa: E731
        check_grads(of, (h,), order=1, modes=["rev"], atol=1e-6, rtol=1e-6)


def test_a_function_is_a_measure():
    h = jnp.array([[3.0, -4.0], [1.0, 0.0]])
    logits = goodness.energy(h, threshold=1.0, measure=lambda h: jnp.sum(jnp.abs(h), axis=-1))
    np.testing.assert_allclose(logits, [6.0, 0.0])
