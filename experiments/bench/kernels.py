"""The benchmark's single operations: winners' thresholds and products of sparse activity."""

from typing import Any

import jax
import jax.numpy as jnp

from experiments.bench.timing import Timed, compiled, records_of
from sffa_jax.core import winners


def measure_winners(repeats: int) -> list[dict[str, Any]]:
    """Every way to find the winners' threshold."""
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
    return records_of(programs, repeats)


def measure_sparse(repeats: int) -> list[dict[str, Any]]:
    """Whether a deeper layer gains by using that few units below are active.

    The product and its weight gradient: dense; of the active units' rows alone, their places given;
    and the product with the places found first.
    """
    h = winners.keep_winners(jax.nn.relu(jax.random.normal(jax.random.key(0), (1024, 1400))), 15)
    kernel, gradient = (
        jax.random.normal(jax.random.key(i), (n, 1400)) for i, n in ((1, 1400), (2, 1024))
    )
    values, places = jax.lax.top_k(h, 30)

    def gathered(values: jax.Array, places: jax.Array, kernel: jax.Array) -> jax.Array:
        def add(total: jax.Array, one: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
            value, place_of = one
            return total + value[:, None] * kernel[place_of], None

        total, _ = jax.lax.scan(add, jnp.zeros((1024, 1400)), (values.T, places.T))
        return total

    def found(h: jax.Array, kernel: jax.Array) -> jax.Array:
        places = jax.vmap(lambda row: jnp.flatnonzero(row, size=30))(h)
        return gathered(jnp.take_along_axis(h, places, axis=1), places, kernel)

    def scattered(values: jax.Array, places: jax.Array, gradient: jax.Array) -> jax.Array:
        def add(total: jax.Array, one: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
            value, place_of = one
            return total.at[place_of].add(value[:, None] * gradient), None

        total, _ = jax.lax.scan(add, jnp.zeros((1400, 1400)), (values.T, places.T))
        return total

    calls: dict[str, tuple[Any, ...]] = {
        "product, dense": (jnp.matmul, h, kernel),
        "product, gathered": (gathered, values, places, kernel),
        "product, places found and gathered": (found, h, kernel),
        "weight gradient, dense": (lambda h, g: h.T @ g, h, gradient),
        "weight gradient, scattered": (scattered, values, places, gradient),
    }
    programs = [
        Timed({"case": "sparse", "algorithm": name}, compiled(*call)[0], {})
        for name, call in calls.items()
    ]
    return records_of(programs, repeats)
