"""Elastic weight consolidation: parameters the earlier tasks' losses are curved in are held."""

import jax
import jax.numpy as jnp
from jaxtyping import Array

from sffa_jax.checks import check_choice, check_integer, check_range
from sffa_jax.continual import quadratic
from sffa_jax.continual.model import Modules
from sffa_jax.continual.quadratic import Quadratic
from sffa_jax.continual.strategy import Batch, Problem, Strategy, mean_over_samples


def fisher(problem: Problem, modules: Modules, batch: Batch) -> Modules:
    """Diagonal of the empirical Fisher matrix: mean over samples of the squared gradient.

    Each module's own, from its own loss, at the true labels. The square is taken sample by sample:
    that of a batch's mean gradient would be smaller, the more so the larger the batch.
    """

    def squared(one: Batch) -> Modules:
        gradient, _ = jax.grad(problem.loss, has_aux=True)(modules, one)
        return jax.tree.map(jnp.square, gradient)

    return mean_over_samples(squared, batch)


def ewc(
    problem: Problem,
    *,
    strength: float | Array = 1e4,
    mode: str = "separate",
    decay: float | Array = 1.0,
    num_samples: int = 256,
) -> Strategy:
    """Adds strength / 2 * sum_t F_t (theta - theta_t)^2 over the earlier tasks t.

    Args:
      problem: what it is used on.
      strength: lambda, in units of the loss: at 1 the penalty is the second-order estimate of how
        much an earlier task's mean loss has risen, in nats, if F were its curvature.
      mode: "separate": a quadratic a task, each around its own end; "online": one, around the last
        task's end.
      decay: gamma in [0, 1]: online, what is left of the importance after a task.
      num_samples: samples of a task that the Fisher matrix is estimated from.

    Raises:
      ValueError: for an unknown mode or a number out of range.

    Reference: Kirkpatrick et al. 2017, arXiv:1612.00796 (separate); Schwarz et al. 2018,
    arXiv:1805.06370 (online). Differs from them: the Fisher matrix at the true labels.
    """
    check_choice("ewc", "mode", mode, ("separate", "online"))
    check_range("ewc", "strength", strength, at_least=0)
    check_range("ewc", "decay", decay, at_least=0, at_most=1)
    check_integer("ewc", "num_samples", num_samples, 1)

    def penalty(memory: Quadratic, key: Array, modules: Modules, batch: Batch) -> Array:
        del key, batch
        return 0.5 * strength * quadratic.penalty(memory, modules)

    def after_task(memory: Quadratic, key: Array, modules: Modules, now: Array) -> Quadratic:
        batch = problem.batch(problem.draw(key, now, num_samples), now)
        new = fisher(problem, modules, batch)
        if mode == "separate":
            return quadratic.add_quadratic(memory, new, modules)
        faded = jax.tree.map(lambda old, f: decay * old + f, memory.importance, new)
        return Quadratic(faded, modules)

    return Strategy(init=quadratic.no_pull, penalty=penalty, after_task=after_task)
