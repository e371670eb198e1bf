"""The benchmark's single operations: winners' thresholds, products of sparse activity, and the
weight gradient of a convolution."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from experiments.timing import Timed, compiled, records_of
from sffa_jax import winners
from sffa_jax.convolution import DIMENSIONS, convolve


def measure_winners(repeats: int) -> list[dict[str, Any]]:
    """Every way to find the winners' threshold."""
    h = jax.nn.relu(jax.random.normal(jax.random.key(0), (2048, 700)))
    programs = [
        Timed(
            {"case": "winners", "algorithm": name, "winners": k},
            compiled(lambda h, kernel=kernel, k=k: kernel(h, k), h)[0],
            {},
        )
        for k in (15, 100)
        for name, kernel in winners.KERNELS.items()
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


CONVOLUTIONS = {
    "28x28, 1 to 64 channels, kernel 7, stride 2": (28, 1, 64, 7, 2),
    "14x14, 32 to 64 channels, kernel 3": (14, 32, 64, 3, 1),
}
"""Side and channels of the images, channels, kernel and stride of a layer."""


def measure_convolution(repeats: int) -> list[dict[str, Any]]:
    """Four updates of a convolution by its weight gradient, in a loop: XLA's own, and ours."""

    def by_xla(x: jax.Array, kernel: jax.Array, strides: tuple[int, int]) -> jax.Array:
        return jax.lax.conv_general_dilated(
            x, kernel, strides, "SAME", dimension_numbers=DIMENSIONS
        )

    def by_products(x: jax.Array, kernel: jax.Array, strides: tuple[int, int]) -> jax.Array:
        unused = {"lhs_dilation": (1, 1), "rhs_dilation": (1, 1), "feature_group_count": 1}
        return convolve(x, kernel, strides, "SAME", precision=None, **unused)

    def updates(
        function: Callable[..., jax.Array], stride: int, x: jax.Array, kernel: jax.Array
    ) -> jax.Array:
        def energy(kernel: jax.Array) -> jax.Array:
            return jnp.mean(jnp.square(jax.nn.relu(function(x, kernel, (stride, stride)))))

        def step(kernel: jax.Array, _: None) -> tuple[jax.Array, None]:
            return kernel - 1e-3 * jax.grad(energy)(kernel), None

        return jax.lax.scan(step, kernel, None, length=4)[0]

    programs = []
    for what, (side, c_in, c_out, size, stride) in CONVOLUTIONS.items():
        x = jax.random.normal(jax.random.key(0), (128, side, side, c_in))
        kernel = 0.1 * jax.random.normal(jax.random.key(1), (size, size, c_in, c_out))
        for how, function in (("XLA", by_xla), ("rows of products", by_products)):
            program = compiled(partial(updates, function, stride), x, kernel)[0]
            names = {"case": "convolution", "algorithm": f"{what}, {how}"}
            programs.append(Timed(names, program, {}))
    return records_of(programs, repeats)
