"""Gradient episodic memory: no step may raise the loss on any earlier task's memory."""

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, Int

from sffa_jax.checks import check_integer, check_range
from sffa_jax.continual.model import Modules
from sffa_jax.continual.quadratic_program import nonnegative_minimum
from sffa_jax.continual.strategy import Batch, Problem, Strategy, zeros_like
from sffa_jax.core.layer import Params


class Patterns(struct.PyTreeNode):
    """Attributes: image: [tasks, patterns] indices of the remembered training images."""

    image: Int[Array, "*runs tasks patterns"]


def inner(first: Params, second: Params) -> Float[Array, ""]:
    """Inner product of two pytrees."""
    products = jax.tree.map(lambda a, b: jnp.sum(a * b), first, second)
    return jnp.sum(jnp.stack(jax.tree.leaves(products)))


def project(gradient: Params, references: Params, strength: float | Array = 0.0) -> Params:
    """The nearest gradient that agrees with all references: <g, r_k> >= 0 for each k.

    min over v >= strength of |g + sum_k v_k r_k|^2 / 2, the dual of that problem: an exact
    quadratic program of one variable a reference. g itself where it agrees with all of them.

    Args:
      gradient: g, a pytree.
      references: the same with a leading axis of references; a zero reference forbids nothing.
      strength: least v; above 0 the result leans toward the references.

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


def gem(problem: Problem, *, patterns: int = 20, strength: float | Array = 0.5) -> Strategy:
    """Projects each module's gradient by its gradients on the earlier tasks' memories.

    Args:
      problem: what it is used on.
      patterns: samples remembered of each task.
      strength: least weight of a reference once a step is projected.

    Raises:
      ValueError: for a number out of range.

    Reference: Lopez-Paz & Ranzato 2017, arXiv:1706.08840.
    """
    check_integer("gem", "patterns", patterns, 1)
    check_range("gem", "strength", strength, at_least=0)
    num_references = max(1, problem.scenario.num_tasks - 1)

    def init(_: Modules) -> Patterns:
        return Patterns(jnp.zeros((num_references, patterns), jnp.int32))

    def gradients(memory: Patterns, modules: Modules, own: Modules, batch: Batch) -> Modules:
        def of_task(task: Array) -> Modules:
            old = problem.batch(memory.image[task], batch.now)
            return jax.grad(problem.loss, has_aux=True)(modules, old)[0]

        def reference(task: Array) -> Modules:
            return jax.lax.cond(task < batch.now, of_task, lambda _: zeros_like(modules), task)

        references = jax.lax.map(reference, jnp.arange(num_references))
        return tuple(project(g, r, strength) for g, r in zip(own, references, strict=True))

    def after_task(memory: Patterns, key: Array, modules: Modules, now: Array) -> Patterns:
        del modules
        # The last task has no row, and an index out of range writes nothing.
        drawn = problem.draw(key, now, patterns)
        return Patterns(memory.image.at[now].set(drawn, mode="drop"))

    return Strategy(init=init, gradients=gradients, after_task=after_task)
