"""Ownership by the local loss: a class's units learn while it is there, and never again."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float

from sffa_jax.checks import check_choice, check_image_shape, check_integer, reject
from sffa_jax.continual.buffer import Reservoir, empty_reservoir
from sffa_jax.continual.model import Modules
from sffa_jax.continual.strategies.replay import draw_batch, remember_task
from sffa_jax.continual.strategy import Batch, Problem, Strategy
from sffa_jax.continual.synthetic_negatives import IMPOSTORS

NEGATIVES = (*IMPOSTORS, "other")
CALIBRATIONS = ("none", "standardized")
CALIBRATION_SAMPLES = 1000
SMALLEST_SPREAD = 1e-3


class OwnedMemory(struct.PyTreeNode):
    """Attributes: mean, spread: [modules, classes] of a class's log-odds on its own images;
    reservoir: samples of earlier tasks, None without."""

    mean: Float[Array, "*runs modules classes"]
    spread: Float[Array, "*runs modules classes"]
    reservoir: Reservoir | None


def owned_gradient(
    problem: Problem,
    *,
    shape: Sequence[int],
    negatives: Sequence[str] = ("noise", "shuffled", "hybrid", "other"),
    calibration: str = "none",
    slots: int = 0,
) -> Strategy:
    """Trains the groups of the task's classes only; the label of the highest log-odds wins.

    A group's loss is softplus(-l) on its class's images and the mean over `negatives` of
    softplus(l) on images that are none. Groups see nothing of one another. Whichever class a label
    stands for, it has the highest score of its classes seen so far (domain scenario).

    Capacity: every class has as many units, from the start; with the last group taken there are no
    more classes (`Scenario` says how many come).

    Args:
      problem: what it is used on; its model is an `owned.owned_model` with a group for each class.
      shape: of an image.
      negatives: of the images of a class: noise, hybrid and shuffled (see `impostors`), or other:
        the task's other classes.
      calibration: "none", or "standardized": a class's log-odds by their mean and deviation on
        its own images at the end of its task.
      slots: samples remembered of earlier tasks, negatives of the classes to come; 0: none.

    Raises:
      ValueError: for an unknown name or no negative.
    """
    for name in negatives:
        check_choice("owned_gradient", "negatives", name, NEGATIVES)
    check_choice("owned_gradient", "calibration", calibration, CALIBRATIONS)
    check_image_shape("owned_gradient", shape)
    check_integer("owned_gradient", "slots", slots, 0, "0: no memory of samples.")
    if not negatives and not slots:
        raise reject("owned_gradient", "negatives", "name what a class is told from", "none")
    scenario, model = problem.scenario, problem.model
    own = scenario.classes_per_task
    made = [IMPOSTORS[name] for name in negatives if name in IMPOSTORS]
    classes = scenario.num_tasks * own

    def of_task(modules: Modules, now: Array) -> Modules:
        return jax.tree.map(lambda w: jax.lax.dynamic_slice_in_dim(w, now * own, own), modules)

    def init(modules: Modules) -> OwnedMemory:
        flat = jnp.zeros((len(modules), classes))
        return OwnedMemory(flat, jnp.ones_like(flat), empty_reservoir(slots) if slots else None)

    def loss(
        memory: OwnedMemory, key: Array, modules: Modules, batch: Batch
    ) -> tuple[Array, Array]:
        key_old, *keys = jax.random.split(key, 1 + len(made))
        # Only where an image's darkest pixel is 0 is a patch of nothing a patch of any image.
        x = batch.x - jnp.min(batch.x, axis=-1, keepdims=True)
        images = [x, *(make(k, x, shape) for make, k in zip(made, keys, strict=True))]
        if memory.reservoir is not None:
            old = draw_batch(problem, memory.reservoir, key_old, len(x), batch.now)
            images.append(old.x)
        groups = of_task(modules, batch.now)
        found = model.outputs(groups, problem.overlay, jnp.concatenate(images), None)
        found = found.reshape(len(found), len(images), len(x), own)
        mine = jax.nn.one_hot(batch.places - batch.now * own, own)[None]
        share = batch.weights / jnp.maximum(jnp.sum(batch.weights), 1e-9)
        positive = jax.nn.softplus(-jnp.sum(found[:, 0] * mine, axis=-1)) @ share
        low = jax.nn.softplus(found)
        told = [jnp.sum(low[:, i] * mine, axis=-1) @ share for i in range(1, 1 + len(made))]
        if "other" in negatives:
            told.append(jnp.sum(low[:, 0] * (1 - mine), axis=-1) @ share / (own - 1))
        if memory.reservoir is not None:
            told.append(jnp.mean(low[:, -1], axis=-1) @ (share * old.weights))
        by_module = positive + sum(told) / len(told)
        return jnp.sum(by_module), by_module

    def updates(memory: OwnedMemory, updates: Modules, batch: Batch) -> Modules:
        del memory
        learns = scenario.task_of(jnp.arange(classes)) == batch.now
        return jax.tree.map(lambda u: jnp.where(learns[:, None, None], u, 0), updates)

    def after_task(memory: OwnedMemory, key: Array, modules: Modules, now: Array) -> OwnedMemory:
        key_draw, key_memory = jax.random.split(key)
        if calibration == "standardized":
            batch = problem.batch(problem.draw(key_draw, now, CALIBRATION_SAMPLES), now)
            found = model.outputs(modules, problem.overlay, batch.x, None)
            mine = jax.nn.one_hot(batch.places, classes)[None]
            count = jnp.maximum(jnp.sum(mine, axis=1), 1)
            mean = jnp.sum(found * mine, axis=1) / count
            spread = jnp.sqrt(jnp.sum(jnp.square(found - mean[:, None]) * mine, axis=1) / count)
            learned = scenario.task_of(jnp.arange(classes))[None] == now
            memory = memory.replace(
                mean=jnp.where(learned, mean, memory.mean),
                spread=jnp.where(learned, jnp.maximum(spread, SMALLEST_SPREAD), memory.spread),
            )
        if memory.reservoir is not None:
            kept = remember_task(problem, memory.reservoir, key_memory, now)
            memory = memory.replace(reservoir=kept)
        return memory

    def scores(memory: OwnedMemory, modules: Modules, batch: Batch) -> Array:
        found = model.outputs(modules, problem.overlay, batch.x, None)
        return problem.by_label((found - memory.mean[:, None]) / memory.spread[:, None], batch)

    return Strategy(init=init, loss=loss, updates=updates, after_task=after_task, scores=scores)
