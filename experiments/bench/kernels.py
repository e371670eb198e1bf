"""Times single operations: thresholds of winners, and products of sparse activity."""

from typing import Any

import jax
import jax.numpy as jnp

from experiments.bench.timing import Timed, compiled, timed_records
from sffa_jax.core import winners


def measure_winners(repeats: int) -> list[dict[str, Any]]:
    """Times every algorithm for the winners' threshold."""
    h = jax.nn.relu(jax.random.normal(jax.random.key(0), (2048, 700)))
    kernels = dict(winners.KERNELS)
    if jax.default_backend() == "gpu":
        from sffa_jax.core.winners_gpu import kth_in_registers

        kernels["registers"] = kth_in_registers
    programs = [
        Timed(
            {"case": "winners", "algorithm": name, "winners": k},
            compiled(lambda h, kernel=kernel, k=k: kernel(h, k), h)[0],
            {},
        )
        for k in (15, 100)
        for name, kernel in kernels.items()
    ]
    return timed_records(programs, repeats)


def measure_sparse(repeats: int) -> list[dict[str, Any]]:
    """Times products of sparse and of dense activity: can a layer use the sparsity of its input?

    The matrix product and its weight gradient are computed densely, and from the rows of the active
    units only; the product also with the search for the active units.
    """
    h = winners.keep_winners(jax.nn.relu(jax.random.normal(jax.random.key(0), (1024, 1400))), 15)
    kernel, gradient = (
        jax.random.normal(jax.random.key(i), (n, 1400)) for i, n in ((1, 1400), (2, 1024))
    )
    values, indices = jax.lax.top_k(h, 30)

    def gathered(values: jax.Array, indices: jax.Array, kernel: jax.Array) -> jax.Array:
        def add(total: jax.Array, unit: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
            value, index = unit
            return total + value[:, None] * kernel[index], None

        total, _ = jax.lax.scan(add, jnp.zeros((1024, 1400)), (values.T, indices.T))
        return total

    def searched(h: jax.Array, kernel: jax.Array) -> jax.Array:
        indices = jax.vmap(lambda row: jnp.flatnonzero(row, size=30))(h)
        return gathered(jnp.take_along_axis(h, indices, axis=1), indices, kernel)

    def scattered(values: jax.Array, indices: jax.Array, gradient: jax.Array) -> jax.Array:
        def add(total: jax.Array, unit: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
            value, index = unit
            return total.at[index].add(value[:, None] * gradient), None

        total, _ = jax.lax.scan(add, jnp.zeros((1400, 1400)), (values.T, indices.T))
        return total

    calls: dict[str, tuple[Any, ...]] = {
        "product, dense": (jnp.matmul, h, kernel),
        "product, gathered": (gathered, values, indices, kernel),
        "product, places found and gathered": (searched, h, kernel),
        "weight gradient, dense": (lambda h, g: h.T @ g, h, gradient),
        "weight gradient, scattered": (scattered, values, indices, gradient),
    }
    programs = [
        Timed({"case": "sparse", "algorithm": name}, compiled(*call)[0], {})
        for name, call in calls.items()
    ]
    return timed_records(programs, repeats)
