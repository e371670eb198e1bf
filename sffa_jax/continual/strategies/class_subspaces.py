"""Ownership without gradients: a class's units are the axes along which its images lie."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float, Key

from sffa_jax.checks import check_integer
from sffa_jax.continual.class_groups import seen_by_groups
from sffa_jax.continual.model import Modules
from sffa_jax.continual.readout import over_task
from sffa_jax.continual.strategy import Batch, Problem, Strategy

ITERATIONS = 300
"""Of `leading_axes`."""


class Owned(struct.PyTreeNode):
    """Attributes:
    axes: orthonormal weights of each class's positive units.
    moments: online, each class's second moment so far; else None.
    news: online, whether a class had samples since its axes were found; else None.
    """

    axes: Float[Array, "*runs classes pixels units"]
    moments: Float[Array, "*runs classes pixels pixels"] | None = None
    news: Bool[Array, "*runs classes"] | None = None


def leading_axes(
    key: Key[Array, ""],
    moments: Float[Array, "classes pixels pixels"],
    units: int,
    known: Float[Array, "classes pixels units"] | None = None,
    wanted: Bool[Array, " classes"] | None = None,
) -> Float[Array, "classes pixels units"]:
    """Orthonormal axes that take up the most of each class's second moment; of classes that are not
    `wanted`, what is `known`.

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

    def of_class(moment: Array, start: Array) -> Array:
        found = jax.lax.fori_loop(0, ITERATIONS, lambda _, v: orthonormal(moment @ v), start)
        return orthonormal(found)

    start = jax.random.normal(key, (*moments.shape[:2], units))
    if known is None or wanted is None:
        return jax.lax.map(lambda one: of_class(*one), (moments, start))

    def of_wanted(one: tuple[Array, Array, Array, Array]) -> Array:
        moment, start, old, now = one
        return jax.lax.cond(now, of_class, lambda *_: old, moment, start)

    return jax.lax.map(of_wanted, (moments, start, known, wanted))


def owned(
    problem: Problem,
    *,
    goodness: Callable[[Array], Array],
    polar: bool = True,
    units: int = 20,
    online: bool = False,
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
      online: whether samples count as batches bring them, whatever the task. Each class's moment is
        then kept, pixels x pixels; where a task ends says when axes are found for a test, and
        nothing else.

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
        axes = jnp.zeros((classes, pixels, units))
        if not online:
            return Owned(axes)
        return Owned(axes, jnp.zeros((classes, pixels, pixels)), jnp.zeros(classes, bool))

    def observe(memory: Owned, modules: Modules, batch: Batch) -> Owned:
        del modules
        if memory.moments is None or memory.news is None:
            return memory

        def add(moments: Array, one: tuple[Array, Array, Array]) -> tuple[Array, None]:
            x, place, weight = one
            # A sample after another, in place: a batch's would be written for every class.
            moment = jax.lax.dynamic_index_in_dim(moments, place, keepdims=False)
            moment = moment + weight * x[:, None] * x[None]
            return jax.lax.dynamic_update_index_in_dim(moments, moment, place, 0), None

        samples = (seen_by_groups(batch.x), batch.places, batch.weights)
        moments, _ = jax.lax.scan(add, memory.moments, samples)
        came = jnp.zeros(classes, bool).at[batch.places].max(batch.weights > 0)
        return memory.replace(moments=moments, news=memory.news | came)

    def loss(memory: Owned, key: Array, modules: Modules, batch: Batch) -> tuple[Array, Array]:
        del memory, key, batch
        return jnp.zeros(()), jnp.zeros(len(modules))

    def after_task(memory: Owned, key: Array, modules: Modules, now: Array) -> Owned:
        del modules
        if memory.moments is not None and memory.news is not None:
            return memory.replace(
                axes=leading_axes(key, memory.moments, units, memory.axes, memory.news),
                news=jnp.zeros_like(memory.news),
            )

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

    return Strategy(init=init, observe=observe, loss=loss, after_task=after_task, scores=scores)
