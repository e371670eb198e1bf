"""GDumb: fills a balanced buffer and trains new weights on the buffer only, for every task."""

from jaxtyping import Array

from sffa_jax.checks import check_integer
from sffa_jax.continual.buffer import Buffer, draw_batch, empty_buffer, insert_task
from sffa_jax.continual.model import Modules
from sffa_jax.continual.problem import Batch, Problem
from sffa_jax.continual.strategy import Strategy


def gdumb(*, slots: int = 500) -> Strategy:
    """Inserts a task's samples into the buffer first, then trains new weights on the buffer only,
    for as many steps as every other strategy.

    Args:
      slots: capacity of the class-balanced buffer, samples.

    Raises:
      ValueError: for no slot.

    Reference: Prabhu, Torr & Dokania 2020, GDumb, ECCV. Differs from it: as many steps as the other
    strategies, no cutmix; slots that a small class cannot fill stay empty (see `buffer.insert`).
    """
    check_integer("gdumb", "slots", slots, 1)

    def init(problem: Problem, modules: Modules) -> Buffer:
        del problem, modules
        return empty_buffer(slots)

    def before_task(
        problem: Problem, buffer: Buffer, key: Array, modules: Modules, task: Array
    ) -> Buffer:
        del modules
        return insert_task(problem, buffer, key, task)

    def buffer_only(problem: Problem, buffer: Buffer, key: Array, batch: Batch) -> Batch:
        return draw_batch(problem, buffer, key, len(batch.class_index), batch.task)

    return Strategy(init=init, before_task=before_task, batch=buffer_only, restart=True)
