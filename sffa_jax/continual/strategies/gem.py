"""Gradient episodic memory: no step may increase the loss on stored samples of an earlier task."""

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, Int

from sffa_jax.checks import check_integer, check_range
from sffa_jax.continual.model import Modules
from sffa_jax.continual.problem import Batch, Problem
from sffa_jax.continual.quadratic_program import nonnegative_minimum
from sffa_jax.continual.strategy import Strategy, zeros_like
from sffa_jax.core.bodies import Params


class Patterns(struct.PyTreeNode):
    """Stored samples, by task: GEM has one constraint per task.

    Attributes: image: indices of the stored training images.
    """

    image: Int[Array, "*runs tasks patterns"]


def inner(first: Params, second: Params) -> Float[Array, ""]:
    """Inner product of two pytrees."""
    products = jax.tree.map(lambda a, b: jnp.sum(a * b), first, second)
    return jnp.sum(jnp.stack(jax.tree.leaves(products)))


def project(gradient: Params, references: Params, strength: float | Array = 0.0) -> Params:
    """The nearest gradient that agrees with all references: <g, r_k> >= 0 for each k.

    The dual problem is min over v >= strength of |g + sum_k v_k r_k|^2 / 2, a quadratic program of
    one variable per reference, which is solved exactly. The result is g if it agrees with all.

    Args:
      gradient: g, a pytree.
      references: the same with a leading axis of references; a zero reference has no effect.
      strength: lower bound of v; above 0 the result leans toward the references.

    Raises:
      ValueError: for a negative strength.
    """
    check_range("project", "strength", strength, at_least=0)
    gram = jax.vmap(lambda a: jax.vmap(lambda b: inner(a, b))(references))(references)
    agreement = jax.vmap(lambda a: inner(a, gradient))(references)
    # With v = strength + u, u >= 0.
    lean = jnp.full(agreement.shape, strength, gram.dtype)
    v = lean + nonnegative_minimum(gram, agreement + gram @ lean)
    v = jnp.where(jnp.any(agreement < 0), v, 0.0)
    return jax.tree.map(lambda g, r: g + jnp.tensordot(v, r, axes=1), gradient, references)


def gem(*, patterns: int = 20, strength: float | Array = 0.5) -> Strategy:
    """Projects each module's gradient by its gradients on stored samples of earlier tasks.

    The gradients of modules that share one loss are projected as one.

    Args:
      patterns: samples stored of each task, drawn with replacement.
      strength: lower bound of an earlier task's weight in a projected step.

    Raises:
      ValueError: for a number out of range.

    Reference: Lopez-Paz & Ranzato 2017, arXiv:1706.08840.
    """
    check_integer("gem", "patterns", patterns, 1)
    check_range("gem", "strength", strength, at_least=0)

    def init(problem: Problem, modules: Modules) -> Patterns:
        del modules
        num_references = max(1, problem.scenario.num_tasks - 1)
        return Patterns(jnp.zeros((num_references, patterns), jnp.int32))

    def projected(
        problem: Problem,
        stored: Patterns,
        key: Array,
        modules: Modules,
        gradients: Modules,
        batch: Batch,
    ) -> Modules:
        del key

        def of_task(task: Array) -> Modules:
            return problem.gradient(modules, problem.batch(stored.image[task], batch.task))[0]

        def reference(task: Array) -> Modules:
            return jax.lax.cond(task < batch.task, of_task, lambda _: zeros_like(modules), task)

        references = jax.lax.map(reference, jnp.arange(len(stored.image)))
        if problem.model.coupled:
            return project(gradients, references, strength)
        return tuple(project(g, r, strength) for g, r in zip(gradients, references, strict=True))

    def after_task(
        problem: Problem, stored: Patterns, key: Array, modules: Modules, task: Array
    ) -> Patterns:
        del modules
        # The last task has no row; JAX drops a write out of range.
        drawn = problem.draw(key, task, patterns)
        return Patterns(stored.image.at[task].set(drawn, mode="drop"))

    return Strategy(init=init, gradients=projected, after_task=after_task)
