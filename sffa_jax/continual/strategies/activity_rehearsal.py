"""Activity rehearsal: layers rehearse earlier classes on draws from statistics of their input.

No image is stored, and no gradient crosses a layer.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float, Int

from sffa_jax.checks import check_integer, check_range, reject
from sffa_jax.continual.model import LayerView, Modules
from sffa_jax.continual.problem import Batch, Problem, scan_task
from sffa_jax.continual.statistics import (
    ClassStatistics,
    add_samples,
    class_covariances,
    empty_statistics,
)
from sffa_jax.continual.strategy import Strategy, zeros_like

REFRESH = 50
"""Updates between two computations of the Gaussians online."""

CLUSTERED = 4000
"""Images of a task from which the centers of its classes' components are computed."""

ROUNDS = 15
"""Rounds of k-means."""


class Gaussians(NamedTuple):
    """Gaussians of one layer's input: component mean + factor e + spread f; e and f are normal.

    Attributes:
      counts: samples of each component of each class; all 0: the class is unknown.
      mean: mean of each component.
      factor: leading axes of the class's covariance around its components, times their standard
        deviations.
      spread: standard deviation of each input that the axes leave out.
    """

    counts: Float[Array, "*runs classes components"]
    mean: Float[Array, "*runs classes components inputs"]
    factor: Float[Array, "*runs classes inputs rank"]
    spread: Float[Array, "*runs classes inputs"]


class Total(NamedTuple):
    """Running sums of one layer's input.

    Attributes:
      classes: of the classes, each with its own scatter.
      components: counts and means of the components, those of a class one after another.
    """

    classes: ClassStatistics
    components: ClassStatistics


class Memory(struct.PyTreeNode):
    """The state of the strategy.

    Attributes:
      gaussians: of each layer.
      totals: online, the running sums of each layer; else None.
      updates: online, number of updates so far; else None.
      old: the modules before the task, if they label draws; else None.
    """

    gaussians: list[Gaussians]
    totals: list[Total] | None = None
    updates: Int[Array, "*runs"] | None = None
    old: Modules | None = None


def solve_gaussians(
    statistics: ClassStatistics,
    components: ClassStatistics,
    rank: int,
    *,
    shared: float | Array,
    ridge: float = 1e-3,
) -> Gaussians:
    """Computes each class's Gaussians; see `statistics.class_covariances`.

    Args:
      statistics: of the classes, each with its own scatter.
      components: counts and means of the components, those of a class one after another.
      rank: leading axes of each class.
      shared, ridge: see `statistics.class_covariances`.
    """
    classes, inputs = statistics.mean.shape
    counts = components.count.reshape(classes, -1)
    means = components.mean.reshape(classes, -1, inputs)
    moved = (means - statistics.mean[:, None]) * jnp.sqrt(counts)[..., None]
    assert statistics.scatter is not None
    # What the components' means explain is no longer scatter.
    within = statistics.scatter - jnp.einsum("cki,ckj->cij", moved, moved)
    covariances = class_covariances(statistics.replace(scatter=within), shared=shared, ridge=ridge)

    def of_known(covariance: Array) -> tuple[Array, Array]:
        variances, axes = jnp.linalg.eigh(covariance)
        factor = axes[:, -rank:] * jnp.sqrt(jnp.maximum(variances[-rank:], 0))[None]
        rest = jnp.diagonal(covariance) - jnp.sum(jnp.square(factor), axis=-1)
        return factor, jnp.sqrt(jnp.maximum(rest, 0))

    def of_class(arguments: tuple[Array, Array]) -> tuple[Array, Array]:
        count, covariance = arguments
        empty = jnp.zeros((inputs, rank)), jnp.zeros(inputs)
        # The axes of many inputs take seconds: only those of classes with samples are computed.
        return jax.lax.cond(count > 0, of_known, lambda _: empty, covariance)

    return Gaussians(counts, means, *jax.lax.map(of_class, (statistics.count, covariances)))


