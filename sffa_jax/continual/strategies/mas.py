"""Memory-aware synapses: protects parameters that affect the logits strongly."""

import jax
import jax.numpy as jnp
from jaxtyping import Array

from sffa_jax.checks import check_integer, check_range
from sffa_jax.continual import quadratic
from sffa_jax.continual.model import Modules
from sffa_jax.continual.problem import Batch, Problem, mean_over_samples
from sffa_jax.continual.quadratic import Quadratic
from sffa_jax.continual.strategy import Strategy


def sensitivity(problem: Problem, modules: Modules, batch: Batch) -> Modules:
    """Mean over samples of |gradient of the squared length of a module's logits|; no labels."""

    def absolute(sample: Batch) -> Modules:
        _, allowed = problem.targets_and_allowed(sample)

        def length(modules: Modules) -> Array:
            logits = problem.logits(modules, sample)
            return jnp.sum(jnp.square(jnp.where(allowed[None], logits, 0.0)))

        return jax.tree.map(jnp.abs, jax.grad(length)(modules))

    return mean_over_samples(absolute, batch)


def mas(
    *,
    strength: float | Array = 1.0,
    keep: float | Array = 0.5,
    num_samples: int = 256,
) -> Strategy:
    """Adds strength * sum of Omega (theta - theta*)^2.

    After each task Omega becomes keep * Omega + (1 - keep) * the new task's sensitivity.

    Args:
      strength: lambda.
      keep: alpha in [0, 1].
      num_samples: number of samples per task for the estimate of the sensitivity.

    Raises:
      ValueError: for a number out of range.

    Reference: Aljundi et al. 2018, arXiv:1711.09601; keep as in Avalanche, which the released SFFA
    code uses. Only logits of labels that compete count.
    """
    check_range("mas", "strength", strength, at_least=0)
    check_range("mas", "keep", keep, at_least=0, at_most=1)
    check_integer("mas", "num_samples", num_samples, 1)

    def init(problem: Problem, modules: Modules) -> Quadratic:
        del problem
        return quadratic.zero_quadratic(modules)

    def penalty(
        problem: Problem, state: Quadratic, key: Array, modules: Modules, batch: Batch
    ) -> Array:
        del problem, key, batch
        return strength * quadratic.penalty(state, modules)

    def after_task(
        problem: Problem, state: Quadratic, key: Array, modules: Modules, task: Array
    ) -> Quadratic:
        batch = problem.batch(problem.draw(key, task, num_samples), task)
        new = sensitivity(problem, modules, batch)
        # Before the first task there is no importance.
        old_weight = jnp.where(task == 0, 0.0, keep)
        mixed = jax.tree.map(
            lambda old, s: old_weight * old + (1 - old_weight) * s, state.importance, new
        )
        return Quadratic(mixed, modules)

    return Strategy(init=init, penalty=penalty, after_task=after_task)
