"""Learning without forgetting: on new images, keeps the outputs of the network before the task."""

import jax
import jax.numpy as jnp
from jaxtyping import Array

from sffa_jax.checks import check_range
from sffa_jax.continual.model import Modules
from sffa_jax.continual.problem import Batch, Problem
from sffa_jax.continual.strategy import Strategy


def lwf(*, strength: float | Array = 1.0, temperature: float | Array = 2.0) -> Strategy:
    """Adds strength * T^2 * cross-entropy between each module's outputs before and in this task.

    The outputs are softmaxes, at temperature T, over the labels of the earlier tasks: over all of
    them together (class), over the labels that all tasks share (domain), or over the labels of each
    earlier task separately (task).

    Args:
      strength: lambda; at 1 the old outputs on a sample have the same weight as its loss.
      temperature: T > 0.

    Raises:
      ValueError: for a number out of range.

    Reference: Li & Hoiem 2016, arXiv:1606.09282.
    """
    check_range("lwf", "strength", strength, at_least=0)
    check_range("lwf", "temperature", temperature, above=0)

    def init(problem: Problem, modules: Modules) -> Modules:
        del problem
        return modules

    def penalty(
        problem: Problem, old: Modules, key: Array, modules: Modules, batch: Batch
    ) -> Array:
        del key
        scenario = problem.scenario
        groups = scenario.num_tasks if scenario.kind == "task" else 1

        def outputs(modules: Modules) -> Array:
            """[modules, batch, groups, labels of a group] logits over T."""
            logits = problem.model.logits(modules, problem.overlay, batch.x, None)
            return logits.reshape(*logits.shape[:2], groups, -1) / temperature

        number = jnp.arange(scenario.num_labels)
        seen = number < batch.task * scenario.classes_per_task
        kept = jnp.ones_like(seen) if scenario.kind == "domain" else seen
        kept = kept.reshape(1, 1, groups, -1)
        # -1e9 instead of -inf: a group without labels must not give NaN.
        before, after = (jnp.where(kept, outputs(m), -1e9) for m in (old, modules))
        cross = -jax.nn.softmax(before) * jnp.where(kept, jax.nn.log_softmax(after), 0.0)
        by_module = jnp.sum(cross, axis=(-2, -1)) @ batch.normalized_weights
        return strength * temperature**2 * jnp.sum(by_module) * (batch.task > 0)

    def after_task(
        problem: Problem, old: Modules, key: Array, modules: Modules, task: Array
    ) -> Modules:
        del problem, old, key, task
        return modules

    return Strategy(init=init, penalty=penalty, after_task=after_task)
