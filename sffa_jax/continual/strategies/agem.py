"""Averaged gradient episodic memory: no step may increase the mean loss on the buffer."""

import jax
import jax.numpy as jnp
from jaxtyping import Array

from sffa_jax.checks import check_integer
from sffa_jax.continual.buffer import Buffer, draw_batch
from sffa_jax.continual.model import Modules
from sffa_jax.continual.problem import Batch, Problem
from sffa_jax.continual.strategies.gem import inner
from sffa_jax.continual.strategies.replay import replay
from sffa_jax.continual.strategy import Strategy
from sffa_jax.core.bodies import Params


def project_on_one(gradient: Params, reference: Params) -> Params:
    """Removes the component of a gradient that opposes the reference."""
    agreement = inner(gradient, reference)
    length = inner(reference, reference)
    back = jnp.minimum(agreement, 0.0) / jnp.where(length > 0, length, 1.0)
    return jax.tree.map(lambda g, r: g - back * r, gradient, reference)


def project_modules(gradients: Modules, references: Modules, coupled: bool) -> Modules:
    """Projects each module's gradient; those of coupled modules, which share a loss, as one."""
    if coupled:
        return project_on_one(gradients, references)
    return tuple(map(project_on_one, gradients, references))


def agem(*, slots: int = 500, draw: int = 256) -> Strategy:
    """Projects each module's gradient by its mean gradient on samples of the buffer.

    Args:
      slots: capacity of the class-balanced buffer, samples.
      draw: buffered samples per step.

    Raises:
      ValueError: for a number out of range.

    Reference: Chaudhry et al. 2019, arXiv:1812.00420.
    """
    check_integer("agem", "slots", slots, 1)
    check_integer("agem", "draw", draw, 1)

    buffered = replay(slots=slots)

    def projected(
        problem: Problem,
        buffer: Buffer,
        key: Array,
        modules: Modules,
        gradients: Modules,
        batch: Batch,
    ) -> Modules:
        old = draw_batch(problem, buffer, key, draw, batch.task)
        references, _ = problem.gradient(modules, old)
        return project_modules(gradients, references, problem.model.coupled)

    return Strategy(init=buffered.init, gradients=projected, after_task=buffered.after_task)
