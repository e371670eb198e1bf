"""Training on images that are read from disk batch by batch.

`fit.plan_epoch` draws the order of the samples and `fit.update` makes every update, as in memory.
Training from disk and training in memory therefore give the same result. A Python loop runs the
steps; threads read ahead and place the next batches on the device.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Int, Key

from sffa_jax import data
from sffa_jax.checks import check_integer, check_type, reject
from sffa_jax.data.batches import in_order
from sffa_jax.training.evaluate import Accuracy, chunk_size, evaluate
from sffa_jax.training.fit import (
    EpochInfo,
    FitResult,
    Progress,
    Schedule,
    check_run,
    close_epoch,
    keep_best,
    plan_epoch,
    selection,
    start,
    update,
)
from sffa_jax.training.learner import Learner, State
from sffa_jax.training.samples import Samples, check_pixel_units, check_samples, pixel_scale

DEVICE_BUFFER = 2
"""Number of batches that are placed on the device in advance."""


_start = jax.jit(start, static_argnums=0)
_plan_epoch = jax.jit(plan_epoch, static_argnums=(0, 2))
_evaluate = jax.jit(evaluate, static_argnums=0)


@dataclass(frozen=True, eq=False)
class StreamedSamples:
    """One split of a data set on disk; `Samples` is the equivalent on the device.

    Attributes:
      records: source of the images.
      indices: [samples] numbers of the split's records.
      mean, std, num_classes: as in `Samples`.
      mesh: one axis, over which each batch is split; None: the default device. If it spans
        processes, each process reads only its part of a batch.
      reading: number of threads and batches read in advance.
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
        """Returns the first sample, which defines the input shape of a learner."""
        images, labels = self.records.read(self.indices[:1])
        return Samples(
            jnp.asarray(_rows(images)),
            jnp.asarray(labels),
            jnp.asarray(self.mean),
            jnp.asarray(self.std),
            self.num_classes,
        )

    def batches(self, order: np.ndarray, start: int = 0) -> Iterator[Samples]:
        """Yields the batch of each step as `Samples` on the device.

        Args:
          order: [steps, batch] positions in the split.
          start: the first step to read.

        Raises:
          ValueError: if the devices cannot share a batch evenly.
          DataError: if a record is damaged.
        """
        # Imported here because only training from disk needs grain.
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
        # Placed once, outside the reading threads: all processes must start a shared program in the
        # same order, and threads do not guarantee an order.
        mean, std = self.replicate((jnp.asarray(self.mean), jnp.asarray(self.std)))

        put: Callable[[np.ndarray], Array] = jnp.asarray
        if self.mesh is not None:
            parts = NamedSharding(self.mesh, PartitionSpec(self.mesh.axis_names))
            put = partial(jax.make_array_from_process_local_data, parts)

        def place(batch: tuple[np.ndarray, np.ndarray]) -> Samples:
            images, labels = batch
            return Samples(put(_rows(images)), put(labels), mean, std, self.num_classes)

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
        return jax.jit(_same, out_shardings=everywhere)(tree)


def _same(tree: State) -> State:
    return tree


def _rows(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1)


def make_streamed_samples(
    records: data.Records,
    indices: np.ndarray,
    *,
    num_classes: int,
    mean: float | np.ndarray,
    std: float | np.ndarray,
    mesh: Mesh | None = None,
    reading: data.Reading = data.AHEAD,
) -> StreamedSamples:
    """Makes a split of a data set on disk; `make_samples` is the equivalent in memory.

    Args:
      records: of the set's training or test part.
      indices: [samples] records of the split, for example from `data.stratified_split`.
      num_classes: number of labels.
      mean, std: scalars, or one value per channel; from the *training* split
        (`records.statistics(indices)`).
      mesh: one axis, over which each batch is split; None: the default device.
      reading: number of threads and batches read in advance by grain.

    Raises:
      TypeError, ValueError: for no number of classes, an empty split, a label out of range, or
        `mean` and `std` of other units than pixel / 255.
    """
    if not len(indices):
        raise reject("make_streamed_samples", "indices", "name at least one sample", "none")
    check_integer("make_streamed_samples", "num_classes", num_classes, 1)
    data.to_labels(records.labels[indices], num_classes, where="make_streamed_samples")
    scale = pixel_scale(mean, std, records.image_shape)
    check_pixel_units("make_streamed_samples", *scale)
    return StreamedSamples(records, indices, *scale, num_classes, mesh, reading)


class Position(struct.PyTreeNode):
    """The state of a run within an epoch: everything its next step depends on, for checkpoints.

    Attributes:
      progress: the run at the start of the epoch, with the current state of the learner.
      step: number of updates in this epoch so far.
      losses: of those updates; zero for the remaining ones.
    """

    progress: Progress
    step: Int[Array, ""]
    losses: Float[Array, "steps layers"]


def start_streamed(
    learner: Learner, key: Key[Array, ""], samples: StreamedSamples, state: State | None = None
) -> Progress:
    """Returns the run before its first epoch; `fit.start` is the equivalent in memory.

    Raises:
      ValueError: if learner and samples have different numbers of classes, or for a state of
        another learner.
    """
    first = samples.first()
    check_samples("start_streamed", first, learner.num_classes)
    return samples.replicate(_start(learner, key, first, state))


