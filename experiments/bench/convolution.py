"""The benchmark's convolutions: their kernels' gradient, a whole update, and memory by depth."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from experiments.bench.timing import Timed, compiled, in_turn, ratios, records_of
from experiments.config.presets import BEST_CONVOLUTION
from experiments.config.recipe import Recipe
from sffa_jax.core.conv_cpu import DIMENSIONS, convolve

SHAPE = (28, 28)
CLASSES = 10
DEPTHS = (1, 2, 4, 8)
STEPS = 4
"""Updates in the loop that is timed."""

CONVOLUTIONS = {
    "28x28, 1 to 64 channels, kernel 7, stride 2": (28, 1, 64, 7, 2),
    "14x14, 32 to 64 channels, kernel 3": (14, 32, 64, 3, 1),
}
"""Side and channels of the images, channels, kernel and stride of a layer."""


def by_products(x: jax.Array, kernel: jax.Array, strides: tuple[int, int]) -> jax.Array:
    """A convolution as the layers have it."""
    unused = {"lhs_dilation": (1, 1), "rhs_dilation": (1, 1), "feature_group_count": 1}
    return convolve(x, kernel, strides, "SAME", precision=None, **unused)


def measure_gradient(repeats: int) -> list[dict[str, Any]]:
    """Four updates of a convolution by its weight gradient, in a loop: XLA's own, and ours."""

    def by_xla(x: jax.Array, kernel: jax.Array, strides: tuple[int, int]) -> jax.Array:
        return jax.lax.conv_general_dilated(
            x, kernel, strides, "SAME", dimension_numbers=DIMENSIONS
        )

    def updates(
        function: Callable[..., jax.Array], stride: int, x: jax.Array, kernel: jax.Array
    ) -> jax.Array:
        def energy(kernel: jax.Array) -> jax.Array:
            return jnp.mean(jnp.square(jax.nn.relu(function(x, kernel, (stride, stride)))))

        def step(kernel: jax.Array, _: None) -> tuple[jax.Array, None]:
            return kernel - 1e-3 * jax.grad(energy)(kernel), None

        return jax.lax.scan(step, kernel, None, length=STEPS)[0]

    programs = []
    for what, (side, c_in, c_out, size, stride) in CONVOLUTIONS.items():
        x = jax.random.normal(jax.random.key(0), (128, side, side, c_in))
        kernel = 0.1 * jax.random.normal(jax.random.key(1), (size, size, c_in, c_out))
        for how, function in (("XLA", by_xla), ("rows of products", by_products)):
            program = compiled(partial(updates, function, stride), x, kernel)[0]
            names = {"case": "convolution", "algorithm": f"{what}, {how}"}
            programs.append(Timed(names, program, {}))
    return records_of(programs, repeats)


def floor(x: list[jax.Array], kernels: list[jax.Array]) -> list[jax.Array]:
    """A loop of the least that an update of these layers costs: each layer's convolution and its
    kernel's gradient."""

    def step(kernels: list[jax.Array], _: None) -> tuple[list[jax.Array], None]:
        updated = []
        for below, kernel in zip(x, kernels, strict=True):
            maps, pull = jax.vjp(lambda k, below=below: by_products(below, k, (1, 1)), kernel)
            # What comes back has the maps' shape; without the barrier XLA would fold the two.
            (gradient,) = pull(jax.lax.optimization_barrier(maps))
            updated.append(kernel - 1e-6 * gradient)
        return updated, None

    return jax.lax.scan(step, kernels, None, length=STEPS)[0]


def learning(recipe: Recipe, algorithm: str) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """A loop of whole updates of a recipe, and what to call it with."""
    learner = recipe.learner(algorithm, SHAPE, CLASSES, 60_000)
    x = jax.random.normal(jax.random.key(0), (recipe.batch_size, SHAPE[0] * SHAPE[1]))
    labels = jnp.arange(recipe.batch_size) % CLASSES

    def updates(state: Any, x: jax.Array, labels: jax.Array) -> Any:
        def step(state: Any, key: jax.Array) -> tuple[Any, None]:
            return learner.step(state, key, x, labels)[0], None

        return jax.lax.scan(step, state, jax.random.split(jax.random.key(1), STEPS))[0]

    return updates, (learner.init(jax.random.key(2), x[:1]), x, labels)


def measure_update(repeats: int, recipe: Recipe = BEST_CONVOLUTION) -> list[dict[str, Any]]:
    """Updates of a network of convolutions beside the convolutions alone."""
    layers = recipe.layers("sffa", SHAPE)
    keys = jax.random.split(jax.random.key(3), 2 * len(layers))
    below, kernels = [], []
    for i, layer in enumerate(layers):
        assert layer.grid is not None
        size = (layer.grid.height, layer.grid.width, layer.grid.channels)
        below.append(jax.random.normal(keys[2 * i], (recipe.batch_size, *size)))
        kernel = (recipe.kernel, recipe.kernel, size[-1], recipe.channels[i])
        kernels.append(0.1 * jax.random.normal(keys[2 * i + 1], kernel))
    programs = {"the convolutions alone": compiled(floor, below, kernels)[0]}
    for algorithm in ("sffa", "ffa", "bp"):
        updates, arguments = learning(recipe, algorithm)
        programs[algorithm] = compiled(updates, *arguments)[0]
    named = [
        Timed({"case": "convolution", "algorithm": f"{recipe.channels} maps, {name}"}, call, {})
        for name, call in programs.items()
    ]
    seconds = in_turn(named, repeats)
    return [
        timed.names | {"seconds": found} | (ratios("floor", found, seconds[0]) if i else {})
        for i, (timed, found) in enumerate(zip(named, seconds, strict=True))
    ]


def measure_memory() -> list[dict[str, Any]]:
    """Scratch memory of an update by depth, 32 maps of the image's size in every layer."""
    records = []
    for algorithm in ("sffa", "ffa", "bp"):
        for depth in DEPTHS:
            maps: dict[str, Any] = {"channels": (32,) * depth, "pool": None, "first_scored": 0}
            recipe = dataclasses.replace(BEST_CONVOLUTION, **maps)
            _, arguments = learning(recipe, algorithm)
            learner = recipe.learner(algorithm, SHAPE, CLASSES, 60_000)
            state, x, labels = arguments
            step = jax.jit(learner.step, donate_argnums=0)
            program = step.lower(state, jax.random.key(0), x, labels).compile()
            found = program.memory_analysis()
            assert found is not None, "the backend does not say how much memory a program takes"
            records.append(
                {
                    "case": "maps",
                    "algorithm": algorithm,
                    "channels": list(recipe.channels),
                    "batch_size": recipe.batch_size,
                    "seconds": [],
                    "temporary_mib": found.temp_size_in_bytes / 2**20,
                }
            )
    return records


def parts(repeats: int) -> dict[str, Callable[[], list[dict[str, Any]]]]:
    """What is measured together, by name."""
    return {
        "gradient": partial(measure_gradient, repeats),
        "update": partial(measure_update, repeats),
        "memory": measure_memory,
    }
