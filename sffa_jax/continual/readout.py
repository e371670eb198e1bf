"""Readouts in closed form, on fixed features."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array

from sffa_jax.checks import reject
from sffa_jax.continual.model import Modules
from sffa_jax.continual.problem import Batch, Problem, scan_task
from sffa_jax.continual.statistics import ClassStatistics, add_samples, empty_statistics
from sffa_jax.continual.strategy import Strategy, no_loss, zeros_like

Solution = Any
"""A solved readout: a pytree of arrays."""


class Readout(struct.PyTreeNode):
    """The readout of one layer.

    Attributes:
      statistics: statistics of all samples so far.
      solution: last solution from the statistics.
    """

    statistics: ClassStatistics
    solution: Solution


def layer_features(problem: Problem, modules: Modules, x: Array) -> list[Array]:
    """Returns the activity of each layer, [batch, features], of a model without label input.

    Raises:
      ValueError: for a model whose images are marked with a label, or without hidden layers.
    """
    if problem.overlay is not None and problem.overlay.marks_label:
        rule, got = "have features that depend on no label", "an overlay that marks the label"
        advice = "Use class units with `overlays.none()`, `end_to_end`, or `features`."
        raise reject("readout", "model", rule, got, advice)
    if problem.model.hidden is None:
        raise reject("readout", "model", "have hidden layers", "`hidden=None`")
    no_label = jnp.zeros(len(x), jnp.int32)
    return problem.model.hidden(modules, problem.overlay, x, no_label)


def readout(
    solve: Callable[[ClassStatistics], Solution],
    score: Callable[[Solution, Array], Array],
    *,
    scatter: str,
    online: bool = False,
) -> Strategy:
    """Makes a closed-form readout of each module's features in one pass over the samples.

    The model's features must not need a label, and each module must be one layer.

    Args:
      solve: statistics -> solution, a pytree of arrays.
      score: (solution, features [batch, features]) -> scores [batch, classes].
      scatter: scatter matrices that `solve` needs, one of `statistics.SCATTERS`.
      online: whether to add each batch when it arrives, instead of each task's samples after the
        task. The end of a task then only triggers the solution of the readout before the test.

    Before its first task, a run raises ValueError for a model whose features depend on a label, or
    with another number of hidden layers than modules.
    """

    def init(problem: Problem, modules: Modules) -> list[Readout]:
        classes = problem.scenario.num_classes
        x = problem.samples.scaled(problem.samples.images[:1])
        layers = jax.eval_shape(lambda m: layer_features(problem, m, x), modules)
        if len(layers) != len(modules):
            got = f"{len(layers)} layers and {len(modules)} modules"
            advice = "A network trained end to end has one module: choose one hidden layer."
            raise reject("readout", "model", "have one layer in each module", got, advice)
        statistics = [empty_statistics(classes, z.shape[-1], scatter=scatter) for z in layers]
        shapes = jax.eval_shape(lambda: [solve(layer) for layer in statistics])
        # Before the first solution, all scores are zero.
        return [
            Readout(layer, zeros_like(shape))
            for layer, shape in zip(statistics, shapes, strict=True)
        ]

    def count(
        problem: Problem, statistics: list[ClassStatistics], modules: Modules, batch: Batch
    ) -> list[ClassStatistics]:
        layers = layer_features(problem, modules, batch.x)
        return [
            add_samples(s, z, batch.class_index, batch.weights)
            for s, z in zip(statistics, layers, strict=True)
        ]

    def observe(
        problem: Problem, state: list[Readout], modules: Modules, batch: Batch
    ) -> list[Readout]:
        if not online:
            return state
        counted = count(problem, [layer.statistics for layer in state], modules, batch)
        return [
            layer.replace(statistics=statistics)
            for layer, statistics in zip(state, counted, strict=True)
        ]

    def after_task(
        problem: Problem, state: list[Readout], key: Array, modules: Modules, task: Array
    ) -> list[Readout]:
        del key
        statistics = [layer.statistics for layer in state]
        if not online:
            statistics = scan_task(
                problem,
                task,
                statistics,
                lambda so_far, batch: count(problem, so_far, modules, batch),
            )
        return [Readout(layer, solve(layer)) for layer in statistics]

    def scores(problem: Problem, state: list[Readout], modules: Modules, batch: Batch) -> Array:
        layers = layer_features(problem, modules, batch.x)
        by_class = [score(r.solution, z) for z, r in zip(layers, state, strict=True)]
        return problem.label_scores(jnp.stack(by_class), batch)

    return Strategy(
        init=init,
        loss=no_loss,
        observe=observe,
        after_task=after_task,
        scores=scores,
    )
