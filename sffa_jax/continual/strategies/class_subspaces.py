"""Class subspaces (CLAFIC): a closed-form generative classifier on pixels.

FFA and SFFA train nothing here. The leading axes of the second moment of its images model each
class; the prediction is the class whose subspace contains the largest part of the image.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float, Key

from sffa_jax.checks import check_integer
from sffa_jax.continual.class_groups import normalize_images
from sffa_jax.continual.model import Modules
from sffa_jax.continual.problem import Batch, Problem, scan_task
from sffa_jax.continual.strategy import Strategy, no_loss

ITERATIONS = 300
"""Iterations of `leading_axes`."""

RANK_TOLERANCE = 1e-6
"""An axis with a smaller second moment, relative to the class's first axis, is rounding noise."""


class Subspaces(struct.PyTreeNode):
    """The subspaces so far.

    Attributes:
      axes: orthonormal axes of each class.
      moments: online, each class's second moment so far; else None.
      changed: online, whether a class had samples since its axes were computed; else None.
    """

    axes: Float[Array, "*runs classes pixels axes"]
    moments: Float[Array, "*runs classes pixels pixels"] | None = None
    changed: Bool[Array, "*runs classes"] | None = None


def leading_axes(
    key: Key[Array, ""],
    moments: Float[Array, "classes pixels pixels"],
    axes: int,
    known: Float[Array, "classes pixels axes"] | None = None,
    wanted: Bool[Array, " classes"] | None = None,
) -> Float[Array, "classes pixels axes"]:
    """Computes the leading eigenvectors of each class's second moment by orthogonal iteration.

    Each axis moves to the mean of the class's images weighted by their projections on it (Oja's
    rule for all samples at once); then the axes of a class are orthonormalized. Axes of nearly
    equal eigenvalues are determined only up to a rotation.

    Args:
      key: random key of the start.
      moments: second moment of each class.
      axes: number of axes of each class.
      known, wanted: classes that are not `wanted` keep the axes in `known`.

    Raises:
      ValueError: for no axis, or more axes than pixels.
    """
    check_integer("leading_axes", "axes", axes, 1)
    check_integer("leading_axes", "pixels", moments.shape[-1], axes, "Choose fewer axes.")

    def orthonormal(v: Array) -> Array:
        # Normalize first: a class without an image must not divide 0 by 0.
        v = v / (jnp.sqrt(jnp.sum(jnp.square(v), axis=0, keepdims=True)) + 1e-12)
        gram = v.T @ v
        lower = jnp.linalg.cholesky(gram + 1e-6 * jnp.eye(axes))
        # The axes of a class of few images depend on each other, which rounding can turn into NaN.
        damped = jnp.linalg.cholesky(gram + 1e-3 * jnp.eye(axes))
        lower = jnp.where(jnp.isfinite(lower).all(), lower, damped)
        return jax.scipy.linalg.solve_triangular(lower, v.T, lower=True).T

    def of_class(moment: Array, start: Array) -> Array:
        end = jax.lax.fori_loop(0, ITERATIONS, lambda _, v: orthonormal(moment @ v), start)
        size = jnp.sum(end * (moment @ end), axis=0)
        return orthonormal(jnp.where(size > RANK_TOLERANCE * jnp.max(size), end, 0.0))

    start = jax.random.normal(key, (*moments.shape[:2], axes))
    if known is None or wanted is None:
        return jax.lax.map(lambda pair: of_class(*pair), (moments, start))

    def of_wanted(arguments: tuple[Array, Array, Array, Array]) -> Array:
        moment, start, old, compute = arguments
        return jax.lax.cond(compute, of_class, lambda *_: old, moment, start)

    return jax.lax.map(of_wanted, (moments, start, known, wanted))


