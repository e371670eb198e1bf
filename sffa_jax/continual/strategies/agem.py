"""Averaged gradient episodic memory: no step may raise the mean loss on the memory."""

import jax
import jax.numpy as jnp
from jaxtyping import Array

from sffa_jax.checks import check_integer
from sffa_jax.continual.buffer import Reservoir, empty_reservoir
from sffa_jax.continual.model import Modules
from sffa_jax.continual.strategies.gem import inner
from sffa_jax.continual.strategies.replay import draw_batch, remember_task
from sffa_jax.continual.strategy import Batch, Problem, Strategy
from sffa_jax.core.layer import Params


def project_on_one(gradient: Params, reference: Params) -> Params:
    """Takes out of a gradient what opposes the reference."""
    agreement = inner(gradient, reference)
    length = inner(reference, reference)
    back = jnp.minimum(agreement, 0.0) / jnp.where(length > 0, length, 1.0)
    return jax.tree.map(lambda g, r: g - back * r, gradient, reference)


class Drawn(Reservoir):
    """A reservoir that knows how often it was drawn from, for the next draw's key."""

    draws: Array


def agem(problem: Problem, *, slots: int = 500, draw: int = 256) -> Strategy:
    """Projects each module's gradient by its mean gradient on samples of the memory.

    Args:
      problem: what it is used on.
      slots: samples the class-balanced memory holds.
      draw: samples of it that a step compares with.

    Raises:
      ValueError: for a number out of range.

    Reference: Chaudhry et al. 2019, arXiv:1812.00420.
    """
    check_integer("agem", "slots", slots, 1)
    check_integer("agem", "draw", draw, 1)

    def init(_: Modules) -> Drawn:
        blank = empty_reservoir(slots)
        return Drawn(blank.image, blank.place, blank.priority, draws=jnp.int32(0))

    def gradients(memory: Drawn, modules: Modules, own: Modules, batch: Batch) -> Modules:
        old = draw_batch(problem, memory, jax.random.key(memory.draws), draw, batch.now)
        reference, _ = jax.grad(problem.loss, has_aux=True)(modules, old)
        return tuple(project_on_one(g, r) for g, r in zip(own, reference, strict=True))

    def after_step(memory: Drawn, *_: Modules) -> Drawn:
        return memory.replace(draws=memory.draws + 1)

    def after_task(memory: Drawn, key: Array, modules: Modules, now: Array) -> Drawn:
        del modules
        kept = remember_task(problem, memory, key, now)
        return Drawn(kept.image, kept.place, kept.priority, draws=memory.draws)

    return Strategy(init=init, gradients=gradients, after_step=after_step, after_task=after_task)
