"""GDumb: fill a balanced memory, and learn from it alone, from the beginning, for every task."""

from jaxtyping import Array

from sffa_jax.checks import check_integer
from sffa_jax.continual.buffer import Reservoir, empty_reservoir
from sffa_jax.continual.model import Modules
from sffa_jax.continual.strategies.replay import draw_batch, remember_task
from sffa_jax.continual.strategy import Batch, Problem, Strategy


def gdumb(problem: Problem, *, slots: int = 500) -> Strategy:
    """Puts a task's samples into the memory first, then trains new weights on the memory only, for
    as many steps as every other strategy has.

    Args:
      problem: what it is used on.
      slots: samples the class-balanced memory holds.

    Raises:
      ValueError: for no slot.

    Reference: Prabhu, Torr & Dokania 2020, GDumb, ECCV. Differs from it: Adam and as many steps as
    the others, no cutmix.
    """
    check_integer("gdumb", "slots", slots, 1)

    def init(_: Modules) -> Reservoir:
        return empty_reservoir(slots)

    def before_task(reservoir: Reservoir, key: Array, _: Modules, now: Array) -> Reservoir:
        return remember_task(problem, reservoir, key, now)

    def memory_alone(reservoir: Reservoir, key: Array, batch: Batch) -> Batch:
        return draw_batch(problem, reservoir, key, len(batch.places), batch.now)

    return Strategy(init=init, before_task=before_task, batch=memory_alone, restart=True)
