"""A small quadratic program, solved exactly, under jit."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

RIDGE = 1e-6
"""Added to P's diagonal, relative to each of its entries, so that parallel and vanishing directions
(a P without full rank) also have one solution."""


class _Search(NamedTuple):
    """Attributes: v: feasible point; free: variables not fixed at 0; rounds: solves so far."""

    v: Float[Array, " n"]
    free: Bool[Array, " n"]
    done: Bool[Array, ""]
    rounds: Int[Array, ""]


def nonnegative_minimum(
    curvature: Float[Array, "n n"], slope: Float[Array, " n"]
) -> Float[Array, " n"]:
    """argmin over v >= 0 of v' P v / 2 + q' v, by Lawson and Hanson's active sets.

    Each round frees the variable with the steepest descent, solves for the free variables, and
    fixes at 0 those that would become negative. Each solve is n by n. No set of free variables
    repeats, so the method ends at the exact minimum.

    Args:
      curvature: P, symmetric, positive semi-definite.
      slope: q.

    Returns:
      v [n].

    Reference: Lawson & Hanson 1974, Solving Least Squares Problems, chapter 23.
    """
    n = slope.shape[0]
    # Scaled so that P has a diagonal of 1 and q is at most 1, which gives the tolerance a meaning.
    diagonal = jnp.diagonal(curvature)
    unit = jnp.sqrt(jnp.where(diagonal > 0, diagonal, 1.0))
    p = curvature / (unit[:, None] * unit[None]) + RIDGE * jnp.eye(n, dtype=slope.dtype)
    q = jnp.where(diagonal > 0, slope, 0.0) / unit
    size = jnp.maximum(jnp.max(jnp.abs(q)), jnp.finfo(slope.dtype).tiny)
    q = q / size
    tolerance = 10 * n * jnp.finfo(slope.dtype).eps

    def solve(free: Array) -> Array:
        both = free[:, None] & free[None]
        system = jnp.where(both, p, jnp.eye(n, dtype=p.dtype))
        return jnp.linalg.solve(system, jnp.where(free, -q, 0.0))

    def retreat(state: tuple[Array, Array, Array, Array]) -> tuple[Array, Array, Array, Array]:
        # Move toward the target until a variable reaches 0; fix that variable at 0.
        v, free, target, count = state
        blocking = free & (target <= 0)
        steps = jnp.where(blocking, v / jnp.where(blocking, v - target, 1.0), jnp.inf)
        v = v + jnp.min(steps) * (target - v)
        free = free & ~(blocking & (steps <= jnp.min(steps)))
        v = jnp.where(free, v, 0.0)
        return v, free, solve(free), count + 1

    def advance(search: _Search) -> _Search:
        promise = jnp.where(search.free, -jnp.inf, -(p @ search.v + q))
        best = jnp.argmax(promise)
        done = promise[best] <= tolerance
        free = jnp.where(done, search.free, search.free.at[best].set(True))
        _, free, target, _ = jax.lax.while_loop(
            lambda s: jnp.any(s[1] & (s[2] <= 0)) & (s[3] < n),
            retreat,
            (search.v, free, solve(free), jnp.int32(0)),
        )
        return _Search(
            jnp.where(done, search.v, jnp.maximum(target, 0.0)), free, done, search.rounds + 1
        )

    # Limits the rounds, because rounding can free and fix a variable forever.
    start = _Search(jnp.zeros_like(slope), jnp.zeros(n, bool), jnp.bool_(False), jnp.int32(0))
    end = jax.lax.while_loop(lambda s: ~s.done & (s.rounds < 3 * n + 3), advance, start)
    return end.v * size / unit
