"""Experience replay: every update also learns from a small memory of earlier samples."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array

from sffa_jax.checks import check_integer, check_range
from sffa_jax.continual.buffer import Reservoir, draw_slots, empty_reservoir, insert
from sffa_jax.continual.model import Modules
from sffa_jax.continual.strategy import Batch, Problem, Strategy, join_batches

Augment = Callable[[Array, Array], Array]


def remember_task(problem: Problem, reservoir: Reservoir, key: Array, task: Array) -> Reservoir:
    """Shows a whole task to the reservoir."""
    indices = problem.stream.train[task]
    padding = jnp.arange(indices.shape[0]) >= problem.stream.num_train[task]
    return insert(
        reservoir,
        indices,
        jnp.where(padding, -1, problem.stream.train_places[indices]),
        jax.random.uniform(key, indices.shape),
        problem.scenario.num_tasks * problem.scenario.classes_per_task,
    )


def draw_batch(problem: Problem, reservoir: Reservoir, key: Array, size: int, now: Array) -> Batch:
    """Samples of the memory; of weight 0 while it is empty."""
    slots = draw_slots(key, reservoir, size)
    batch = problem.batch(reservoir.image[slots], now)
    return batch.replace(weights=batch.weights * reservoir.filled[slots])


def replay(
    problem: Problem,
    *,
    slots: int = 500,
    weight: float | Array | None = 1.0,
    augment: Augment | None = None,
) -> Strategy:
    """Adds to each batch as many samples of a class-balanced memory.

    Args:
      problem: what it is used on.
      slots: samples the memory holds; it is filled after each task.
      weight: of a memory's sample against a new one's; None: the number of earlier tasks, with
        which all tasks seen so far weigh the same, as they would in joint training.
      augment: (key, images) -> images, applied to the memory's images at each draw.

    Raises:
      ValueError: for a number out of range.

    Reference: Chaudhry et al. 2019, On Tiny Episodic Memories, arXiv:1902.10486; weight 1 and no
    augmentation there.
    """
    check_integer("replay", "slots", slots, 1)
    if weight is not None:
        check_range("replay", "weight", weight, above=0, advice="None: all tasks weigh the same.")

    def init(_: Modules) -> Reservoir:
        return empty_reservoir(slots)

    def mix(reservoir: Reservoir, key: Array, batch: Batch) -> Batch:
        key_draw, key_augment = jax.random.split(key)
        old = draw_batch(problem, reservoir, key_draw, len(batch.places), batch.now)
        x = old.x if augment is None else augment(key_augment, old.x)
        share = batch.now if weight is None else weight
        return join_batches(batch, old.replace(x=x, weights=share * old.weights))

    def after_task(reservoir: Reservoir, key: Array, _: Modules, now: Array) -> Reservoir:
        return remember_task(problem, reservoir, key, now)

    return Strategy(init=init, batch=mix, after_task=after_task)
