"""Synaptic intelligence: protects parameters that reduced the losses of earlier tasks."""

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array

from sffa_jax.checks import check_range
from sffa_jax.continual import quadratic
from sffa_jax.continual.model import Modules
from sffa_jax.continual.problem import Batch, Problem
from sffa_jax.continual.quadratic import Quadratic
from sffa_jax.continual.strategy import Strategy, zeros_like


class Path(struct.PyTreeNode):
    """Attributes: gain: decrease of its module's loss due to each parameter in this task, nats;
    quadratic: the importances so far, and the parameters at the end of the last task."""

    gain: Modules
    quadratic: Quadratic


def si(*, strength: float | Array = 1.0, damping: float | Array = 0.1) -> Strategy:
    """Adds strength * sum of Omega (theta - theta*)^2.

    Omega grows after each task by max(gain, 0) / (moved^2 + damping): the path integral of
    -gradient times step, over the squared distance that the parameter moved.

    Args:
      strength: c. At 1 and without damping, the penalty for a full return to the earlier values
        equals the decrease of the loss between them, in nats.
      damping: xi > 0, in units of a squared parameter.

    Raises:
      ValueError: for a number out of range.

    Reference: Zenke, Poole & Ganguli 2017, arXiv:1703.04200. Differs from it: a negative gain
    counts as 0.
    """
    check_range("si", "strength", strength, at_least=0)
    check_range("si", "damping", damping, above=0)

    def init(problem: Problem, modules: Modules) -> Path:
        del problem
        return Path(zeros_like(modules), quadratic.zero_quadratic(modules))

    def penalty(problem: Problem, path: Path, key: Array, modules: Modules, batch: Batch) -> Array:
        del problem, key, batch
        return strength * quadratic.penalty(path.quadratic, modules)

    def after_step(
        problem: Problem, path: Path, before: Modules, after: Modules, gradients: Modules
    ) -> Path:
        del problem
        gain = jax.tree.map(
            lambda total, old, new, g: total - g * (new - old), path.gain, before, after, gradients
        )
        return path.replace(gain=gain)

    def after_task(problem: Problem, path: Path, key: Array, modules: Modules, task: Array) -> Path:
        del problem, key, task

        def importance(omega: Array, gain: Array, start: Array, end: Array) -> Array:
            return omega + jnp.maximum(gain, 0.0) / (jnp.square(end - start) + damping)

        omega = jax.tree.map(
            importance, path.quadratic.importance, path.gain, path.quadratic.anchor, modules
        )
        return Path(zeros_like(modules), Quadratic(omega, modules))

    return Strategy(init=init, penalty=penalty, after_step=after_step, after_task=after_task)
