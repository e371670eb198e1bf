"""Against quadprog, an independent solver, in double precision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import quadprog
from hypothesis import given
from hypothesis import strategies as st

from sffa_jax.continual.quadratic_program import nonnegative_minimum
from sffa_jax.continual.strategies.gem import project


def oracle(references, gradient, strength=0.0, ridge=1e-9):
    """GEM's projection by quadprog, as Lopez-Paz & Ranzato state it (with a small ridge)."""
    g, m = np.float64(gradient), np.float64(references)
    if np.all(m @ g >= 0):
        return g
    if not strength:  # lengths do not matter then, and quadprog is better off without them
        m = m / np.maximum(np.linalg.norm(m, axis=1, keepdims=True), 1e-30)
    p = m @ m.T
    p = (p + p.T) / 2 + ridge * max(np.diag(p).max(), 1e-30) * np.eye(len(m))
    v = quadprog.solve_qp(p, -m @ g, np.eye(len(m)), np.full(len(m), float(strength)))[0]
    return g + v @ m


@given(
    seed=st.integers(0, 10_000), n=st.sampled_from([1, 2, 4, 7]), strength=st.sampled_from([0, 0.5])
)
def test_projection_is_quadprogs(seed, n, strength):
    rng = np.random.default_rng(seed)
    references, gradient = rng.normal(size=(n, 12)), rng.normal(size=12)
    found = np.asarray(jit_project(jnp.float32(gradient), jnp.float32(references), float(strength)))
    expected = oracle(np.float32(references), np.float32(gradient), strength)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=2e-4)


jit_project = jax.jit(project)


DEGENERATE = {
    "parallel": [[1.0, 0, 0], [2.0, 0, 0], [1.0, 1, 0]],
    "the same": [[1.0, 1, 0], [1.0, 1, 0]],
    "zero": [[0.0, 0, 0], [1.0, 2, 0]],
    "all zero": [[0.0, 0, 0], [0.0, 0, 0]],
    "opposed": [[1.0, 0, 0], [-1.0, 0, 0]],
    "more than dimensions": [[1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0], [1.0, 1, 1], [1.0, -1, 0]],
    "large and small": [[1e3, 0, 0], [0, 1e-1, 0]],
}


@pytest.mark.parametrize("references", DEGENERATE.values(), ids=DEGENERATE)
@pytest.mark.parametrize("gradient", [[-1.0, -2, 0.5], [1.0, 0.5, 2], [-1.0, 1, -1]], ids=str)
def test_degenerate_references(references, gradient):
    g, m = np.array(gradient, np.float32), np.array(references, np.float32)
    found = np.asarray(jit_project(jnp.asarray(g), jnp.asarray(m)))
    np.testing.assert_allclose(found, oracle(m, g, ridge=1e-9), atol=5e-3)
    lengths = np.maximum(np.linalg.norm(m, axis=1), 1e-9)
    assert np.all(m @ found / lengths >= -2e-3), "agrees with every reference"


@given(seed=st.integers(0, 10_000), n=st.sampled_from([2, 5]), rank=st.sampled_from([1, 2, 5]))
def test_the_minimum_satisfies_the_conditions_of_optimality(seed, n, rank):
    """v >= 0, slope >= 0, and one of the two is 0 for each variable (Karush, Kuhn, Tucker)."""
    rng = np.random.default_rng(seed)
    factor = rng.normal(size=(n, rank))
    p = jnp.float32(factor @ factor.T)
    # A slope in the range of P: otherwise there is no minimum without the ridge.
    q = jnp.float32(factor @ rng.normal(size=rank))
    v = np.asarray(jit_minimum(p, q))
    slope = np.asarray(p) @ v + np.asarray(q)
    scale = np.abs(np.asarray(q)).max()
    assert np.all(v >= 0)
    assert np.all(slope >= -1e-2 * scale)
    assert np.all((v < 1e-4) | (np.abs(slope) < 1e-2 * scale))


jit_minimum = jax.jit(nonnegative_minimum)


def test_it_runs_for_many_problems_at_once():
    rng = np.random.default_rng(0)
    factors = rng.normal(size=(20, 4, 6))
    p, q = jnp.float32(factors @ factors.transpose(0, 2, 1)), jnp.float32(rng.normal(size=(20, 4)))
    together = jax.vmap(nonnegative_minimum)(p, q)
    alone = jnp.stack([jit_minimum(a, b) for a, b in zip(p, q, strict=True)])
    np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-5)


def test_a_gradient_that_agrees_is_left_alone():
    g = jnp.array([1.0, 2.0])
    assert project(g, jnp.array([[1.0, 0.0], [0.0, 1.0]]), 0.5).tolist() == g.tolist()
