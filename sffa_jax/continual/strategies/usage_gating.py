"""Usage gating: the more earlier classes use a unit, the less it learns from later ones."""

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float

from sffa_jax.checks import check_range, reject
from sffa_jax.continual.model import Modules
from sffa_jax.continual.problem import Batch, Problem
from sffa_jax.continual.strategy import Strategy
from sffa_jax.core.bodies import Params

SAMPLES = 1000
"""Number of samples per task for the measurement of usage."""


class Usage(struct.PyTreeNode):
    """Usage of the units.

    Attributes:
      fractions: for each layer, [units]: the largest fraction of any earlier class's samples for
        which the unit was active.
    """

    fractions: list[Float[Array, "*runs _"]]


def layer_activities(problem: Problem, modules: Modules, x: Array, labels: Array) -> list[Array]:
    """Each layer's activity [batch, units] for images with one label each."""
    assert problem.model.hidden is not None
    return problem.model.hidden(modules, problem.overlay, x, labels)


def usage_gating(*, strength: float | Array = 1.0) -> Strategy:
    """Multiplies a unit's updates by (1 - usage) ** strength.

    A unit's usage is the largest fraction of an earlier class's samples for which it was active
    (with winners: for which it won). A unit that is active for every sample of a class is frozen;
    an unused unit learns at full rate. As usage grows, later classes learn more slowly. The network
    must be forward-only with one layer per module, and the last axis of its parameters must be that
    of the units.

    Args:
      strength: exponent of the decrease with usage; 0: no gating.

    Raises:
      ValueError: for a strength below 0, a network that is trained end to end, or one whose layers
        have parameters that belong to no unit.

    Reference: the neuron masks that the released SFFA code leaves unfinished (there a label keeps
    its most active neurons after a task); gradient masks by usage: Golkar, Kagan & Cho 2019,
    arXiv:1903.04476.
    """
    check_range("usage_gating", "strength", strength, at_least=0)

    def init(problem: Problem, modules: Modules) -> Usage:
        x = problem.samples.scaled(problem.samples.images[:1])
        label = jnp.zeros(1, jnp.int32)
        layers = jax.eval_shape(lambda m: layer_activities(problem, m, x, label), modules)
        if problem.overlay is None or len(layers) != len(modules):
            advice = "Choose sffa or ffa: end to end, units have no separate updates."
            rule = "have a module for each layer"
            raise reject("usage_gating", "problem", rule, "a network trained end to end", advice)
        for h, module in zip(layers, modules, strict=True):
            sizes = {leaf.shape[-1] for leaf in jax.tree.leaves(module)}
            if len(sizes) > 1 or h.shape[-1] % max(sizes, default=1):
                rule = f"have parameters whose last axis is a layer's {h.shape[-1]} units"
                raise reject("usage_gating", "problem", rule, f"axes of {sorted(sizes)}")
        return Usage([jnp.zeros(h.shape[-1]) for h in layers])

    def after_task(
        problem: Problem, state: Usage, key: Array, modules: Modules, task: Array
    ) -> Usage:
        scenario = problem.scenario
        batch = problem.batch(problem.draw(key, task, SAMPLES), task)
        member = jax.nn.one_hot(batch.class_index, scenario.num_classes)
        count = jnp.maximum(jnp.sum(member, axis=0), 1)[:, None]

        def of_layer(before: Array, h: Array) -> Array:
            by_class = member.T @ (h > 0).astype(h.dtype) / count
            return jnp.maximum(before, jnp.max(by_class, axis=0))

        labels = scenario.labels(batch.class_index)
        layers = layer_activities(problem, modules, batch.x, labels)
        return Usage([of_layer(f, h) for f, h in zip(state.fractions, layers, strict=True)])

    def gated(problem: Problem, state: Usage, updates: Modules, batch: Batch) -> Modules:
        del problem, batch

        def of_module(fractions: Array, module: Params) -> Params:
            def of_leaf(update: Array) -> Array:
                # The usage of a convolutional map is that of its most used position.
                used = jnp.max(fractions.reshape(update.shape[-1], -1), axis=-1)
                factor = (1 - used) ** strength
                return update * jnp.expand_dims(factor, tuple(range(update.ndim - 1)))

            return jax.tree.map(of_leaf, module)

        return tuple(map(of_module, state.fractions, updates))

    return Strategy(init=init, updates=gated, after_task=after_task)
