"""Dark experience replay: the memory keeps the outputs a sample had, and they must stay."""

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float

from sffa_jax.checks import check_range
from sffa_jax.continual.buffer import Reservoir, draw_slots, empty_reservoir
from sffa_jax.continual.model import Modules
from sffa_jax.continual.strategies.replay import remember_task, replay
from sffa_jax.continual.strategy import Batch, Problem, Strategy


class DarkMemory(struct.PyTreeNode):
    """Attributes: reservoir: of samples; outputs: each slot's, from the end of its own task."""

    reservoir: Reservoir
    outputs: Float[Array, "*runs modules slots candidates"]


def derpp(
    problem: Problem,
    *,
    slots: int = 500,
    alpha: float | Array = 0.1,
    beta: float | Array = 1.0,
) -> Strategy:
    """Replay (weight beta) plus alpha * mean squared change of the memory's outputs.

    Args:
      problem: what it is used on.
      slots: samples the class-balanced memory holds.
      alpha: weight of the squared change, in nats per squared nat.
      beta: weight of the memory's labels against a new sample's.

    Raises:
      ValueError: for a number out of range.

    Reference: Buzzega et al. 2020, arXiv:2004.07211 (DER++). Differs from it: the memory is
    balanced over classes and filled when a task ends, with the outputs of that moment.
    """
    check_range("derpp", "alpha", alpha, at_least=0)
    check_range("derpp", "beta", beta, above=0)
    plain = replay(problem, slots=slots, weight=beta)
    scenario = problem.scenario

    def remembered(modules: Modules, reservoir: Reservoir, slots: Array) -> Array:
        # Asked as when their own task ended: labels that came later have no output to keep.
        batch = problem.batch(reservoir.image[slots], jnp.int32(0))
        batch = batch.replace(now=scenario.task_of(batch.places))
        outputs = problem.outputs(modules, batch)
        _, allowed = problem.choices(batch)
        return jnp.where(allowed[None], outputs, 0.0)

    def init(modules: Modules) -> DarkMemory:
        shape = jax.eval_shape(
            lambda m: remembered(m, empty_reservoir(slots), jnp.arange(slots)), modules
        ).shape
        return DarkMemory(empty_reservoir(slots), jnp.zeros(shape))

    def mix(memory: DarkMemory, key: Array, batch: Batch) -> Batch:
        return plain.batch(memory.reservoir, key, batch)

    def penalty(memory: DarkMemory, key: Array, modules: Modules, batch: Batch) -> Array:
        drawn = draw_slots(key, memory.reservoir, len(batch.places) // 2)
        change = remembered(modules, memory.reservoir, drawn) - memory.outputs[:, drawn]
        weights = memory.reservoir.filled[drawn] / jnp.maximum(len(drawn), 1)
        return alpha * jnp.sum(jnp.mean(jnp.square(change), axis=-1) @ weights)

    def after_task(memory: DarkMemory, key: Array, modules: Modules, now: Array) -> DarkMemory:
        old = memory.reservoir
        new = remember_task(problem, old, key, now)
        # A sample that was there keeps the outputs it came with.
        order = jnp.argsort(old.image)
        found = order[jnp.searchsorted(old.image[order], new.image).clip(0, slots - 1)]
        stayed = scenario.task_of(new.place) < now
        outputs = remembered(modules, new, jnp.arange(slots))
        outputs = jnp.where(stayed[None, :, None], memory.outputs[:, found], outputs)
        return DarkMemory(new, outputs)

    return Strategy(init=init, batch=mix, penalty=penalty, after_task=after_task)