def draw(
    gaussians: Gaussians, key: Array, classes: Int[Array, " slots"], size: int
) -> Float[Array, "slots_times_size inputs"]:
    """Draws `size` inputs of a layer for each of some classes."""
    key_component, key_factor, key_spread = jax.random.split(key, 3)
    rank, inputs = gaussians.factor.shape[-1], gaussians.mean.shape[-1]

    def of_class(arguments: tuple[Array, Array, Array, Array]) -> Array:
        c, component, inside, outside = arguments
        moved = inside @ gaussians.factor[c].T + outside * gaussians.spread[c][None]
        return gaussians.mean[c][component] + moved

    slots = len(classes)
    log_counts = jnp.log(gaussians.counts[classes] + 1e-9)[:, None]
    component = jax.random.categorical(key_component, log_counts, shape=(slots, size))
    inside = jax.random.normal(key_factor, (slots, size, rank))
    outside = jax.random.normal(key_spread, (slots, size, inputs))
    return jax.lax.map(of_class, (classes, component, inside, outside)).reshape(-1, inputs)


def kmeans(
    key: Array, z: Float[Array, "samples inputs"], weights: Float[Array, " samples"], number: int
) -> Float[Array, "number inputs"]:
    """Centers of the samples with weight 1, from random ones of them on (Lloyd's algorithm)."""
    order = jnp.argsort(jnp.where(weights > 0, jax.random.uniform(key, weights.shape), 2.0))

    def one_round(_: Array | int, centers: Array) -> Array:
        member = jax.nn.one_hot(nearest(centers, z), number) * weights[:, None]
        count = jnp.sum(member, axis=0)[:, None]
        return jnp.where(count > 0, member.T @ z / jnp.maximum(count, 1), centers)

    return jax.lax.fori_loop(0, ROUNDS, one_round, z[order[:number]])


def _class_centers(
    key: Array,
    z: Float[Array, "samples inputs"],
    class_index: Int[Array, " samples"],
    like: Float[Array, "classes components inputs"],
) -> Float[Array, "all_components inputs"]:
    """Centers of each class's components; those of a class without samples have no meaning."""
    classes, components, inputs = like.shape

    def of_class(c: Array) -> Array:
        member = (class_index == c).astype(z.dtype)
        return jax.lax.cond(
            jnp.any(member > 0),
            lambda: kmeans(jax.random.fold_in(key, c), z, member, components),
            lambda: jnp.zeros((components, inputs)),
        )

    return jax.lax.map(of_class, jnp.arange(classes)).reshape(-1, inputs)


def nearest(
    centers: Float[Array, "number inputs"],
    z: Float[Array, "samples inputs"],
    allowed: Bool[Array, "samples number"] | None = None,
) -> Int[Array, " samples"]:
    """Index of the nearest center of each sample, among the allowed ones."""
    distance = jnp.sum(jnp.square(centers), axis=-1)[None] - 2 * z @ centers.T
    return jnp.argmin(distance if allowed is None else jnp.where(allowed, distance, jnp.inf), -1)


