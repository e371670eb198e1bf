"""Workload of the benchmark's cases: random images, the default recipe, one epoch of training."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.bench.options import Options
from experiments.config.presets import DEFAULT
from experiments.config.recipe import Recipe
from sffa_jax.training.fit import start, train_epoch
from sffa_jax.training.samples import Samples


def random_samples(options: Options, number: int, classes: int | None = None) -> Samples:
    """Makes images of random pixels with random labels; times do not depend on them."""
    random = np.random.default_rng(0)
    return Samples(
        images=jnp.asarray(random.integers(0, 256, (number, options.features)), jnp.uint8),
        labels=jnp.asarray(random.integers(0, classes or options.classes, number), jnp.int32),
        mean=jnp.array([0.13]),
        std=jnp.array([0.31]),
        num_classes=classes or options.classes,
    )


def make_recipe(options: Options, hidden: Sequence[int], **changes: Any) -> Recipe:
    """Returns the default recipe for a network with these hidden widths."""
    return dataclasses.replace(
        DEFAULT, hidden=tuple(hidden), batch_size=options.batch_size, **changes
    )


def make_epoch(recipe: Recipe, algorithm: str, samples: Samples, classes: int) -> tuple[Any, Any]:
    """Returns one epoch of training as a function `(progress, samples)`, and its first progress.

    The function returns the new state and the loss alone: real training donates the buffers of the
    rest.
    """
    shape = (samples.images.shape[1], 1)
    learner = recipe.learner(algorithm, shape, classes, len(samples.labels))
    schedule = recipe.schedule(shape)
    first = jax.jit(start, static_argnums=0)(learner, jax.random.key(0), samples)

    def epoch(progress: Any, data: Samples) -> Any:
        progress, loss = train_epoch(learner, schedule, progress, data)
        return progress.state, loss

    return epoch, first
