from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from unchecked import no_shape_checks

from sffa_jax import sffa
from sffa_jax.core import winners

# Few distinct values make ties common.
ROWS = hnp.arrays(
    np.float32, (3, 40), elements=st.sampled_from([-np.inf, -3, -0.5, 0, 1, 2, 2.5, 7, np.inf])
)
ANY = hnp.arrays(
    np.float32, (3, 40), elements=st.floats(allow_nan=False, allow_subnormal=False, width=32)
)


keep_winners = jax.jit(winners.keep_winners, static_argnums=1)


def check_kth(kernel, h, k):
    expected = np.sort(h, axis=-1)[:, -k][:, None]
    np.testing.assert_array_equal(jax.jit(kernel, static_argnums=1)(h, k), expected)


# 2 of 40 makes groups, 40 of 40 takes all; few values of k, as each compiles a program.
@pytest.mark.parametrize("k", [1, 2, 7, 40])
@pytest.mark.parametrize("kernel", [*winners.KERNELS.values(), winners.kth_largest])
@given(h=ROWS | ANY)
def test_kth_largest_is_exact_on_ties_and_infinities(kernel, k, h):
    check_kth(kernel, h, k)


@pytest.mark.parametrize("kernel", winners.KERNELS.values())
@pytest.mark.parametrize("value", [0.0, 1.5, np.inf, -np.inf])
def test_equal_rows(kernel, value):
    check_kth(kernel, np.full((2, 700), value, np.float32), 15)


@pytest.mark.parametrize("kernel", winners.KERNELS.values())
def test_winners_that_share_groups_are_found(kernel):
    """Groups are strides of the row: here the largest values all lie in three of them."""
    h = np.random.default_rng(0).normal(size=(4, 700)).astype(np.float32)
    h[:, [i + j * 100 for i in range(3) for j in range(7)]] += 10
    check_kth(kernel, h, 15)


@pytest.mark.parametrize("kernel", winners.KERNELS.values())
def test_other_precisions(kernel):
    h = np.array([[1, -2, 3, 0.5, 2, -0.25, 7, 6]], jnp.bfloat16)
    check_kth(kernel, h, 3)
    with jax.enable_x64(True):
        check_kth(kernel, np.random.default_rng(1).normal(size=(2, 50)), 4)


@pytest.mark.parametrize("k", [1, 33])
def test_no_rows_have_no_winners(k):
    assert winners.kth_largest(jnp.zeros((0, 40)), k).shape == (0, 1)
    assert winners.keep_largest(jnp.zeros((2, 0, 40)), k).shape == (2, 0, 40)


def test_rows_of_other_values_are_refused():
    with pytest.raises(TypeError, match="`h` must be floats, got int32"), no_shape_checks():
        winners.kth_largest(jnp.arange(6).reshape(2, 3), 1)
    with pytest.raises(ValueError, match=r"`h` must have at least one value .*, got shape"):
        winners.kth_largest(jnp.zeros((2, 0)), 1)


def test_nan_stays():
    assert np.isnan(keep_winners(np.full((1, 6), np.nan, np.float32), 1)).all()


@pytest.mark.parametrize(
    ("keep", "expected"),
    [
        (winners.keep_largest, [4, 0, 0, 0]),
        (partial(winners.keep_winners, simple=False), [4, 0, 0, 2]),
    ],
)
def test_nan_in_one_row_leaves_the_others(keep, expected):
    rows = jnp.array([[np.nan, 1, 2, 3], [4, 3, 1, 2]])
    np.testing.assert_array_equal(jax.jit(keep, static_argnums=1)(rows, 1)[1], expected)


@given(hnp.arrays(np.float32, 12, elements=st.floats(0, 9, width=32)), st.integers(1, 6))
def test_keep_winners_matches_numpy(h, k):
    np.testing.assert_array_equal(keep_winners(h, k), oracles.k_winners(h, k))


def test_gradient_flows_through_winners_alone():
    h = np.array([1.0, 3.0, 2.0, 5.0, 4.0, 6.0], np.float32)
    gradient = jax.jit(jax.grad(lambda h: winners.keep_winners(h, 1).sum()))(h)
    np.testing.assert_array_equal(gradient, [0, 1, 0, 0, 0, 1])


def test_too_many_winners():
    with pytest.raises(ValueError, match=r"`k` must be at most half of the layer's 6 units, got 4"):
        keep_winners(np.ones((1, 6), np.float32), 4)


@pytest.mark.parametrize("name", ["sum_square", "mean_square"])
def test_a_measure_of_winners_counts_the_winners_alone(name):
    """SFFA's logit of it is the logit of a layer whose other units are silent."""
    h = np.random.default_rng(0).uniform(size=(5, 8)).astype(np.float32)
    both = jax.jit(
        lambda h: (
            sffa(measure=winners.measure_of_winners(name, 2)).logit(h),
            sffa(measure=name).logit(winners.keep_winners(h, 2)),
        )
    )
    np.testing.assert_allclose(*both(h), rtol=1e-6)


def normalized(x):
    centered = x - x.mean(0, keepdims=True)
    return jax.nn.relu(centered / jnp.sqrt((centered**2).mean(0, keepdims=True) + 1e-5))


def test_no_winner_falls_below_its_own_threshold():
    """XLA may round the activity that gives the threshold otherwise than the compared one."""
    x = jax.random.normal(jax.random.key(0), (320, 64)) @ jax.random.normal(
        jax.random.key(1), (64, 64)
    )

    def winners_of(x):
        return winners.keep_winners(normalized(x), 6, simple=False)

    kept = winners_of(x), jax.jit(winners_of)(x)
    active = [np.count_nonzero(h, axis=-1) for h in kept]
    np.testing.assert_array_equal(*active)
    np.testing.assert_allclose(*kept, rtol=1e-4, atol=1e-5)
    largest = np.sort(np.float64(normalized(x)), axis=-1)[:, -6:]
    measure = jax.jit(lambda x: winners.measure_of_winners("sum_square", 6)(normalized(x)))
    np.testing.assert_allclose(measure(x), np.square(largest).sum(axis=-1), rtol=1e-4)


@pytest.mark.parametrize("k", [1, 3])
def test_long_rows(k):
    """Their groups are at most `LONGEST` long, so that they compile in time."""
    rows = np.random.default_rng(2).normal(size=(3, 7001)).astype(np.float32)
    check_kth(winners.kth_by_groups, rows, k)
    jaxpr = jax.make_jaxpr(partial(winners.kth_by_groups, k=k))(rows)
    assert len(jaxpr.eqns) < 6 * winners.LONGEST
