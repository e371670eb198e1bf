"""Elastic weight consolidation: protects parameters with a high curvature of earlier losses."""

import jax
import jax.numpy as jnp
from jaxtyping import Array

from sffa_jax.checks import check_choice, check_integer, check_range
from sffa_jax.continual import quadratic
from sffa_jax.continual.model import Modules
from sffa_jax.continual.problem import Batch, Problem, mean_over_samples
from sffa_jax.continual.quadratic import Quadratic
from sffa_jax.continual.strategy import Strategy


def fisher(problem: Problem, modules: Modules, batch: Batch) -> Modules:
    """Diagonal of the empirical Fisher matrix: mean over samples of the squared gradient.

    It is computed per module, from the module's loss, at the true labels. The gradient is squared
    per sample, because the square of a batch's mean gradient decreases with the batch size.
    """

    def squared(sample: Batch) -> Modules:
        return jax.tree.map(jnp.square, problem.gradient(modules, sample)[0])

    return mean_over_samples(squared, batch)


def ewc(
    *,
    strength: float | Array = 1e4,
    mode: str = "separate",
    fisher_decay: float | Array = 1.0,
    num_samples: int = 256,
) -> Strategy:
    """Adds strength / 2 * sum_t F_t (theta - theta_t)^2 over the earlier tasks t.

    Args:
      strength: lambda, in units of the loss: at 1 the penalty is the second-order estimate of how
        much an earlier task's mean loss has risen, in nats, if F were its curvature.
      mode: "separate": a quadratic per task, each around that task's end; "online": one, around
        the last task's end.
      fisher_decay: gamma in [0, 1]: online, factor on the old importance after each task.
      num_samples: number of samples per task for the estimate of the Fisher matrix.

    Raises:
      ValueError: for an unknown mode or a number out of range.

    Reference: Kirkpatrick et al. 2017, arXiv:1612.00796 (separate); Schwarz et al. 2018,
    arXiv:1805.06370 (online). Differs from them: the Fisher matrix at the true labels.

    >>> ewc(strength=1e4).penalty is not None
    True
    """
    check_choice("ewc", "mode", mode, ("separate", "online"))
    check_range("ewc", "strength", strength, at_least=0)
    check_range("ewc", "fisher_decay", fisher_decay, at_least=0, at_most=1)
    check_integer("ewc", "num_samples", num_samples, 1)

    def init(problem: Problem, modules: Modules) -> Quadratic:
        del problem
        return quadratic.zero_quadratic(modules)

    def penalty(
        problem: Problem, state: Quadratic, key: Array, modules: Modules, batch: Batch
    ) -> Array:
        del problem, key, batch
        return 0.5 * strength * quadratic.penalty(state, modules)

    def after_task(
        problem: Problem, state: Quadratic, key: Array, modules: Modules, task: Array
    ) -> Quadratic:
        batch = problem.batch(problem.draw(key, task, num_samples), task)
        new = fisher(problem, modules, batch)
        if mode == "separate":
            return quadratic.add_quadratic(state, new, modules)
        faded = jax.tree.map(lambda old, f: fisher_decay * old + f, state.importance, new)
        return Quadratic(faded, modules)

    return Strategy(init=init, penalty=penalty, after_task=after_task)
