"""Memory-aware synapses: parameters that the outputs are sensitive to are held."""

import jax
import jax.numpy as jnp
from jaxtyping import Array

from sffa_jax.checks import check_integer, check_range
from sffa_jax.continual import quadratic
from sffa_jax.continual.model import Modules
from sffa_jax.continual.quadratic import Quadratic
from sffa_jax.continual.strategy import Batch, Problem, Strategy, mean_over_samples


def sensitivity(problem: Problem, modules: Modules, batch: Batch) -> Modules:
    """Mean over samples of |gradient of the squared length of a module's outputs|; no labels."""

    def absolute(one: Batch) -> Modules:
        _, allowed = problem.choices(one)

        def length(modules: Modules) -> Array:
            outputs = problem.outputs(modules, one)
            return jnp.sum(jnp.square(jnp.where(allowed[None], outputs, 0.0)))

        return jax.tree.map(jnp.abs, jax.grad(length)(modules))

    return mean_over_samples(absolute, batch)


def mas(
    problem: Problem,
    *,
    strength: float | Array = 1.0,
    keep: float | Array = 0.5,
    num_samples: int = 256,
) -> Strategy:
    """Adds strength * sum of Omega (theta - theta*)^2.

    After each task Omega becomes keep * Omega + (1 - keep) * the new task's sensitivity.

    Args:
      problem: what it is used on.
      strength: lambda.
      keep: alpha in [0, 1].
      num_samples: samples of a task that the sensitivity is estimated from.

    Raises:
      ValueError: for a number out of range.

    Reference: Aljundi et al. 2018, arXiv:1711.09601; keep as in Avalanche, which the released SFFA
    code uses. Forward-only, a module's outputs are the log-odds of the labels that compete.
    """
    check_range("mas", "strength", strength, at_least=0)
    check_range("mas", "keep", keep, at_least=0, at_most=1)
    check_integer("mas", "num_samples", num_samples, 1)

    def penalty(memory: Quadratic, key: Array, modules: Modules, batch: Batch) -> Array:
        del key, batch
        return strength * quadratic.penalty(memory, modules)

    def after_task(memory: Quadratic, key: Array, modules: Modules, now: Array) -> Quadratic:
        batch = problem.batch(problem.draw(key, now, num_samples), now)
        new = sensitivity(problem, modules, batch)
        # The first task's importance is its own: there is nothing yet to mix it with.
        share = jnp.where(now == 0, 0.0, keep)
        mixed = jax.tree.map(lambda old, s: share * old + (1 - share) * s, memory.importance, new)
        return Quadratic(mixed, modules)

    return Strategy(init=quadratic.no_pull, penalty=penalty, after_task=after_task)
