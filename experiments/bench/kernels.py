"""Times single operations: winners, products of sparse activity, gradients with all labels."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from experiments.bench.convolution import STEPS
from experiments.bench.timing import Timed, compiled, timed_records
from sffa_jax.core import goodness, winners
from sffa_jax.core.layer import Layer, activity, init_layer
from sffa_jax.core.overlays import Part

LABEL_WIDTHS = (1400, 4000)


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
        Timed({"case": "sparse", "algorithm": name}, compiled(*call)[0])
        for name, call in calls.items()
    ]
    return timed_records(programs, repeats)


def measure_labels(repeats: int) -> list[dict[str, Any]]:
    """Times updates of SFFA's layer with all labels: this library's, and the same formula in JAX.

    In both, all labels share the image's product; they differ in how gradients are computed.
    """
    image, code = (
        jax.random.normal(jax.random.key(i), shape)
        for i, shape in ((0, (256, 784)), (1, (10, 100)))
    )
    inputs = (Part("image", image, "sample"), Part("code", code, "class"))

    def plain(params: Any) -> jax.Array:
        kernels = params["kernels"]
        h = jax.nn.relu((image @ kernels["image"])[:, None] + (code @ kernels["code"])[None])
        positive, negative = (jnp.sum(jnp.square(half), -1) for half in jnp.split(h, 2, axis=-1))
        return 6 * (jnp.log(positive + 1) - jnp.log(negative + 1))

    def ours(layer: Layer, params: Any) -> jax.Array:
        return goodness.polar_ratio(activity(layer, params, inputs), logit_scale=6.0, eps=1.0)

    def updates(logits: Any, params: Any) -> Any:
        def loss(params: Any) -> jax.Array:
            return -jnp.mean(jax.nn.log_softmax(logits(params))[:, 0])

        def step(params: Any, _: None) -> tuple[Any, None]:
            return jax.tree.map(lambda p, g: p - 1e-3 * g, params, jax.grad(loss)(params)), None

        return jax.lax.scan(step, params, None, length=STEPS)[0]

    programs = []
    for width in LABEL_WIDTHS:
        layer = Layer(nn.Dense(width, use_bias=False))
        params, _ = init_layer(layer, jax.random.key(2), inputs)
        for method, logits in (("plain JAX", plain), ("this library", partial(ours, layer))):
            program = compiled(partial(updates, logits), params)[0]
            names = {"case": "labels", "algorithm": f"{width} units, {method}"}
            programs.append(Timed(names, program))
    return timed_records(programs, repeats)
