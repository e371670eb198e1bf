"""The kernel for GPUs, interpreted by JAX on a CPU."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sffa_jax.core import winners, winners_gpu

ROWS = hnp.arrays(
    np.float32, (3, 70), elements=st.sampled_from([-np.inf, -3, -0.5, 0, 1, 2, 2.5, 7, np.inf])
)
ANY = hnp.arrays(
    np.float32, (3, 70), elements=st.floats(allow_nan=False, allow_subnormal=False, width=32)
)


def interpreted(h, k):
    return winners_gpu.kth_in_registers(h, k, interpret=True)


kernel = jax.jit(interpreted, static_argnums=1)


def expected(h, k):
    return np.sort(np.asarray(h, np.float64), axis=-1)[..., -k][..., None]


@pytest.mark.parametrize("k", [1, 7, 70])
@settings(max_examples=30)
@given(h=ROWS | ANY)
def test_exact_on_ties_and_infinities(k, h):
    np.testing.assert_array_equal(kernel(jnp.array(h), k), expected(h, k))


# One value, one piece, two pieces, a full power of two, several warps.
@pytest.mark.parametrize("units", [1, 33, 700, 1024, 5000])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
def test_any_length_and_precision(units, dtype):
    h = np.random.default_rng(units).normal(size=(2, 2, units)).astype(dtype)
    h[0, 0] = np.maximum(h[0, 0], 0)
    ranks = sorted({1, (units + 1) // 2, units})
    found = jax.jit(lambda h: [interpreted(h, k) for k in ranks])(h)
    for k, threshold in zip(ranks, found, strict=True):
        np.testing.assert_array_equal(threshold, expected(h, k))


def test_float64():
    with jax.enable_x64(True):
        h = jnp.array(np.random.default_rng(0).normal(size=(3, 50)))
        np.testing.assert_array_equal(kernel(h, 4), expected(h, 4))


@pytest.mark.parametrize("value", [0.0, -0.0, -1.5, np.inf, -np.inf])
def test_equal_rows(value):
    h = jnp.asarray(np.full((2, 700), value, np.float32))
    np.testing.assert_array_equal(kernel(h, 15), expected(h, 15))


def test_mapped_and_scanned():
    h = jnp.array(np.random.default_rng(0).normal(size=(2, 3, 4, 70)), jnp.float32)
    threshold = jax.vmap(lambda rows: interpreted(rows, 5), in_axes=1, out_axes=1)
    scanned = jax.jit(lambda h: jax.lax.scan(lambda c, rows: (c, threshold(rows)), 0, h)[1])(h)
    np.testing.assert_array_equal(scanned, expected(h, 5))


def test_chosen_on_a_gpu_alone(monkeypatch):
    def uses_kernel(units):
        program = jax.make_jaxpr(lambda h: winners.kth_largest(h, 15))
        return "pallas_call" in str(program(np.ones((2, units), np.float32)))

    monkeypatch.setattr(jax, "default_backend", lambda: "cpu")
    assert not uses_kernel(700)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert uses_kernel(700)
    assert not uses_kernel(winners_gpu.LONGEST_ROW + 1)


@pytest.mark.skipif(jax.__version_info__ >= (0, 11), reason="lowering needs a GPU from 0.11 on")
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_triton_takes_the_kernel(dtype):
    def program(h):
        return jax.vmap(lambda rows: winners_gpu.kth_in_registers(rows, 15))(h)

    traced = jax.jit(program).trace(np.ones((2, 4, 700), dtype))
    assert "triton" in traced.lower(lowering_platforms=("cuda",)).as_text()
