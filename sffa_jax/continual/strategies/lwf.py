"""Learning without forgetting: on the new images, answer the old questions as before the task."""

import jax
import jax.numpy as jnp
from jaxtyping import Array

from sffa_jax.checks import check_range
from sffa_jax.continual.model import Modules
from sffa_jax.continual.strategy import Batch, Problem, Strategy


def lwf(
    problem: Problem, *, strength: float | Array = 1.0, temperature: float | Array = 2.0
) -> Strategy:
    """Adds strength * T^2 * cross-entropy between each module's answers before and in this task.

    The answers are softmaxes, at temperature T, over the labels of the earlier tasks: over all of
    them together (class), over the labels that all tasks share (domain), over each earlier task's
    labels by themselves (task).

    Args:
      problem: what it is used on.
      strength: lambda; 1 weighs an old task's questions as one new sample's loss.
      temperature: T > 0.

    Raises:
      ValueError: for a number out of range.

    Reference: Li & Hoiem 2016, arXiv:1606.09282.
    """
    check_range("lwf", "strength", strength, at_least=0)
    check_range("lwf", "temperature", temperature, above=0)
    scenario = problem.scenario
    groups = scenario.num_tasks if scenario.kind == "task" else 1

    def init(modules: Modules) -> Modules:
        return modules

    def answers(modules: Modules, batch: Batch) -> Array:
        """[modules, batch, groups, labels of a group] log-odds over T."""
        outputs = problem.model.outputs(modules, problem.overlay, batch.x, None)
        return outputs.reshape(*outputs.shape[:2], groups, -1) / temperature

    def penalty(old: Modules, key: Array, modules: Modules, batch: Batch) -> Array:
        del key
        number = jnp.arange(scenario.num_labels)
        seen = number < batch.now * scenario.classes_per_task
        asked = jnp.ones_like(seen) if scenario.kind == "domain" else seen
        asked = asked.reshape(1, 1, groups, -1)
        # -1e9 instead of -inf: a group in which nothing is asked must not turn into NaN.
        before, after = (jnp.where(asked, answers(m, batch), -1e9) for m in (old, modules))
        cross = -jax.nn.softmax(before) * jnp.where(asked, jax.nn.log_softmax(after), 0.0)
        share = batch.weights / jnp.maximum(jnp.sum(batch.weights), 1e-9)
        by_module = jnp.sum(cross, axis=(-2, -1)) @ share
        return strength * temperature**2 * jnp.sum(by_module) * (batch.now > 0)

    def after_task(old: Modules, key: Array, modules: Modules, now: Array) -> Modules:
        del old, key, now
        return modules

    return Strategy(init=init, penalty=penalty, after_task=after_task)