def class_subspaces(
    *,
    logit: Callable[[Array], Array],
    polar: bool = True,
    axes: int = 20,
    online: bool = False,
) -> Strategy:
    """Computes the leading axes of each class's second moment, once, after the class's task.

    This is CLAFIC, a closed-form generative classifier that FFA and SFFA do not train. It uses each
    image of a class once, and no image of another class; the moment is discarded after the axes are
    computed. A class's logit is the goodness of two activities: the length of an image inside
    the subspace (positive units) and outside of it (negative units). See `leading_axes`; images are
    normalized by `class_groups.normalize_images`.

    Args:
      logit: activity [..., units] -> logit [...]; it receives one unit per kind, whose square is
        that kind's sum of squares.
      polar: whether there are negative units.
      axes: axes of each class.
      online: whether to add each batch when it arrives, without knowledge of tasks. The moment of
        each class (pixels x pixels) is then kept. The end of a task only triggers the axes.

    Raises:
      ValueError: for no axis, or more axes than pixels.

    Reference: Watanabe 1967 (CLAFIC); Oja 1983, Subspace Methods of Pattern Recognition. Differs
    from them: the score is FFA's or SFFA's goodness. Images have the same length, so both give
    the same order of classes.
    """
    check_integer("class_subspaces", "axes", axes, 1)

    def init(problem: Problem, modules: Modules) -> Subspaces:
        del modules
        classes, pixels = problem.scenario.num_classes, problem.samples.images.shape[-1]
        check_integer("class_subspaces", "pixels", pixels, axes, "Choose fewer axes.")
        empty = jnp.zeros((classes, pixels, axes))
        if not online:
            return Subspaces(empty)
        return Subspaces(empty, jnp.zeros((classes, pixels, pixels)), jnp.zeros(classes, bool))

    def observe(problem: Problem, state: Subspaces, modules: Modules, batch: Batch) -> Subspaces:
        del modules
        if state.moments is None or state.changed is None:
            return state

        def add(moments: Array, sample: tuple[Array, Array, Array]) -> tuple[Array, None]:
            x, c, weight = sample
            # One sample at a time, in place: a batch's moments would be written for every class.
            moment = jax.lax.dynamic_index_in_dim(moments, c, keepdims=False)
            moment = moment + weight * x[:, None] * x[None]
            return jax.lax.dynamic_update_index_in_dim(moments, moment, c, 0), None

        samples = (normalize_images(batch.x), batch.class_index, batch.weights)
        moments, _ = jax.lax.scan(add, state.moments, samples)
        classes = problem.scenario.num_classes
        seen = jnp.zeros(classes, bool).at[batch.class_index].max(batch.weights > 0)
        return state.replace(moments=moments, changed=state.changed | seen)

    def after_task(
        problem: Problem, state: Subspaces, key: Array, modules: Modules, task: Array
    ) -> Subspaces:
        del modules
        if state.moments is not None and state.changed is not None:
            return state.replace(
                axes=leading_axes(key, state.moments, axes, state.axes, state.changed),
                changed=jnp.zeros_like(state.changed),
            )
        per_task = problem.scenario.classes_per_task
        pixels = problem.samples.images.shape[-1]

        def add(moments: Array, batch: Batch) -> Array:
            x = normalize_images(batch.x)
            member = jax.nn.one_hot(batch.class_index - task * per_task, per_task)
            member = member * batch.weights[:, None]
            # One product per class, for the reason given in `class_groups.group_activities`.
            return moments + jnp.stack([(x * member[:, c : c + 1]).T @ x for c in range(per_task)])

        moments = scan_task(problem, task, jnp.zeros((per_task, pixels, pixels)), add)
        new = leading_axes(key, moments, axes)
        return Subspaces(
            jax.lax.dynamic_update_slice_in_dim(state.axes, new, task * per_task, axis=0)
        )

    def scores(problem: Problem, state: Subspaces, modules: Modules, batch: Batch) -> Array:
        del modules
        x = normalize_images(batch.x)
        inside = jnp.sum(jnp.square(jnp.einsum("bi,ciu->bcu", x, state.axes)), axis=-1)
        outside = jnp.maximum(jnp.sum(jnp.square(x), axis=-1)[:, None] - inside, 0)
        kinds = [inside, outside] if polar else [inside]
        by_class = logit(jnp.sqrt(jnp.stack(kinds, axis=-1)))
        return problem.label_scores(by_class[None], batch)

    return Strategy(init=init, observe=observe, loss=no_loss, after_task=after_task, scores=scores)