def activity_rehearsal(
    *,
    components: int = 10,
    draws: int = 320,
    rank: int | None = None,
    shared: float | Array = 0.03,
    relabel: bool = False,
    online: bool = False,
) -> Strategy:
    """Trains every layer by its local loss on new images and on draws of earlier classes.

    Each layer keeps a mixture of Gaussians of its own input for each class: the components' means,
    and one covariance around them. They are sums over the class's images after its task. Draws of a
    class weigh as much as the images of a class in the batch. The model must be forward-only with
    class units, and each layer's input must be a row of numbers; its first layer works best on
    `features.principal_components`.

    Args:
      components: Gaussians of each class; their centers come from k-means on images of the task.
      draws: draws for each update and layer, divided evenly among the classes seen so far; a
        multiple of the number of classes is used.
      rank: leading axes of each class's covariance; the rest becomes a diagonal. None: all axes.
      shared: weight of the covariance of all classes relative to the class's own.
      relabel: whether the label of a draw comes from the layer as it was before the task, drawn
        from the softmax of its logits, and not from the Gaussian: that layer has learned from
        images where classes part. This keeps a copy of the parameters.
      online: whether to add each batch when it arrives, without knowledge of tasks. The running
        covariances are then kept, too, and each class has one component.

    Raises:
      ValueError: for a number out of range, or several components or `relabel` online.

    Reference: rehearsal of draws from class-wise Gaussians of features is known for read-outs of
    pretrained networks, e.g. Zhang et al. 2023 (SLCA), arXiv:2303.05118; here every layer learns so
    by its local loss. `relabel` is distillation (Li & Hoiem 2016, arXiv:1606.09282) on draws.
    """
    check_integer("activity_rehearsal", "components", components, 1)
    if online and components > 1:
        advice = "Their centers are computed after a task."
        raise reject("activity_rehearsal", "components", "be 1 online", components, advice)
    if online and relabel:
        advice = "Without tasks, no network before the task is known."
        raise reject("activity_rehearsal", "relabel", "be False online", relabel, advice)
    check_integer("activity_rehearsal", "draws", draws, 1)
    if rank is not None:
        check_integer("activity_rehearsal", "rank", rank, 1, "None: all axes.")
    check_range("activity_rehearsal", "shared", shared, at_least=0)

    def view(problem: Problem) -> LayerView:
        layers = problem.model.layers
        if layers is None:
            raise reject(
                "activity_rehearsal",
                "model",
                "be forward-only with class units",
                "one whose layers receive labels or gradients",
            )
        return layers

    def solve(total: Total) -> Gaussians:
        inputs = total.classes.mean.shape[-1]
        return solve_gaussians(*total, min(rank or inputs, inputs), shared=shared)

    def empty_totals(classes: int, inputs: Sequence[int]) -> list[Total]:
        return [
            Total(
                empty_statistics(classes, number, scatter="own"),
                empty_statistics(classes * components, number, scatter="none"),
            )
            for number in inputs
        ]

    def init(problem: Problem, modules: Modules) -> Memory:
        x = problem.samples.scaled(problem.samples.images[:1])
        shapes = jax.eval_shape(lambda m: view(problem).inputs(m, x), modules)
        for k, z in enumerate(shapes):
            if z.ndim != 2:
                rule = "have dense layers, whose inputs are rows"
                raise reject("activity_rehearsal", "model", rule, f"layer {k} of maps")
        classes = problem.scenario.num_classes
        totals = empty_totals(classes, [z.shape[-1] for z in shapes])
        gaussians = zeros_like(jax.eval_shape(lambda: [solve(total) for total in totals]))
        if online:
            return Memory(gaussians, totals, jnp.int32(0))
        return Memory(gaussians, old=modules if relabel else None)

    def count(
        problem: Problem,
        totals: list[Total],
        modules: Modules,
        batch: Batch,
        centers: list[Array] | None = None,
    ) -> list[Total]:
        inputs = view(problem).inputs(modules, batch.x)
        index = [batch.class_index] * len(inputs)
        if centers is not None:
            own = jnp.arange(len(centers[0]))[None] // components == batch.class_index[:, None]
            index = [nearest(c, z, own) for c, z in zip(centers, inputs, strict=True)]
        return [
            Total(
                add_samples(total.classes, z, batch.class_index, batch.weights),
                add_samples(total.components, z, component, batch.weights),
            )
            for total, z, component in zip(totals, inputs, index, strict=True)
        ]

    def observe(problem: Problem, state: Memory, modules: Modules, batch: Batch) -> Memory:
        if state.totals is None or state.updates is None:
            return state
        totals = count(problem, state.totals, modules, batch)
        gaussians = jax.lax.cond(
            state.updates % REFRESH == 0,
            lambda: [solve(total) for total in totals],
            lambda: state.gaussians,
        )
        return Memory(gaussians, totals, state.updates + 1)

    def loss(
        problem: Problem, state: Memory, key: Array, modules: Modules, batch: Batch
    ) -> tuple[Array, Array]:
        scenario, layers, images = problem.scenario, view(problem), len(batch.weights)
        key_slots, *keys = jax.random.split(key, 1 + len(state.gaussians))
        known = jnp.sum(state.gaussians[0].counts, axis=-1) > 0
        # A slot for each class; known classes fill them in turn, from a random one on.
        slots, size = scenario.num_classes, -(-draws // scenario.num_classes)
        number = jnp.maximum(jnp.sum(known), 1)
        first = jax.random.randint(key_slots, (), 0, number)
        classes = jnp.argsort(~known, stable=True)[(first + jnp.arange(slots)) % number]
        times = jnp.bincount(classes, length=slots)
        # A class with fewer images in the batch than the most frequent one is filled up by draws.
        new = jnp.zeros(slots).at[batch.class_index].add(batch.weights)
        missing = jnp.where(known, jnp.max(new) - new, 0) / jnp.maximum(times * size, 1)
        drawn_class = jnp.repeat(classes, size)
        joined = Batch(
            jnp.zeros((images + len(drawn_class), 0)),  # each layer has its own input
            jnp.concatenate([batch.class_index, drawn_class]),
            jnp.concatenate([batch.weights, missing[drawn_class]]),
            batch.task,
        )
        inputs = []
        for k, z in enumerate(layers.inputs(modules, batch.x)):
            drawn = draw(state.gaussians[k], keys[k], classes, size)
            # The activity of a rectified layer is never negative.
            drawn = drawn if k == 0 else jax.nn.relu(drawn)
            inputs.append(jax.lax.stop_gradient(jnp.concatenate([z, drawn])))
        targets, allowed = problem.targets_and_allowed(joined)
        if state.totals is not None and scenario.kind == "class":
            allowed = allowed & (state.totals[0].classes.count > 0)[None]
        candidates = scenario.candidates(joined.class_index)

        def logits_of(modules: Modules) -> Array:
            logits = layers.logits(modules, inputs)
            if candidates is None:
                return logits
            return jnp.take_along_axis(logits, candidates[None], axis=-1)

        logits = logits_of(modules)
        weights = joined.weights / jnp.maximum(jnp.sum(joined.weights), 1e-9)
        if state.old is None:
            losses = problem.model.loss(logits, targets, allowed)
        else:
            _, known_labels = problem.targets_and_allowed(joined.replace(task=batch.task - 1))
            labels = jax.random.categorical(
                jax.random.fold_in(key, 1), jnp.where(known_labels, logits_of(state.old), -1e9)
            )
            relabeled = jax.nn.one_hot(labels, logits.shape[-1], dtype=bool)
            is_new = jnp.arange(len(weights))[:, None] < images
            by_layer = jnp.where(is_new, targets, relabeled)  # each layer has its own labels
            losses = jnp.concatenate(
                [
                    problem.model.loss(logits[k : k + 1], by_layer[k], allowed)
                    for k in range(len(logits))
                ]
            )
        terms = losses @ weights
        return jnp.sum(terms), terms

    def after_task(
        problem: Problem, state: Memory, key: Array, modules: Modules, task: Array
    ) -> Memory:
        if state.totals is not None:
            return state
        centers = None
        if components > 1:
            key_draw, *keys = jax.random.split(key, 1 + len(state.gaussians))
            batch = problem.batch(problem.draw(key_draw, task, CLUSTERED), task)
            centers = [
                _class_centers(k, z, batch.class_index, layer.mean)
                for k, z, layer in zip(
                    keys, view(problem).inputs(modules, batch.x), state.gaussians, strict=True
                )
            ]
        shapes = [layer.mean.shape for layer in state.gaussians]
        totals = scan_task(
            problem,
            task,
            empty_totals(shapes[0][0], [shape[-1] for shape in shapes]),
            lambda so_far, batch: count(problem, so_far, modules, batch, centers),
        )

        def keep_old(old: Gaussians, new: Gaussians) -> Gaussians:
            is_new = jnp.sum(new.counts, axis=-1) > 0
            return jax.tree.map(
                lambda a, b: jnp.where(is_new.reshape(-1, *[1] * (a.ndim - 1)), b, a), old, new
            )

        pairs = zip(state.gaussians, totals, strict=True)
        gaussians = [keep_old(old, solve(total)) for old, total in pairs]
        return Memory(gaussians, old=None if state.old is None else modules)

    return Strategy(init=init, observe=observe, loss=loss, after_task=after_task)
