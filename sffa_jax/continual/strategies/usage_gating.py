"""Protected units: the more earlier classes use a unit, the less it learns from later ones."""

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float

from sffa_jax.checks import check_range, reject
from sffa_jax.continual.model import Modules
from sffa_jax.continual.strategy import Batch, Problem, Strategy

SAMPLES = 1000
"""Of a task, to see which units its classes use."""


class Use(struct.PyTreeNode):
    """Attributes: shares: of each layer, [units]: the greatest share of any earlier class's samples
    at which the unit was active."""

    shares: list[Float[Array, "*runs _"]]


def protect(problem: Problem, *, strength: float | Array = 1.0) -> Strategy:
    """Slows a unit's updates by (1 - use) ** strength.

    Winners decide whose a unit is: it is active where it won, and its use is the greatest share of
    a class's samples at which it did. A unit that always wins for a class is frozen; one that no
    class uses is free. Capacity runs out as units are used: later classes then learn slowly, and
    nothing is taken from the earlier ones.

    Args:
      problem: what it is used on; forward-only, every module one layer, whose parameters have the
        units last.
      strength: how soon a unit is as good as frozen; 0: not at all.

    Raises:
      ValueError: for a strength below 0, or a network that learns end to end.

    Reference: the neuron masks that the released SFFA code leaves unfinished (there a label owns
    its most active neurons after a task); gradient masks by use: Golkar, Kagan & Cho 2019,
    arXiv:1903.04476.
    """
    check_range("protect", "strength", strength, at_least=0)
    scenario, model = problem.scenario, problem.model
    classes = scenario.num_tasks * scenario.classes_per_task

    def layers_of(modules: Modules, x: Array, labels: Array) -> list[Array]:
        assert model.hidden is not None
        return model.hidden(modules, problem.overlay, x, labels)

    def init(modules: Modules) -> Use:
        x = problem.samples.scaled(problem.samples.images[:1])
        layers = jax.eval_shape(lambda m: layers_of(m, x, jnp.zeros(1, jnp.int32)), modules)
        fits = len(layers) == len(modules) and all(
            h.shape[-1] % leaf.shape[-1] == 0
            for h, module in zip(layers, modules, strict=True)
            for leaf in jax.tree.leaves(module)
        )
        if not fits:
            raise reject(
                "protect",
                "problem",
                "have a module for each layer",
                f"{len(layers)} layers in {len(modules)} modules",
                "Choose sffa or ffa: end to end, a unit's part in a loss is not its own.",
            )
        return Use([jnp.zeros(h.shape[-1]) for h in layers])

    def after_task(memory: Use, key: Array, modules: Modules, now: Array) -> Use:
        batch = problem.batch(problem.draw(key, now, SAMPLES), now)
        member = jax.nn.one_hot(batch.places, classes)
        count = jnp.maximum(jnp.sum(member, axis=0), 1)[:, None]

        def of_layer(before: Array, h: Array) -> Array:
            by_class = member.T @ (h > 0).astype(h.dtype) / count
            return jnp.maximum(before, jnp.max(by_class, axis=0))

        layers = layers_of(modules, batch.x, scenario.labels(batch.places))
        return Use([of_layer(s, h) for s, h in zip(memory.shares, layers, strict=True)])

    def updates(memory: Use, updates: Modules, batch: Batch) -> Modules:
        del batch

        def of_leaf(share: Array, update: Array) -> Array:
            # A map of a convolution is used as its most used position is.
            used = jnp.max(share.reshape(update.shape[-1], -1), axis=-1)
            slow = (1 - used) ** strength
            return update * jnp.expand_dims(slow, tuple(range(update.ndim - 1)))

        return tuple(
            jax.tree.map(lambda u, share=share: of_leaf(share, u), module)
            for share, module in zip(memory.shares, updates, strict=True)
        )

    return Strategy(init=init, updates=updates, after_task=after_task)