def begin_epoch(
    learner: Learner, schedule: Schedule, progress: Progress, samples: StreamedSamples
) -> Position:
    """Returns the position before the first step of an epoch.

    Raises:
      ValueError: if a batch is larger than the split.
    """
    num_steps = schedule.steps_per_epoch(len(samples))
    loss = jax.eval_shape(
        lambda batch: update(learner, schedule, progress.state, progress.key, batch)[1],
        samples.first(),
    )
    losses = samples.replicate(jnp.zeros((num_steps, *loss.shape), loss.dtype))
    return Position(progress, samples.replicate(jnp.int32(0)), losses)


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
    samples: StreamedSamples,
    num_steps: int | None = None,
) -> Position:
    """Continues an epoch by some updates from the exact step of `position`.

    Args:
      learner: the network and its algorithm.
      schedule: batch size and augmentation.
      position: the current position.
      samples: the training split.
      num_steps: number of updates; None: up to the end of the epoch.

    Raises:
      ValueError: if a batch is larger than the split, or for a negative number of steps.
      DataError: if a record is damaged.
    """
    if num_steps is not None:
        check_integer("advance", "num_steps", num_steps, 0)
        if num_steps == 0:
            return position
    plan = _plan_epoch(schedule, position.progress, len(samples))
    done = int(position.step)
    end = len(plan.keys) if num_steps is None else done + num_steps
    for batch in samples.batches(np.asarray(plan.indices)[:end], done):
        position = _advance(learner, schedule, position, plan.keys, batch)
    return position


def end_epoch(position: Position) -> tuple[Progress, Float[Array, " layers"]]:
    """Returns the run after a complete epoch and the mean loss per layer."""
    if position.step != len(position.losses):
        raise reject(
            "end_epoch", "position", f"have made all {len(position.losses)} steps", position.step
        )
    progress = close_epoch(position.progress, position.progress.state, position.losses)
    return progress, jnp.mean(position.losses, axis=0)


def train_streamed_epoch(
    learner: Learner, schedule: Schedule, progress: Progress, samples: StreamedSamples
) -> tuple[Progress, Float[Array, " layers"]]:
    """Trains for one epoch; also returns the mean loss per layer."""
    position = begin_epoch(learner, schedule, progress, samples)
    return end_epoch(advance(learner, schedule, position, samples))


def evaluation_batches(learner: Learner, samples: StreamedSamples) -> Iterator[Samples]:
    """Yields a split in order, in batches as large as `evaluate` scores at a time.

    Raises:
      ValueError: before the first batch, if the devices cannot share the split evenly.
      DataError: if a record is damaged.
    """
    check_shared("evaluation_batches", "samples", samples)
    chunk = chunk_size(len(samples), learner.num_classes)
    if samples.mesh is not None:
        chunk = max(chunk // samples.mesh.size, 1) * samples.mesh.size
    for order in in_order(len(samples), chunk):
        yield from samples.batches(order)


def check_shared(where: str, argument: str, samples: StreamedSamples) -> None:
    """Raises ValueError unless the devices of the mesh can share a split evenly."""
    devices = 1 if samples.mesh is None else samples.mesh.size
    rest = len(samples) % devices
    if rest:
        advice = f"Leave out {rest} of them, or pass a split with `mesh=None`."
        rule = f"have a multiple of {devices} samples, one for each device"
        raise reject(where, argument, rule, len(samples), advice)


def mean_accuracy(batches: Iterable[tuple[int, Accuracy]]) -> Accuracy:
    """Returns the accuracy over all samples from the size and the accuracy of each batch."""
    total, correct = 0, None
    for size, accuracy in batches:
        # Counts of samples are integers, so that their sum is exact.
        counts = jax.tree.map(lambda a, n=size: jnp.rint(a * n), accuracy)
        correct = counts if correct is None else jax.tree.map(jnp.add, correct, counts)
        total += size
    return jax.tree.map(lambda count: count / total, correct)


def evaluate_streamed(learner: Learner, state: State, samples: StreamedSamples) -> Accuracy:
    """Returns the accuracy over all samples of a split.

    Raises:
      ValueError: before anything is read, if the devices cannot share the split evenly.
      DataError: if a record is damaged.
    """
    check_shared("evaluate_streamed", "samples", samples)
    return mean_accuracy(
        (len(batch.labels), _evaluate(learner, state, batch))
        for batch in evaluation_batches(learner, samples)
    )


def fit_streamed(
    learner: Learner,
    schedule: Schedule,
    key: Key[Array, ""],
    training: StreamedSamples,
    validation: StreamedSamples | None = None,
    *,
    state: State | None = None,
    callback: Callable[[Array, EpochInfo], None] | None = None,
    select: str | None = None,
) -> FitResult:
    """Trains from disk; returns the result of `fit` for the same samples in memory.

    Args:
      learner, schedule, key, validation, state, select: as in `fit`.
      training: the training split.
      callback: as in `fit`; an exception ends the run. Each process calls it.

    Raises:
      TypeError: for a learner, a schedule, a key or splits of another type.
      ValueError: as `fit`, or if the devices cannot share the validation split evenly.
      DataError: if a record is damaged.
    """
    select = selection("fit_streamed", select, validated=validation is not None)
    check_run("fit_streamed", learner, schedule, key)
    rule, advice = "be `StreamedSamples`", "`make_streamed_samples` makes them."
    for samples in (training,) if validation is None else (training, validation):
        check_type("fit_streamed", "samples", samples, StreamedSamples, rule, advice)
        check_samples("fit_streamed", samples.first(), learner.num_classes)
    if validation is not None:
        check_shared("fit_streamed", "validation", validation)
    progress, history = start_streamed(learner, key, training, state), []
    for _ in range(schedule.epochs):
        progress, loss = train_streamed_epoch(learner, schedule, progress, training)
        accuracy = None
        if validation is not None:
            accuracy = evaluate_streamed(learner, progress.state, validation).network
            progress = keep_best(progress, accuracy)
        history.append(EpochInfo(loss, accuracy))
        if callback is not None:
            callback(progress.epoch, history[-1])
    stacked = jax.tree.map(lambda *epochs: jnp.stack(epochs), *history)
    return FitResult(progress.best if select == "best" else progress.state, stacked, progress)
