"""Class groups: the units of a class learn by a local loss only while the class is present."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array

from sffa_jax.checks import check_choice, check_image_shape, check_integer, reject
from sffa_jax.continual.buffer import Buffer, draw_batch, empty_buffer, insert_task
from sffa_jax.continual.model import Modules
from sffa_jax.continual.problem import Batch, Problem
from sffa_jax.continual.strategy import Strategy
from sffa_jax.continual.synthetic_negatives import SYNTHETIC_NEGATIVES

NEGATIVES = (*SYNTHETIC_NEGATIVES, "other")


def class_groups(
    *,
    shape: Sequence[int],
    negatives: Sequence[str] = ("noise", "shuffled", "hybrid", "other"),
    slots: int = 0,
) -> Strategy:
    """Trains only the groups of the current task's classes; the class of the highest logit wins.

    A group's loss is softplus(-l) on its class's images plus the mean over `negatives` of
    softplus(l) on images of no class. Groups do not depend on each other. A label of several
    classes (domain scenario) gets the highest score of those seen so far.

    Capacity: every class has the same number of units from the start, and no further class can be
    added. The model must be a `class_groups.grouped_model` with a group for each class.

    Args:
      shape: shape of an image.
      negatives: noise, hybrid and shuffled are synthesized from images of the task (see
        `synthetic_negatives`); other: images of the task's other classes.
      slots: buffered samples of earlier tasks, used as negatives of later classes; 0: no buffer.

    Raises:
      ValueError: for an unknown name or no negative; in a run, for another model.
    """
    for name in negatives:
        check_choice("class_groups", "negatives", name, NEGATIVES)
    check_image_shape("class_groups", shape)
    check_integer("class_groups", "slots", slots, 0, "0: no buffer.")
    if not negatives:
        raise reject("class_groups", "negatives", "name at least one kind of negative", "none")
    makers = [SYNTHETIC_NEGATIVES[name] for name in negatives if name in SYNTHETIC_NEGATIVES]

    def init(problem: Problem, modules: Modules) -> Buffer | None:
        classes = problem.scenario.num_classes
        groups = sorted({len(leaf) for leaf in jax.tree.leaves(modules)})
        if groups != [classes]:
            rule = f"be a `grouped_model` with {classes} groups, one for each class"
            raise reject("class_groups", "model", rule, f"parameters of {groups}")
        return empty_buffer(slots) if slots else None

    def loss(
        problem: Problem, buffer: Buffer | None, key: Array, modules: Modules, batch: Batch
    ) -> tuple[Array, Array]:
        per_task = problem.scenario.classes_per_task
        key_old, *keys = jax.random.split(key, 1 + len(makers))
        # Shift the darkest pixel to 0, so that an empty patch is the same in every image.
        x = batch.x - jnp.min(batch.x, axis=-1, keepdims=True)
        images = [x, *(make(k, x, shape) for make, k in zip(makers, keys, strict=True))]
        old_weights = None
        if buffer is not None:
            old = draw_batch(problem, buffer, key_old, len(x), batch.task)
            images.append(old.x)
            old_weights = old.weights
        groups = jax.tree.map(
            lambda w: jax.lax.dynamic_slice_in_dim(w, batch.task * per_task, per_task), modules
        )
        logits = problem.model.logits(groups, problem.overlay, jnp.concatenate(images), None)
        logits = logits.reshape(len(logits), len(images), len(x), per_task)
        own_class = jax.nn.one_hot(batch.class_index - batch.task * per_task, per_task)[None]
        weights = batch.normalized_weights
        positive = jax.nn.softplus(-jnp.sum(logits[:, 0] * own_class, axis=-1)) @ weights
        negative = jax.nn.softplus(logits)
        terms = [
            jnp.sum(negative[:, i] * own_class, axis=-1) @ weights
            for i in range(1, 1 + len(makers))
        ]
        if "other" in negatives:
            terms.append(
                jnp.sum(negative[:, 0] * (1 - own_class), axis=-1) @ weights / (per_task - 1)
            )
        if old_weights is not None:
            terms.append(jnp.mean(negative[:, -1], axis=-1) @ (weights * old_weights))
        # An empty buffer, in the first task, is no kind of negative.
        empty = 0 if old_weights is None else 1 - jnp.any(old_weights > 0)
        by_module = positive + sum(terms) / (len(terms) - empty)
        return jnp.sum(by_module), by_module

    def current_groups_only(
        problem: Problem, buffer: Buffer | None, updates: Modules, batch: Batch
    ) -> Modules:
        del buffer
        scenario = problem.scenario
        learns = scenario.task_of(jnp.arange(scenario.num_classes)) == batch.task
        return jax.tree.map(lambda u: jnp.where(learns[:, None, None], u, 0), updates)

    def after_task(
        problem: Problem, buffer: Buffer | None, key: Array, modules: Modules, task: Array
    ) -> Buffer | None:
        del modules
        if buffer is None:
            return None
        return insert_task(problem, buffer, key, task)

    def scores(problem: Problem, buffer: Buffer | None, modules: Modules, batch: Batch) -> Array:
        del buffer
        logits = problem.model.logits(modules, problem.overlay, batch.x, None)
        return problem.label_scores(logits, batch)

    return Strategy(
        init=init,
        loss=loss,
        updates=current_groups_only,
        after_task=after_task,
        scores=scores,
    )
