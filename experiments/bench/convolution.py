"""Times convolutions: the gradient of their kernels and whole updates; measures memory by depth."""

import dataclasses
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.bench.timing import Timed, compiled, ratios, seconds_in_turn, timed_records
from experiments.config.presets import BEST_CONVOLUTION
from experiments.config.recipe import Recipe
from sffa_jax.core.architectures import DTYPES
from sffa_jax.core.conv_cpu import DIMENSIONS, convolve
from sffa_jax.training.fit import update
from sffa_jax.training.samples import Samples, make_samples

SHAPE = (28, 28)
CLASSES = 10
DEPTHS = (1, 2, 4, 8)
STEPS = 4
"""Updates in the timed loop."""

CONVOLUTIONS = {
    "28x28, 1 to 64 channels, kernel 7, stride 2": (28, 1, 64, 7, 2),
    "14x14, 32 to 64 channels, kernel 3": (14, 32, 64, 3, 1),
}
"""By description: side and channels of the images; channels, kernel and stride of the layer."""


def by_matrix_products(x: jax.Array, kernel: jax.Array, strides: tuple[int, int]) -> jax.Array:
    """Computes a convolution as the layers do."""
    unused = {"lhs_dilation": (1, 1), "rhs_dilation": (1, 1), "feature_group_count": 1}
    return convolve(x, kernel, strides, "SAME", precision=None, **unused)


def measure_gradient(repeats: int) -> list[dict[str, Any]]:
    """Times updates of a convolution by its weight gradient: XLA's convolution, and ours."""

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
    for description, (side, c_in, c_out, size, stride) in CONVOLUTIONS.items():
        x = jax.random.normal(jax.random.key(0), (128, side, side, c_in))
        kernel = 0.1 * jax.random.normal(jax.random.key(1), (size, size, c_in, c_out))
        for method, function in (("XLA", by_xla), ("rows of products", by_matrix_products)):
            program = compiled(partial(updates, function, stride), x, kernel)[0]
            names = {"case": "convolution", "algorithm": f"{description}, {method}"}
            programs.append(Timed(names, program))
    return timed_records(programs, repeats)


PHOTOGRAPHS = dataclasses.replace(
    BEST_CONVOLUTION,
    channels=(128, 256, 256, 512, 512, 512),
    pooled=(1, 3, 4, 5),
    normalization="batch",
    dropout=0.1,
    batch_size=256,
    shift=4,
    flip=True,
)
"""Six convolutions for photographs of 32 x 32 pixels, with all that their training adds."""


def lower_bound_updates(x: list[jax.Array], kernels: list[jax.Array]) -> list[jax.Array]:
    """Runs each layer's convolution and its kernel's gradient, several times."""

    def step(kernels: list[jax.Array], _: None) -> tuple[list[jax.Array], None]:
        updated = []
        for below, kernel in zip(x, kernels, strict=True):
            maps, pull = jax.vjp(
                lambda k, x=below: by_matrix_products(x, k.astype(x.dtype), (1, 1)), kernel
            )
            # Without the barrier XLA would merge the convolution and its gradient.
            (gradient,) = pull(jax.lax.optimization_barrier(maps))
            updated.append(kernel - 1e-6 * gradient)
        return updated, None

    return jax.lax.scan(step, kernels, None, length=STEPS)[0]


def updates_of(
    recipe: Recipe, algorithm: str, shape: tuple[int, ...]
) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """Returns a loop of whole updates of a recipe, augmentation included, and its arguments."""
    learner = recipe.learner(algorithm, shape, CLASSES, 60_000)
    schedule = recipe.schedule(shape)
    images = np.random.default_rng(0).integers(0, 256, (recipe.batch_size, *shape), np.uint8)
    labels = np.arange(recipe.batch_size) % CLASSES
    batch = make_samples(images, labels, num_classes=CLASSES, mean=0.5, std=0.3)

    def updates(state: Any, batch: Samples) -> Any:
        def step(state: Any, key: jax.Array) -> tuple[Any, None]:
            return update(learner, schedule, state, key, batch)[0], None

        return jax.lax.scan(step, state, jax.random.split(jax.random.key(1), STEPS))[0]

    first = jax.jit(lambda: learner.init(jax.random.key(2), batch.scaled(batch.images[:1])))
    return updates, (first(), batch)


