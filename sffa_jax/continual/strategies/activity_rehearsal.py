"""Activity rehearsal: layers rehearse earlier classes on draws from statistics of their input.

No image is stored, and no gradient crosses a layer.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Int

from sffa_jax.checks import check_integer, check_range, reject
from sffa_jax.continual.mixtures import Gaussians, class_centers, draw, nearest, solve_gaussians
from sffa_jax.continual.model import LayerView, Modules
from sffa_jax.continual.problem import Batch, Problem, scan_task
from sffa_jax.continual.statistics import ClassStatistics, add_samples, empty_statistics
from sffa_jax.continual.strategy import Strategy, zeros_like

REFRESH = 50
"""Updates between two computations of the Gaussians online."""

CLUSTERED = 4000
"""Images of a task from which the centers of its classes' components are computed."""


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
    and one covariance around them. They are sums over the class's images after its task. A class's
    draws and images together weigh as much as the batch's most frequent class. The model must be
    forward-only with class units, and each layer's input must be a row of numbers; its first layer
    works best on `features.principal_components`.

    Args:
      components: Gaussians of each class; their centers come from k-means on images of the task.
      draws: draws for each update and layer, divided evenly among the classes seen so far; a
        multiple of the number of classes is used.
      rank: leading axes of each class's covariance; the rest becomes a diagonal. None: all axes.
      shared: weight of the mean covariance of the task's classes (online: of all classes so far)
        relative to the class's own.
      relabel: whether the label of a draw is not its Gaussian's class but drawn from the softmax of
        the layer's logits before the task: that layer has learned the boundaries between classes
        from images. This keeps a copy of the parameters.
      online: whether to add each batch when it arrives, without knowledge of tasks. The running
        covariances are then kept, too, and each class has one component.

    Raises:
      ValueError: for a number out of range, or several components or `relabel` online.

    Reference: rehearsal of draws from class-wise Gaussians of features is known for readouts of
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
            if k > 0:  # the activity of a rectified layer is never negative
                drawn = jnp.where(jnp.any(z < 0), drawn, jax.nn.relu(drawn))
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
        if state.old is None:
            losses = problem.model.loss(logits, targets, allowed)
        else:
            _, known_labels = problem.targets_and_allowed(joined.replace(task=batch.task - 1))
            labels = jax.random.categorical(
                jax.random.fold_in(key, 1), jnp.where(known_labels, logits_of(state.old), -1e9)
            )
            relabeled = jax.nn.one_hot(labels, logits.shape[-1], dtype=bool)
            is_new = jnp.arange(len(joined.weights))[:, None] < images
            by_layer = jnp.where(is_new, targets, relabeled)  # each layer has its own labels
            losses = jnp.concatenate(
                [
                    problem.model.loss(logits[k : k + 1], by_layer[k], allowed)
                    for k in range(len(logits))
                ]
            )
        terms = losses @ joined.normalized_weights
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
                class_centers(k, z, batch.class_index, layer.mean)
                for k, z, layer in zip(
                    keys, view(problem).inputs(modules, batch.x), state.gaussians, strict=True
                )
            ]
        inputs = [layer.mean.shape[-1] for layer in state.gaussians]
        totals = scan_task(
            problem,
            task,
            empty_totals(problem.scenario.num_classes, inputs),
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
