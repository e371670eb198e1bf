"""The problem that a strategy works on: network, scenario and training samples.

A strategy treats the network as modules with separate losses and acts on each module separately.
It therefore needs no case distinction between a forward-only network (a module per layer) and one
trained end to end (a single module).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float, Int, Key

from sffa_jax.checks import check_choice
from sffa_jax.continual.model import Model, Modules
from sffa_jax.continual.scenarios import Scenario, TaskStream
from sffa_jax.core.overlays import Overlay
from sffa_jax.training.samples import Samples

UNSEEN = -1e30
"""Score of a class not seen so far. It is finite because an infinite score marks a diverged
network."""

NEGATIVES = ("hard", "uniform", "all")

TASK_CHUNK = 500
"""Largest number of samples that `scan_task` adds at once."""


class Batch(struct.PyTreeNode):
    """Samples to learn from.

    Attributes:
      x: [batch, *input] scaled images.
      class_index: [batch] position of each sample's class in the order of arrival.
      weights: [batch] weight in the mean loss; 0 excludes a sample.
      task: number of the current task, one for all samples or one each; it determines which
        classes have been seen.
      candidates: labels tried for each sample; None: all that can compete for it.
    """

    x: Float[Array, "batch *input"]
    class_index: Int[Array, " batch"]
    weights: Float[Array, " batch"]
    task: Int[Array, "*one_or_batch"]
    candidates: Int[Array, "batch candidates"] | None = None

    @property
    def normalized_weights(self) -> Float[Array, " batch"]:
        """Weights that add up to 1, for a mean over the samples; all 0 if every weight is 0."""
        return self.weights / jnp.maximum(jnp.sum(self.weights), 1e-9)


class Problem(NamedTuple):
    """Everything that a strategy's functions may read. They must not use later tasks.

    Attributes:
      scenario: which labels compete.
      model: the network.
      overlay: the model's label overlay; None if it has none.
      samples: the training images.
      stream: which of them make up each task.
      negatives: wrong labels that an update tries for each sample: "hard" (one, drawn by the
        first module's probabilities), "uniform" (one, drawn uniformly) or "all" (all that compete).
    """

    scenario: Scenario
    model: Model
    overlay: Overlay | None
    samples: Samples
    stream: TaskStream
    negatives: str = "all"

    def batch(self, indices: Int[Array, " batch"], task: Int[Array, ""]) -> Batch:
        """Training samples by index, each with weight 1."""
        return Batch(
            self.samples.scaled(self.samples.images[indices]),
            self.stream.train_class_index[indices],
            jnp.ones(indices.shape),
            task,
        )

    def draw(self, key: Key[Array, ""], task: Int[Array, ""], size: int) -> Int[Array, " size"]:
        """Indices of random samples of a task, drawn with replacement."""
        count = self.stream.num_train[task]
        u = jax.random.uniform(key, (size,))
        return self.stream.train[task, jnp.minimum((u * count).astype(jnp.int32), count - 1)]

    def candidates(self, batch: Batch) -> Int[Array, "batch candidates"] | None:
        """Labels tried for each sample; None: all labels."""
        if batch.candidates is not None:
            return batch.candidates
        return self.scenario.candidates(batch.class_index)

    def logits(self, modules: Modules, batch: Batch) -> Float[Array, "modules batch candidates"]:
        """Logits of each sample's candidates."""
        return self.model.logits(modules, self.overlay, batch.x, self.candidates(batch))

    def targets_and_allowed(self, batch: Batch) -> tuple[Bool[Array, "batch candidates"], ...]:
        """Two masks over each sample's candidates: the true label, and the labels that compete."""
        candidates = self.candidates(batch)
        if candidates is None:
            candidates = jnp.arange(self.scenario.num_labels)[None]
        targets = candidates == self.scenario.labels(batch.class_index)[:, None]
        allowed = self.scenario.allowed(candidates, batch.task)
        return targets, jnp.broadcast_to(allowed, targets.shape)

    def losses(self, modules: Modules, batch: Batch) -> Float[Array, "losses batch"]:
        """Each module's loss of each sample, nats."""
        return self.model.loss(self.logits(modules, batch), *self.targets_and_allowed(batch))

    def loss(self, modules: Modules, batch: Batch) -> tuple[Array, Float[Array, " losses"]]:
        """Sum over modules of the weighted mean loss, and its terms.

        The gradient of the sum equals the gradient of each module's loss, because no loss depends
        on the parameters of another module.
        """
        by_module = self.losses(modules, batch) @ batch.normalized_weights
        return jnp.sum(by_module), by_module

    def gradient(
        self,
        modules: Modules,
        batch: Batch,
        loss: Callable[[Modules, Batch], tuple[Array, Array]] | None = None,
    ) -> tuple[Modules, Float[Array, " losses"]]:
        """Gradient of `loss` (default: `Problem.loss`) in every module, and the loss's terms."""
        return jax.grad(self.loss if loss is None else loss, has_aux=True)(modules, batch)

    def label_scores(
        self, class_scores: Float[Array, "modules batch classes"], batch: Batch
    ) -> Float[Array, "modules batch candidates"]:
        """Turns scores of classes, in order of arrival, into scores of each sample's candidates.

        If tasks share labels, a label gets the highest score of its classes seen so far.
        """
        scenario = self.scenario
        if scenario.kind == "domain":
            seen = scenario.task_of(jnp.arange(class_scores.shape[-1])) <= batch.task
            class_scores = jnp.where(seen[None, None], class_scores, UNSEEN)
            shape = (*class_scores.shape[:2], scenario.num_tasks, scenario.classes_per_task)
            return jnp.max(class_scores.reshape(shape), axis=2)
        candidates = self.candidates(batch)
        if candidates is None:
            return class_scores
        return jnp.take_along_axis(class_scores, candidates[None], axis=-1)

    def with_negatives(self, key: Key[Array, ""], modules: Modules, batch: Batch) -> Batch:
        """Returns the batch with the true label and one drawn wrong label as its candidates.

        With `negatives="all"`, or if only two labels can compete, it returns the batch unchanged.
        The first layer scores all labels at almost no cost; higher layers, which need one pass per
        label, then learn from hard negatives.

        Raises:
          ValueError: for an unknown choice of negatives.
        """
        check_choice("Problem", "negatives", self.negatives, NEGATIVES)
        if self.negatives == "all" or self.scenario.num_candidates <= 2:
            return batch
        scores = jnp.zeros((len(batch.class_index), self.scenario.num_labels))
        if self.negatives == "hard":
            scores = self.model.logits(modules, self.overlay, batch.x, None)[0]
        candidates = self.scenario.draw_candidates(
            key, batch.class_index, batch.task, jax.lax.stop_gradient(scores)
        )
        return batch.replace(candidates=candidates)


def join_batches(new: Batch, old: Batch) -> Batch:
    """Concatenates two batches of the same current task; each keeps its weights."""
    return Batch(
        jnp.concatenate([new.x, old.x]),
        jnp.concatenate([new.class_index, old.class_index]),
        jnp.concatenate([new.weights, old.weights]),
        new.task,
    )


def mean_over_samples(function: Callable[[Batch], Modules], batch: Batch) -> Modules:
    """Mean of `function(batch of one sample)` over a batch, computed one sample at a time.

    The per-sample gradients of a batch would not fit in memory, because each is as large as the
    network.
    """

    def of_sample(x: Array, class_index: Array) -> Modules:
        return function(Batch(x[None], class_index[None], jnp.ones(1), batch.task))

    def add(total: Modules, sample: tuple[Array, Array]) -> tuple[Modules, None]:
        return jax.tree.map(jnp.add, total, of_sample(*sample)), None

    shapes = jax.eval_shape(of_sample, batch.x[0], batch.class_index[0])
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), shapes)
    total, _ = jax.lax.scan(add, zeros, (batch.x, batch.class_index))
    return jax.tree.map(lambda leaf: leaf / len(batch.class_index), total)


def scan_task(
    problem: Problem, task: Int[Array, ""], start: Any, add: Callable[[Any, Batch], Any]
) -> Any:
    """Folds `add` over all samples of a task, each once, in chunks; padding has weight 0."""
    indices = problem.stream.train[task]
    chunk = min(TASK_CHUNK, len(indices))
    positions = jnp.arange(-(-len(indices) // chunk) * chunk)
    counted = (positions < problem.stream.num_train[task]).astype(jnp.float32)
    rows = indices[jnp.minimum(positions, len(indices) - 1)].reshape(-1, chunk)

    def add_chunk(carry: Any, row: tuple[Array, Array]) -> tuple[Any, None]:
        batch = problem.batch(row[0], task)
        return add(carry, batch.replace(weights=row[1])), None

    end, _ = jax.lax.scan(add_chunk, start, (rows, counted.reshape(-1, chunk)))
    return end
