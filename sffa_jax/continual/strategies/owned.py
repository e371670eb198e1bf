"""Ownership without gradients: a class's units are the axes along which its images lie."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, Key

from sffa_jax.checks import check_integer
from sffa_jax.continual.model import Modules
from sffa_jax.continual.owned import seen_by_groups
from sffa_jax.continual.readout import over_task
from sffa_jax.continual.strategy import Batch, Problem, Strategy

ITERATIONS = 300
"""Of `leading_axes`."""


class Owned(struct.PyTreeNode):
    """Attributes: axes: orthonormal weights of each class's positive units."""

    axes: Float[Array, "*runs classes pixels units"]


def leading_axes(
    key: Key[Array, ""], moments: Float[Array, "classes pixels pixels"], units: int
) -> Float[Array, "classes pixels units"]:
    """Orthonormal axes that take up the most of each class's second moment.

    By iteration: every unit's axis moves to the mean of its inputs weighted by its answers, then
    those of a class are made orthonormal. That is Oja's rule for all samples at once; products and
    a small triangle are all it takes. The axes are found but for what differs little between two.

    Raises:
      ValueError: for no unit, or more than pixels.
    """
    check_integer("leading_axes", "units", units, 1)
    check_integer("leading_axes", "pixels", moments.shape[-1], units, "Choose fewer units.")

    def orthonormal(v: Array) -> Array:
        # A length of 1 first: a class without an image must not divide 0 by 0.
        v = v / (jnp.sqrt(jnp.sum(jnp.square(v), axis=0, keepdims=True)) + 1e-12)
        lower = jnp.linalg.cholesky(v.T @ v + 1e-6 * jnp.eye(units))
        return jax.scipy.linalg.solve_triangular(lower, v.T, lower=True).T

    def of_class(one: tuple[Array, Array]) -> Array:
        moment, start = one
        found = jax.lax.fori_loop(0, ITERATIONS, lambda _, v: orthonormal(moment @ v), start)
        return orthonormal(found)

    return jax.lax.map(of_class, (moments, jax.random.normal(key, (*moments.shape[:2], units))))


def owned(
    problem: Problem,
    *,
    goodness: Callable[[Array], Array],
    polar: bool = True,
    units: int = 20,
) -> Strategy:
    """Gives each class the leading axes of its own images' second moment, once, after its task.

    A group's positive units are these axes. Its negative units are all directions that are left:
    what no axis takes up of an image of length 1. Nothing but the class's own images is seen, each
    once; the moment is forgotten when the axes are found. See `leading_axes`.

    Args:
      problem: what it is used on; images are seen as `owned.seen_by_groups` shows them.
      goodness: activity [..., units] -> log-odds, from the sum of its squares or, polar, of those
        of each half: it is shown one unit for all of a kind.
      polar: whether there are negative units.
      units: axes of a class.

    Raises:
      ValueError: for no unit, or more than pixels.

    Reference: CLAFIC, Watanabe 1967; Oja 1983, Subspace Methods of Pattern Recognition. Differs
    from them: the score is FFA's or SFFA's goodness. Of images of one length, both order classes
    alike.
    """
    scenario = problem.scenario
    own, classes = scenario.classes_per_task, scenario.num_tasks * scenario.classes_per_task
    pixels = problem.samples.images.shape[-1]
    check_integer("owned", "units", units, 1)
    check_integer("owned", "pixels", pixels, units, "Choose fewer units.")

    def init(modules: Modules) -> Owned:
        del modules
        return Owned(jnp.zeros((classes, pixels, units)))

    def loss(memory: Owned, key: Array, modules: Modules, batch: Batch) -> tuple[Array, Array]:
        del memory, key, batch
        return jnp.zeros(()), jnp.zeros(len(modules))

    def after_task(memory: Owned, key: Array, modules: Modules, now: Array) -> Owned:
        del modules

        def add(moments: Array, batch: Batch) -> Array:
            x = seen_by_groups(batch.x)
            mine = jax.nn.one_hot(batch.places - now * own, own) * batch.weights[:, None]
            # A product a class, for the same reason as in `owned.group_activities`.
            return moments + jnp.stack([(x * mine[:, c : c + 1]).T @ x for c in range(own)])

        moments = over_task(problem, now, jnp.zeros((own, pixels, pixels)), add)
        found = leading_axes(key, moments, units)
        return Owned(jax.lax.dynamic_update_slice_in_dim(memory.axes, found, now * own, axis=0))

    def scores(memory: Owned, modules: Modules, batch: Batch) -> Array:
        del modules
        x = seen_by_groups(batch.x)
        plus = jnp.sum(jnp.square(jnp.einsum("bi,ciu->bcu", x, memory.axes)), axis=-1)
        left = jnp.maximum(jnp.sum(jnp.square(x), axis=-1)[:, None] - plus, 0)
        kinds = [plus, left] if polar else [plus]
        by_class = goodness(jnp.sqrt(jnp.stack(kinds, axis=-1)))
        return problem.by_label(by_class[None], batch)

    return Strategy(init=init, loss=loss, after_task=after_task, scores=scores)
