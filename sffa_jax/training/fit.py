"""Training: an epoch as one scan, a fit as a pure function of a key, for any `Learner`."""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, Int, Key

from sffa_jax.checks import check_integer, reject
from sffa_jax.training.augment import Augmentation
from sffa_jax.training.evaluate import evaluate
from sffa_jax.training.learner import Learner, State
from sffa_jax.training.samples import Samples
from sffa_jax.training.sharding import split_batch


class Progress(struct.PyTreeNode):
    """A fit under way: all that the next epoch depends on, and the best weights so far.

    Fits that run together stack all of it along a leading axis of runs.

    Attributes:
      state: the learner's state after `epoch` epochs.
      epoch: epochs done.
      key: of the whole fit; each epoch folds its number into it.
      best: the state with the highest validation accuracy (the earliest of equals).
      best_accuracy: that accuracy, a fraction; -1 before the first epoch.
      best_epoch: the epoch after which it was reached, from 1.
      diverged_step: update, from 0 over the whole fit, at which a loss first was not finite; -1
        while all are.
      diverged_layer: the first layer whose loss it was; -1 while all are finite.
    """

    state: State
    epoch: Int[Array, "*runs"]
    key: Key[Array, "*runs"]
    best: State
    best_accuracy: Float[Array, "*runs"]
    best_epoch: Int[Array, "*runs"]
    diverged_step: Int[Array, "*runs"]
    diverged_layer: Int[Array, "*runs"]


class EpochInfo(NamedTuple):
    """Attributes: loss: [layers] mean over the epoch, nats; validation_accuracy: a fraction."""

    loss: Float[Array, " layers"]
    validation_accuracy: Float[Array, ""]


class FitResult(NamedTuple):
    """Attributes: progress: at the end; history: `EpochInfo` with a leading axis of epochs."""

    progress: Progress
    history: EpochInfo


@dataclass(frozen=True)
class Schedule:
    """How long and in what portions.

    Attributes:
      epochs: passes over the training split.
      batch_size: images an update; the remainder of an epoch's shuffled order is left out.
      augment: changes each training batch at random, see `augment`; None leaves it as it is.

    Raises:
      ValueError: for zero epochs or an empty batch.
    """

    epochs: int
    batch_size: int
    augment: Augmentation | None = None

    def __post_init__(self) -> None:
        check_integer("Schedule", "epochs", self.epochs, 1)
        check_integer("Schedule", "batch_size", self.batch_size, 1)

    def steps_per_epoch(self, num_samples: int) -> int:
        """Updates an epoch makes.

        Raises:
          ValueError: if a batch is larger than the set.
        """
        if self.batch_size > num_samples:
            raise reject(
                "Schedule",
                "batch_size",
                f"be at most the {num_samples} training samples",
                self.batch_size,
                "Choose a smaller batch.",
            )
        return num_samples // self.batch_size


def start(learner: Learner, key: Key[Array, ""], samples: Samples) -> Progress:
    """A fit before its first epoch."""
    key_init, key_fit = jax.random.split(key)
    state = learner.init(key_init, samples.scaled(samples.images[:1]))
    return Progress(
        state=state,
        epoch=jnp.int32(0),
        key=key_fit,
        best=state,
        best_accuracy=jnp.float32(-1),
        best_epoch=jnp.int32(0),
        diverged_step=jnp.int32(-1),
        diverged_layer=jnp.int32(-1),
    )


class Plan(NamedTuple):
    """One epoch's updates. Attributes: indices: of each step's batch; keys: of each step."""

    indices: Int[Array, "steps batch"]
    keys: Key[Array, " steps"]


def plan_epoch(schedule: Schedule, progress: Progress, num_samples: int) -> Plan:
    """The shuffled order of the coming epoch, wherever its samples are kept."""
    num_steps = schedule.steps_per_epoch(num_samples)
    key_order, key_steps = jax.random.split(jax.random.fold_in(progress.key, progress.epoch))
    order = jax.random.permutation(key_order, num_samples)
    indices = order[: num_steps * schedule.batch_size].reshape(num_steps, schedule.batch_size)
    return Plan(indices, jax.random.split(key_steps, num_steps))


def update(
    learner: Learner, schedule: Schedule, state: State, key: Key[Array, ""], batch: Samples
) -> tuple[State, Float[Array, " layers"]]:
    """One update on one batch, augmented as the schedule says; also the loss per layer."""
    x = batch.scaled(batch.images)
    if schedule.augment is not None:
        x = schedule.augment(jax.random.fold_in(key, 1), x)
    return learner.step(state, key, x, batch.labels)


def train_epoch(
    learner: Learner, schedule: Schedule, progress: Progress, samples: Samples
) -> tuple[Progress, Float[Array, " layers"]]:
    """One pass over the shuffled training split, as one scan; also the mean loss per layer."""

    def step(state: State, planned: Plan) -> tuple[State, Array]:
        images, labels = samples.images[planned.indices], samples.labels[planned.indices]
        images, labels = split_batch((images, labels))
        batch = samples.replace(images=images, labels=labels)
        return update(learner, schedule, state, planned.keys, batch)

    plan = plan_epoch(schedule, progress, samples.images.shape[0])
    state, losses = jax.lax.scan(step, progress.state, plan)
    return close_epoch(progress, state, losses), jnp.mean(losses, axis=0)


def close_epoch(progress: Progress, state: State, losses: Float[Array, "steps layers"]) -> Progress:
    """The fit after an epoch that ended in `state`; notes where the first loss was not finite."""
    bad = ~jnp.isfinite(losses)
    step = jnp.argmax(jnp.any(bad, axis=1)).astype(jnp.int32)
    layer = jnp.argmax(bad[step]).astype(jnp.int32)
    first = jnp.any(bad) & (progress.diverged_step < 0)
    before = progress.epoch * len(losses)
    return progress.replace(
        state=state,
        epoch=progress.epoch + 1,
        diverged_step=jnp.where(first, before + step, progress.diverged_step),
        diverged_layer=jnp.where(first, layer, progress.diverged_layer),
    )


def keep_best(progress: Progress, accuracy: Float[Array, ""]) -> Progress:
    """Remembers the present weights if their validation accuracy is the highest so far."""
    better = accuracy > progress.best_accuracy
    best = jax.tree.map(lambda new, old: jnp.where(better, new, old), progress.state, progress.best)
    return progress.replace(
        best=best,
        best_accuracy=jnp.where(better, accuracy, progress.best_accuracy),
        best_epoch=jnp.where(better, progress.epoch, progress.best_epoch),
    )


def fit(
    learner: Learner,
    schedule: Schedule,
    key: Key[Array, ""],
    training: Samples,
    validation: Samples,
) -> FitResult:
    """A whole training run: a pure function of its arguments, to be jitted and vmapped over keys.

    After each epoch the validation accuracy is taken and the best weights are kept
    (`result.progress.best`); the test set has no part in it.

    Raises:
      ValueError: if a batch is larger than the training split.
    """

    def epoch(progress: Progress, _: None) -> tuple[Progress, EpochInfo]:
        progress, loss = train_epoch(learner, schedule, progress, training)
        accuracy = evaluate(learner, progress.state, validation).network
        return keep_best(progress, accuracy), EpochInfo(loss, accuracy)

    first = start(learner, key, training)
    return FitResult(*jax.lax.scan(epoch, first, None, length=schedule.epochs))
