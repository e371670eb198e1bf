"""What a strategy is, and what it can ask of the problem it is used on.

A strategy is a bundle of pure functions around the plain update, in the manner of optax. It is made
by a function of the `Problem`, which hides whether the network is forward-only: a strategy sees
modules, each with a loss of its own, and acts on each of them by itself.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Bool, Float, Int, Key

from sffa_jax.checks import check_integer
from sffa_jax.continual.model import Model, Modules
from sffa_jax.continual.scenarios import Scenario, Stream
from sffa_jax.core.overlays import Overlay
from sffa_jax.training.samples import Samples

Memory = Any
"""What a strategy carries along: a pytree of arrays of fixed shape."""


UNSEEN = -1e30
"""Score of a class that has not come yet: finite, since a score that is not says that a network
diverged."""


class Batch(struct.PyTreeNode):
    """Samples to learn from.

    Attributes:
      x: [batch, *input] scaled images.
      places: [batch] class of each, as its place in the order of classes.
      weights: [batch] share in the mean loss; 0 leaves a sample out.
      now: number of the task under way, which says what has been seen; for all samples or each.
      candidates: labels tried for each sample; None: all that can compete for it.
    """

    x: Float[Array, "batch *input"]
    places: Int[Array, " batch"]
    weights: Float[Array, " batch"]
    now: Int[Array, "*one_or_batch"]
    candidates: Int[Array, "batch candidates"] | None = None


class Problem(NamedTuple):
    """The network and the training stream, as far as a strategy may see them.

    A strategy must not look into tasks that are yet to come.

    Attributes:
      scenario, model: what is asked, and what answers.
      overlay: the model's, as drawn.
      samples: the training images.
      stream: which of them make up each task.
      num_wrong: wrong labels a training step tries for each sample; None: all that compete.
    """

    scenario: Scenario
    model: Model
    overlay: Overlay | None
    samples: Samples
    stream: Stream
    num_wrong: int | None = None

    def batch(self, indices: Int[Array, " batch"], now: Int[Array, ""]) -> Batch:
        """Training samples by index, each with weight 1."""
        return Batch(
            self.samples.scaled(self.samples.images[indices]),
            self.stream.train_places[indices],
            jnp.ones(indices.shape),
            now,
        )

    def draw(self, key: Key[Array, ""], task: Int[Array, ""], size: int) -> Int[Array, " size"]:
        """Indices of random samples of a task, drawn with replacement."""
        count = self.stream.num_train[task]
        u = jax.random.uniform(key, (size,))
        return self.stream.train[task, jnp.minimum((u * count).astype(jnp.int32), count - 1)]

    def outputs(self, modules: Modules, batch: Batch) -> Float[Array, "modules batch candidates"]:
        """Log-odds or logits of each sample's candidates."""
        candidates = batch.candidates
        if candidates is None:
            candidates = self.scenario.candidates(batch.places)
        return self.model.outputs(modules, self.overlay, batch.x, candidates)

    def choices(self, batch: Batch) -> tuple[Bool[Array, "batch candidates"], ...]:
        """Of each sample's candidates: which is right, and which compete."""
        candidates = batch.candidates
        if candidates is None:
            candidates = self.scenario.candidates(batch.places)
        if candidates is None:
            candidates = jnp.arange(self.scenario.num_labels)[None]
        targets = candidates == self.scenario.labels(batch.places)[:, None]
        allowed = self.scenario.allowed(candidates, batch.now)
        return targets, jnp.broadcast_to(allowed, targets.shape)

    def losses(self, modules: Modules, batch: Batch) -> Float[Array, "losses batch"]:
        """Each module's loss of each sample."""
        return self.model.loss(self.outputs(modules, batch), *self.choices(batch))

    def by_label(
        self, by_class: Float[Array, "modules batch classes"], batch: Batch
    ) -> Float[Array, "modules batch candidates"]:
        """Scores of classes, in the order of arrival, as scores of each sample's candidates.

        Where tasks share their labels, a label has the highest score of its classes seen so far.
        """
        scenario = self.scenario
        if scenario.kind == "domain":
            seen = scenario.task_of(jnp.arange(by_class.shape[-1])) <= batch.now
            by_class = jnp.where(seen[None, None], by_class, UNSEEN)
            shape = (*by_class.shape[:2], scenario.num_tasks, scenario.classes_per_task)
            return jnp.max(by_class.reshape(shape), axis=2)
        candidates = batch.candidates
        if candidates is None:
            candidates = scenario.candidates(batch.places)
        if candidates is None:
            return by_class
        return jnp.take_along_axis(by_class, candidates[None], axis=-1)

    def with_candidates(self, key: Key[Array, ""], modules: Modules, batch: Batch) -> Batch:
        """The batch with `num_wrong` wrong labels for each sample, where more could compete.

        Drawn by how likely the first module finds them. A first layer scores all labels at next to
        no cost; those above it, which cost a product a label, learn from the hard ones.

        Raises:
          ValueError: for no wrong label.
        """
        if self.num_wrong is not None:
            check_integer("Problem", "num_wrong", self.num_wrong, 1, "None: all that compete.")
        if self.num_wrong is None or self.scenario.num_candidates <= 1 + self.num_wrong:
            return batch
        scores = self.model.outputs(modules, self.overlay, batch.x, None)[0]
        drawn = self.scenario.draw_candidates(
            key, batch.places, batch.now, self.num_wrong, jax.lax.stop_gradient(scores)
        )
        return batch.replace(candidates=drawn)

    def loss(self, modules: Modules, batch: Batch) -> tuple[Array, Float[Array, " losses"]]:
        """The sum over modules of the weighted mean loss, whose gradient is each module's own; and
        its terms."""
        share = batch.weights / jnp.maximum(jnp.sum(batch.weights), 1e-9)
        by_module = self.losses(modules, batch) @ share
        return jnp.sum(by_module), by_module


