"""Dark experience replay: the buffer also stores the logits of each sample, as targets."""

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float

from sffa_jax.checks import check_range
from sffa_jax.continual.buffer import Buffer, draw_slots, empty_buffer, insert_task
from sffa_jax.continual.model import Modules
from sffa_jax.continual.problem import Batch, Problem
from sffa_jax.continual.strategies.replay import replay
from sffa_jax.continual.strategy import Strategy


class DarkBuffer(struct.PyTreeNode):
    """Attributes: buffer: samples; logits: of each slot, at the end of the sample's task."""

    buffer: Buffer
    logits: Float[Array, "*runs modules slots candidates"]


def derpp(*, slots: int = 500, alpha: float | Array = 0.1, beta: float | Array = 1.0) -> Strategy:
    """Replay (weight beta) plus alpha * mean squared change of the buffered samples' logits.

    Args:
      slots: capacity of the class-balanced buffer, samples.
      alpha: weight of the squared change, in nats per squared nat.
      beta: weight of a buffered sample's loss relative to a new one's.

    Raises:
      ValueError: for a number out of range.

    Reference: Buzzega et al. 2020, arXiv:2004.07211 (DER++). Differs from it: the buffer is
    balanced over classes and filled when a task ends, with the logits of that moment; the losses
    of new and buffered samples are averaged with weights 1 and beta, not added; a label that did
    not compete at the end of the sample's task counts as unchanged.
    """
    check_range("derpp", "alpha", alpha, at_least=0)
    check_range("derpp", "beta", beta, above=0)
    plain = replay(slots=slots, weight=beta)

    def logits_of(problem: Problem, modules: Modules, buffer: Buffer, slots: Array) -> Array:
        # Only labels that competed at the end of the sample's task; later ones have no target.
        batch = problem.batch(buffer.image[slots], jnp.int32(0))
        batch = batch.replace(task=problem.scenario.task_of(batch.class_index))
        logits = problem.logits(modules, batch)
        _, allowed = problem.targets_and_allowed(batch)
        return jnp.where(allowed[None], logits, 0.0)

    def init(problem: Problem, modules: Modules) -> DarkBuffer:
        buffer = empty_buffer(slots)
        shape = jax.eval_shape(
            lambda m: logits_of(problem, m, buffer, jnp.arange(slots)), modules
        ).shape
        return DarkBuffer(buffer, jnp.zeros(shape))

    def add_buffered_samples(problem: Problem, dark: DarkBuffer, key: Array, batch: Batch) -> Batch:
        return plain.batch(problem, dark.buffer, key, batch)

    def penalty(
        problem: Problem, dark: DarkBuffer, key: Array, modules: Modules, batch: Batch
    ) -> Array:
        drawn = draw_slots(key, dark.buffer, len(batch.class_index) // 2)
        change = logits_of(problem, modules, dark.buffer, drawn) - dark.logits[:, drawn]
        weights = dark.buffer.filled[drawn] / jnp.maximum(len(drawn), 1)
        return alpha * jnp.sum(jnp.mean(jnp.square(change), axis=-1) @ weights)

    def after_task(
        problem: Problem, dark: DarkBuffer, key: Array, modules: Modules, task: Array
    ) -> DarkBuffer:
        old = dark.buffer
        new = insert_task(problem, old, key, task)
        # An earlier sample keeps its stored logits.
        order = jnp.argsort(old.image)
        old_slot = order[jnp.searchsorted(old.image[order], new.image).clip(0, slots - 1)]
        stayed = problem.scenario.task_of(new.class_index) < task
        logits = logits_of(problem, modules, new, jnp.arange(slots))
        logits = jnp.where(stayed[None, :, None], dark.logits[:, old_slot], logits)
        return DarkBuffer(new, logits)

    return Strategy(init=init, batch=add_buffered_samples, penalty=penalty, after_task=after_task)
