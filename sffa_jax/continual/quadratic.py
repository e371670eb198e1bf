"""Quadratic penalties that keep important parameters near their earlier values.

A sum of quadratics sum_t F_t (theta - theta_t)^2 equals, up to a constant, one quadratic with
curvature sum_t F_t around the mean of the theta_t weighted by F_t. Penalties for all earlier tasks
therefore need no more memory than one.
"""

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float

from sffa_jax.continual.model import Modules
from sffa_jax.continual.strategy import zeros_like


class Quadratic(struct.PyTreeNode):
    """Attributes: importance: curvature >= 0 of each parameter; anchor: its target value."""

    importance: Modules
    anchor: Modules


def zero_quadratic(modules: Modules) -> Quadratic:
    """A quadratic without importance."""
    return Quadratic(zeros_like(modules), modules)


def add_quadratic(quadratic: Quadratic, importance: Modules, anchor: Modules) -> Quadratic:
    """Adds importance * (parameter - anchor)^2 to a quadratic, up to a constant."""
    total = jax.tree.map(jnp.add, quadratic.importance, importance)

    def mean(old: Array, new_weight: Array, all_weights: Array, new: Array) -> Array:
        fraction = jnp.where(
            all_weights > 0, new_weight / jnp.where(all_weights > 0, all_weights, 1), 1
        )
        return old + fraction * (new - old)

    return Quadratic(total, jax.tree.map(mean, quadratic.anchor, importance, total, anchor))


def penalty(quadratic: Quadratic, modules: Modules) -> Float[Array, ""]:
    """Sum over all parameters of importance * (parameter - anchor)^2."""
    terms = jax.tree.map(
        lambda importance, anchor, now: jnp.sum(importance * jnp.square(now - anchor)),
        quadratic.importance,
        quadratic.anchor,
        modules,
    )
    return jnp.sum(jnp.stack(jax.tree.leaves(terms)))
