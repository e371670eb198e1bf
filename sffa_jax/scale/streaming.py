"""Training on images that stay on disk: the updates of `fit`, fed by a reader.

The order of the samples is that of `fit.plan_epoch`, and every batch goes through `fit.update`: a
fit from disk and a fit in memory give the same result. A Python loop makes the steps; threads read
ahead and place the next batches on the device.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Int, Key

from sffa_jax import data
from sffa_jax.checks import check_integer, reject
from sffa_jax.core.overlays import check_labels
from sffa_jax.training.evaluate import EVALUATION_CHUNK, Accuracy, evaluate
from sffa_jax.training.fit import (
    EpochInfo,
    FitResult,
    Progress,
    Schedule,
    close_epoch,
    keep_best,
    plan_epoch,
    start,
    update,
)
from sffa_jax.training.learner import Learner, State
from sffa_jax.training.samples import Samples, pixel_scale

DEVICE_BUFFER = 2
"""Number of batches that are placed on the device in advance."""


_start = jax.jit(start, static_argnums=0)
_plan_epoch = jax.jit(plan_epoch, static_argnums=(0, 2))
_evaluate = jax.jit(evaluate, static_argnums=0)


@dataclass(frozen=True, eq=False)
class Stream:
    """One split of a data set on disk, as `Samples` is one on the device.

    Attributes:
      records: source of the images.
      indices: [samples] numbers of the split's records.
      mean, std, num_classes: as in `Samples`.
      mesh: of one axis, over which each batch is split; None: the default device. If it spans
        processes, each reads its own part of a batch.
      reading: how far ahead.
    """

    records: data.Records
    indices: np.ndarray
    mean: np.ndarray
    std: np.ndarray
    num_classes: int
    mesh: Mesh | None = None
    reading: data.Reading = data.AHEAD

    def __len__(self) -> int:
        return len(self.indices)

    def first(self) -> Samples:
        """The first sample alone, from which a learner takes the shape of its input."""
        images, labels = self.records.read(self.indices[:1])
        return Samples(
            jnp.asarray(_rows(images)),
            jnp.asarray(labels),
            jnp.asarray(self.mean),
            jnp.asarray(self.std),
            self.num_classes,
        )

    def batches(self, order: np.ndarray, start: int = 0) -> Iterator[Samples]:
        """The batches of some steps, each as `Samples` on the device.

        Args:
          order: [steps, batch] positions in the split.
          start: the step to begin with.

        Raises:
          ValueError: if the devices cannot share a batch evenly.
          DataError: if a record is damaged.
        """
        # Imported here: only streams need it.
        from grain.experimental import ThreadPrefetchIterDataset

        if self.mesh is not None and order.shape[1] % self.mesh.size:
            raise reject(
                "batches",
                "batch_size",
                f"be a multiple of {self.mesh.size} devices",
                order.shape[1],
            )
        ahead = data.batches(
            self.records,
            self.indices[order],
            start=start,
            process=0 if self.mesh is None else jax.process_index(),
            num_processes=1 if self.mesh is None else jax.process_count(),
            reading=self.reading,
        )
        # Placed here once: a program that runs on several processes starts in one order on all of
        # them, which reading threads cannot promise.
        mean, std = self.replicate((jnp.asarray(self.mean), jnp.asarray(self.std)))

        def place(batch: tuple[np.ndarray, np.ndarray]) -> Samples:
            images, labels = _rows(batch[0]), batch[1]
            if self.mesh is None:
                return Samples(
                    jnp.asarray(images), jnp.asarray(labels), mean, std, self.num_classes
                )
            parts = NamedSharding(self.mesh, PartitionSpec(self.mesh.axis_names))
            images = jax.make_array_from_process_local_data(parts, images)
            labels = jax.make_array_from_process_local_data(parts, labels)
            return Samples(images, labels, mean, std, self.num_classes)

        iterator = iter(
            ThreadPrefetchIterDataset(ahead.map(place), prefetch_buffer_size=DEVICE_BUFFER)
        )
        try:
            yield from iterator
        finally:
            iterator.close()

    def replicate(self, tree: State) -> State:
        """Places the same values on every device of the mesh."""
        if self.mesh is None:
            return tree
        everywhere = NamedSharding(self.mesh, PartitionSpec())
        # Unlike `device_put`, this also reaches the devices of other processes.
        return jax.jit(lambda tree: tree, out_shardings=everywhere)(tree)


def _rows(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1)


def make_stream(
    records: data.Records,
    indices: np.ndarray,
    *,
    num_classes: int,
    mean: float | np.ndarray,
    std: float | np.ndarray,
    mesh: Mesh | None = None,
    reading: data.Reading = data.AHEAD,
) -> Stream:
    """A split of a set on disk, as `make_samples` makes one in memory.

    Args:
      records: of the set's training or test part.
      indices: [samples] which of them, for example of `data.stratified_split`.
      num_classes: number of labels.
      mean, std: scalars, or one value a channel; from the *training* split
        (`records.statistics(indices)`).
      mesh: of one axis, if batches are spread over devices.
      reading: how far ahead; grain's threads and buffer.

    Raises:
      ValueError: if the split is empty or a label is out of range.
    """
    if not len(indices):
        raise reject("make_stream", "indices", "name at least one sample", "none")
    check_labels("make_stream", records.labels[indices], num_classes)
    scale = pixel_scale(mean, std, records.image_shape)
    return Stream(records, indices, *scale, num_classes, mesh, reading)


class Position(struct.PyTreeNode):
    """A streamed fit inside an epoch: all that its next step depends on, to be saved and resumed.

    Attributes:
      progress: as at the epoch's start, but for the learner's state.
      step: updates made in this epoch.
      losses: of those updates; zero for those to come.
    """

    progress: Progress
    step: Int[Array, ""]
    losses: Float[Array, "steps layers"]


def start_stream(learner: Learner, key: Key[Array, ""], stream: Stream) -> Progress:
    """A fit before its first epoch, as `fit.start`."""
    return stream.replicate(_start(learner, key, stream.first()))


def begin_epoch(
    learner: Learner, schedule: Schedule, progress: Progress, stream: Stream
) -> Position:
    """The position before an epoch's first step.

    Raises:
      ValueError: if a batch is larger than the split.
    """
    num_steps = schedule.steps_per_epoch(len(stream))
    loss = jax.eval_shape(
        lambda batch: update(learner, schedule, progress.state, progress.key, batch)[1],
        stream.first(),
    )
    losses = stream.replicate(jnp.zeros((num_steps, *loss.shape), loss.dtype))
    return Position(progress, stream.replicate(jnp.int32(0)), losses)


@partial(jax.jit, static_argnums=(0, 1))
def _advance(
    learner: Learner,
    schedule: Schedule,
    position: Position,
    keys: Key[Array, " steps"],
    batch: Samples,
) -> Position:
    step = position.step
    state, loss = update(learner, schedule, position.progress.state, keys[step], batch)
    return Position(
        position.progress.replace(state=state), step + 1, position.losses.at[step].set(loss)
    )


def advance(
    learner: Learner,
    schedule: Schedule,
    position: Position,
    stream: Stream,
    num_steps: int | None = None,
) -> Position:
    """Makes some of an epoch's updates, from the exact step where the last ones ended.

    Args:
      learner: what is trained.
      schedule: its batch size.
      position: where the fit stands.
      stream: the training split.
      num_steps: how many; None: to the epoch's end.

    Raises:
      ValueError: if a batch is larger than the split, or for a negative number of steps.
      DataError: if a record is damaged.
    """
    if num_steps is not None:
        check_integer("advance", "num_steps", num_steps, 0)
    plan = _plan_epoch(schedule, position.progress, len(stream))
    done = int(position.step)
    end = len(plan.keys) if num_steps is None else done + num_steps
    for batch in stream.batches(np.asarray(plan.indices)[:end], done):
        position = _advance(learner, schedule, position, plan.keys, batch)
    return position


def end_epoch(position: Position) -> tuple[Progress, Float[Array, " layers"]]:
    """The fit after an epoch whose updates are all made; also the mean loss per layer."""
    if position.step != len(position.losses):
        raise reject(
            "end_epoch", "position", f"have made all {len(position.losses)} steps", position.step
        )
    progress = close_epoch(position.progress, position.progress.state, position.losses)
    return progress, jnp.mean(position.losses, axis=0)


def stream_epoch(
    learner: Learner, schedule: Schedule, progress: Progress, stream: Stream
) -> tuple[Progress, Float[Array, " layers"]]:
    """One pass over the shuffled training split; also the mean loss per layer."""
    position = begin_epoch(learner, schedule, progress, stream)
    return end_epoch(advance(learner, schedule, position, stream))


def evaluate_stream(learner: Learner, state: State, stream: Stream) -> Accuracy:
    """Accuracy over all samples of a split, none left out."""
    chunk = min(EVALUATION_CHUNK, len(stream))
    whole = len(stream) // chunk * chunk
    positions = np.arange(len(stream))
    right = None
    for order in (positions[:whole].reshape(-1, chunk), positions[None, whole:]):
        for batch in stream.batches(order) if order.size else ():
            share = _evaluate(learner, state, batch)
            # A share of a chunk is a whole number of samples: their sum is exact.
            counts = jax.tree.map(lambda s, n=order.shape[1]: jnp.rint(s * n), share)
            right = counts if right is None else jax.tree.map(jnp.add, right, counts)
    return jax.tree.map(lambda count: count / len(stream), right)


def fit_stream(
    learner: Learner,
    schedule: Schedule,
    key: Key[Array, ""],
    training: Stream,
    validation: Stream,
) -> FitResult:
    """A whole training run from disk: the result of `fit` for the same samples in memory.

    Raises:
      ValueError: if a batch is larger than the training split.
      DataError: if a record is damaged.
    """
    progress, history = start_stream(learner, key, training), []
    for _ in range(schedule.epochs):
        progress, loss = stream_epoch(learner, schedule, progress, training)
        accuracy = evaluate_stream(learner, progress.state, validation).network
        progress = keep_best(progress, accuracy)
        history.append(EpochInfo(loss, accuracy))
    stacked = jax.tree.map(lambda *epochs: jnp.stack(epochs), *history)
    return FitResult(progress.best, stacked, progress)
