"""Experience replay: every update also learns from a small buffer of earlier samples."""

from collections.abc import Callable

import jax
from jaxtyping import Array

from sffa_jax.checks import check_choice, check_integer, check_range
from sffa_jax.continual.buffer import BALANCES, Buffer, draw_batch, empty_buffer, insert_task
from sffa_jax.continual.model import Modules
from sffa_jax.continual.problem import Batch, Problem, join_batches
from sffa_jax.continual.strategy import Strategy

Augment = Callable[[Array, Array], Array]


def replay(
    *,
    slots: int = 500,
    weight: float | Array | None = None,
    balance: str = "class",
    augment: Augment | None = None,
) -> Strategy:
    """Adds to each batch as many samples of a balanced buffer.

    Args:
      slots: capacity of the buffer, samples; it is filled after each task.
      weight: weight of a buffered sample relative to a new one; None: the number of earlier tasks,
        so that all tasks seen so far have the same weight.
      balance: what has equal shares of the buffer: "class" or "task".
      augment: (key, images) -> images, applied to buffered images at each draw.

    Raises:
      ValueError: for a number out of range or an unknown balance.

    Reference: Chaudhry et al. 2019, On Tiny Episodic Memories, arXiv:1902.10486, with weight 1 and
    no augmentation; the released SFFA code's (Avalanche's) has weight 1 and balances tasks.
    """
    check_integer("replay", "slots", slots, 1)
    check_choice("replay", "balance", balance, BALANCES)
    if weight is not None:
        check_range("replay", "weight", weight, above=0, advice="None: all tasks weigh the same.")

    def init(problem: Problem, modules: Modules) -> Buffer:
        del problem, modules
        return empty_buffer(slots)

    def add_buffered_samples(problem: Problem, buffer: Buffer, key: Array, batch: Batch) -> Batch:
        key_draw, key_augment = jax.random.split(key)
        old = draw_batch(problem, buffer, key_draw, len(batch.class_index), batch.task)
        x = old.x if augment is None else augment(key_augment, old.x)
        relative = batch.task if weight is None else weight
        return join_batches(batch, old.replace(x=x, weights=relative * old.weights))

    def after_task(
        problem: Problem, buffer: Buffer, key: Array, modules: Modules, task: Array
    ) -> Buffer:
        del modules
        return insert_task(problem, buffer, key, task, balance)

    return Strategy(init=init, batch=add_buffered_samples, after_task=after_task)
