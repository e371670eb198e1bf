"""Linear read-outs in closed form, on features that stay as they are."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float

from sffa_jax.checks import reject
from sffa_jax.continual.model import Modules
from sffa_jax.continual.statistics import ClassStatistics, add_samples, no_samples
from sffa_jax.continual.strategy import Batch, Problem, Strategy

CHUNK = 500
"""Samples whose features are computed at a time."""


class Readout(struct.PyTreeNode):
    """Of one layer. Attributes: statistics: so far; weights, bias: of what they last said."""

    statistics: ClassStatistics
    weights: Float[Array, "*runs features classes"]
    bias: Float[Array, "*runs classes"]


def features_of(problem: Problem, modules: Modules, x: Array) -> list[Array]:
    """Each layer's activity, [batch, features], of a model that needs no label for it."""
    assert problem.model.hidden is not None
    nobody = jnp.zeros(len(x), jnp.int32)
    return problem.model.hidden(modules, problem.overlay, x, nobody)


def over_task(problem: Problem, now: Array, start: Any, add: Callable[[Any, Batch], Any]) -> Any:
    """Shows a task's samples once, in chunks; padding has weight 0."""
    indices = problem.stream.train[now]
    chunk = min(CHUNK, len(indices))
    positions = jnp.arange(-(-len(indices) // chunk) * chunk)
    counted = (positions < problem.stream.num_train[now]).astype(jnp.float32)
    rows = indices[jnp.minimum(positions, len(indices) - 1)].reshape(-1, chunk)

    def one(carry: Any, row: tuple[Array, Array]) -> tuple[Any, None]:
        batch = problem.batch(row[0], now)
        return add(carry, batch.replace(weights=row[1])), None

    end, _ = jax.lax.scan(one, start, (rows, counted.reshape(-1, chunk)))
    return end


def only_first_task_learns(memory: Any, updates: Modules, batch: Batch) -> Modules:
    """Updates that keep features fixed after the first task."""
    del memory
    return jax.tree.map(lambda u: jnp.where(batch.now == 0, u, 0), updates)


def readout(
    problem: Problem,
    solve: Callable[[ClassStatistics], tuple[Array, Array]],
    *,
    scatter: bool,
    feature_loss: Callable[[Any, Array], Array] | None = None,
    online: bool = False,
) -> Strategy:
    """A linear read-out of each module's features, in closed form, after one look at each sample.

    Args:
      problem: what it is used on; its model's features need no label, and one module has one layer.
      solve: statistics -> weights and biases.
      scatter: whether the statistics need it.
      feature_loss: (parameters, x) -> loss of each image, which the only module's features learn by
        during the first task; None: they learn nothing.
      online: whether samples count as batches bring them, instead of once each after their task.
        Where a task ends then says when the read-out is solved for a test, and nothing else.

    Raises:
      ValueError: for features that learn by tasks, online.
    """
    if online and feature_loss is not None:
        raise reject("readout", "feature_loss", "be None online: it knows the first task", "one")
    classes = problem.scenario.num_tasks * problem.scenario.classes_per_task

    def init(modules: Modules) -> list[Readout]:
        x = problem.samples.scaled(problem.samples.images[:1])
        widths = [
            z.shape[-1] for z in jax.eval_shape(lambda m: features_of(problem, m, x), modules)
        ]
        return [
            Readout(
                no_samples(classes, width, scatter=scatter),
                jnp.zeros((width, classes)),
                jnp.zeros(classes),
            )
            for width in widths
        ]

    def loss(
        memory: list[Readout], key: Array, modules: Modules, batch: Batch
    ) -> tuple[Array, Array]:
        del memory, key
        if feature_loss is None:
            return jnp.zeros(()), jnp.zeros(len(modules))
        # A condition, so that later tasks do not pay for it.
        found = jax.lax.cond(
            jnp.all(batch.now == 0),
            lambda m: jnp.mean(feature_loss(m, batch.x)),
            lambda _: jnp.zeros(()),
            modules[0],
        )
        return found, found[None]

    def counted(
        so_far: list[ClassStatistics], modules: Modules, batch: Batch
    ) -> list[ClassStatistics]:
        layers = features_of(problem, modules, batch.x)
        return [
            add_samples(s, z, batch.places, batch.weights)
            for s, z in zip(so_far, layers, strict=True)
        ]

    def observe(memory: list[Readout], modules: Modules, batch: Batch) -> list[Readout]:
        if not online:
            return memory
        found = counted([layer.statistics for layer in memory], modules, batch)
        return [
            layer.replace(statistics=statistics)
            for layer, statistics in zip(memory, found, strict=True)
        ]

    def after_task(
        memory: list[Readout], key: Array, modules: Modules, now: Array
    ) -> list[Readout]:
        del key
        if online:
            return [Readout(layer.statistics, *solve(layer.statistics)) for layer in memory]

        found = over_task(
            problem,
            now,
            [layer.statistics for layer in memory],
            lambda so_far, batch: counted(so_far, modules, batch),
        )
        return [Readout(statistics, *solve(statistics)) for statistics in found]

    def scores(memory: list[Readout], modules: Modules, batch: Batch) -> Array:
        layers = features_of(problem, modules, batch.x)
        by_class = [z @ r.weights + r.bias[None] for z, r in zip(layers, memory, strict=True)]
        return problem.by_label(jnp.stack(by_class), batch)

    return Strategy(
        init=init,
        loss=loss,
        observe=observe,
        updates=only_first_task_learns,
        after_task=after_task,
        scores=scores,
    )