def _no_memory(_: Modules) -> Memory:
    return ()


def _only_new(memory: Memory, key: Array, batch: Batch) -> Batch:
    del memory, key
    return batch


def _as_they_are(memory: Memory, modules: Modules, gradients: Modules, batch: Batch) -> Modules:
    del memory, modules, batch
    return gradients


def _any_update(memory: Memory, updates: Modules, batch: Batch) -> Modules:
    del memory, batch
    return updates


def _unchanged(memory: Memory, *_: Any) -> Memory:
    return memory


class Strategy(NamedTuple):
    """A strategy; what is left out does nothing.

    Attributes:
      init: modules -> memory.
      before_task: (memory, key, modules, now) -> memory.
      batch: (memory, key, batch) -> the batch to learn from; the new samples come first.
      observe: (memory, modules, batch) -> memory, before each update: for what learns from samples
        as they come, whatever the task.
      penalty: (memory, key, modules, batch) -> scalar that is added to the loss. A sum over modules
        in which each depends on its own parameters.
      gradients: (memory, modules, gradients of the loss, batch) -> gradients to use.
      loss: (memory, key, modules, batch) -> (scalar whose gradient is each module's own, its terms
        [losses]), in the place of `Problem.loss`.
      updates: (memory, updates of the optimizer, batch) -> updates to apply. What is 0 here stays
        as it is to the last bit, which a gradient of 0 does not promise: optimizers have momentum.
      scores: (memory, modules, batch) -> [modules, batch, candidates] finite, what each module adds
        to a label's score in a test, in the place of the model's.
      after_step: (memory, modules before, modules after, gradients of the loss) -> memory.
      after_task: (memory, key, modules, now) -> memory.
      restart: whether every task begins with new weights.
    """

    init: Callable[[Modules], Memory] = _no_memory
    before_task: Callable[[Memory, Array, Modules, Array], Memory] = _unchanged
    batch: Callable[[Memory, Array, Batch], Batch] = _only_new
    observe: Callable[[Memory, Modules, Batch], Memory] = _unchanged
    penalty: Callable[[Memory, Array, Modules, Batch], Array] | None = None
    gradients: Callable[[Memory, Modules, Modules, Batch], Modules] = _as_they_are
    loss: Callable[[Memory, Array, Modules, Batch], tuple[Array, Array]] | None = None
    updates: Callable[[Memory, Modules, Batch], Modules] = _any_update
    scores: Callable[[Memory, Modules, Batch], Array] | None = None
    after_step: Callable[[Memory, Modules, Modules, Modules], Memory] = _unchanged
    after_task: Callable[[Memory, Array, Modules, Array], Memory] = _unchanged
    restart: bool = False


def join_batches(new: Batch, old: Batch) -> Batch:
    """One batch of both; each keeps its weights. They must share the task under way."""
    return Batch(
        jnp.concatenate([new.x, old.x]),
        jnp.concatenate([new.places, old.places]),
        jnp.concatenate([new.weights, old.weights]),
        new.now,
    )


def mean_over_samples(function: Callable[[Batch], Modules], batch: Batch) -> Modules:
    """Mean of `function(a batch of one sample)`, one sample after another.

    Per-sample gradients of a whole batch would not fit into memory: each is as large as the
    network.
    """

    def add(total: Modules, one: tuple[Array, Array]) -> tuple[Modules, None]:
        x, place = one
        value = function(Batch(x[None], place[None], jnp.ones(1), batch.now))
        return jax.tree.map(jnp.add, total, value), None

    first = Batch(batch.x[:1], batch.places[:1], jnp.ones(1), batch.now)
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), jax.eval_shape(function, first))
    total, _ = jax.lax.scan(add, zeros, (batch.x, batch.places))
    return jax.tree.map(lambda leaf: leaf / len(batch.places), total)


def zeros_like(modules: Modules) -> Modules:
    """Zeros of the shape of the parameters."""
    return jax.tree.map(jnp.zeros_like, modules)


def stored_floats(memory: Memory, image_size: int) -> int:
    """What a strategy keeps, in floats. An index into the training images counts as the image.

    Raises:
      ValueError: for an image without a pixel.
    """
    check_integer("stored_floats", "image_size", image_size, 1)
    total = 0
    for path, leaf in jax.tree_util.tree_leaves_with_path(memory):
        is_image = any(getattr(entry, "name", None) == "image" for entry in path)
        total += int(np.prod(leaf.shape)) * (image_size if is_image else 1)
    return total