def measure_update(
    repeats: int, recipe: Recipe = BEST_CONVOLUTION, shape: tuple[int, ...] = SHAPE
) -> list[dict[str, Any]]:
    """Times updates of a network of convolutions, and the convolutions alone."""
    layers, dtype = recipe.layers("sffa", shape), DTYPES[recipe.precision]
    keys = jax.random.split(jax.random.key(3), 2 * len(layers))
    below, kernels = [], []
    for i, layer in enumerate(layers):
        assert layer.grid is not None
        size = (layer.grid.height, layer.grid.width, layer.grid.channels)
        below.append(jax.random.normal(keys[2 * i], (recipe.batch_size, *size), dtype))
        kernel = (recipe.kernel, recipe.kernel, size[-1], recipe.channels[i])
        kernels.append(0.1 * jax.random.normal(keys[2 * i + 1], kernel))
    calls = {"the convolutions alone": compiled(lower_bound_updates, below, kernels)[0]}
    for algorithm in ("sffa", "ffa", "bp"):
        updates, arguments = updates_of(recipe, algorithm, shape)
        calls[algorithm] = compiled(updates, *arguments)[0]
    network = f"{recipe.channels} maps"
    if shape != SHAPE:
        network += f" of {'x'.join(map(str, shape))}, {recipe.precision}"
    programs = [
        Timed(
            {
                "case": "convolution",
                "algorithm": f"{network}, {name}",
                "batch_size": recipe.batch_size,
            },
            call,
        )
        for name, call in calls.items()
    ]
    seconds = seconds_in_turn(programs, repeats)
    return [
        program.names
        | {"seconds": of_program}
        | (ratios("floor", of_program, seconds[0]) if i else {})
        for i, (program, of_program) in enumerate(zip(programs, seconds, strict=True))
    ]


def measure_memory() -> list[dict[str, Any]]:
    """Measures an update's scratch memory by depth, with 32 maps of the image's size per layer."""
    records = []
    for algorithm in ("sffa", "ffa", "bp"):
        for depth in DEPTHS:
            maps: dict[str, Any] = {"channels": (32,) * depth, "pool": None, "first_scored": 0}
            recipe = dataclasses.replace(BEST_CONVOLUTION, **maps)
            learner = recipe.learner(algorithm, SHAPE, CLASSES, 60_000)
            key = jax.random.key(0)
            x = jax.ShapeDtypeStruct((recipe.batch_size, math.prod(SHAPE)), jnp.float32)
            labels = jax.ShapeDtypeStruct((recipe.batch_size,), jnp.int32)
            state = jax.eval_shape(learner.init, key, x)
            step = jax.jit(learner.step, donate_argnums=0)
            program = step.lower(state, key, x, labels).compile()
            analysis = program.memory_analysis()
            assert analysis is not None, "the backend does not report the memory of programs"
            records.append(
                {
                    "case": "maps",
                    "algorithm": algorithm,
                    "channels": list(recipe.channels),
                    "batch_size": recipe.batch_size,
                    "seconds": [],
                    "temporary_mib": analysis.temp_size_in_bytes / 2**20,
                }
            )
    return records


def parts(repeats: int) -> dict[str, Callable[[], list[dict[str, Any]]]]:
    """Returns the measurements by name."""
    return {
        "gradient": partial(measure_gradient, repeats),
        "update": partial(measure_update, repeats),
        "memory": measure_memory,
    }


def parts_photographs(repeats: int) -> dict[str, Callable[[], list[dict[str, Any]]]]:
    """Returns the measurements of updates on photographs, in each type of products."""
    return {
        precision: partial(
            measure_update,
            repeats,
            dataclasses.replace(PHOTOGRAPHS, precision=precision),
            (32, 32, 3),
        )
        for precision in DTYPES
    }
