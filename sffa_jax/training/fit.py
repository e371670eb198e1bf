"""Training of any `Learner`: an epoch is one scan, a fit is a pure function of a key."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, Int, Key

from sffa_jax.checks import (
    check_choice,
    check_function,
    check_integer,
    check_type,
    reject,
    reject_type,
)
from sffa_jax.training.augment import Augmentation
from sffa_jax.training.evaluate import evaluate
from sffa_jax.training.learner import Learner, State, check_learner, check_same_state, is_traced
from sffa_jax.training.samples import Samples, check_samples
from sffa_jax.training.sharding import split_batch

SELECTIONS = ("best", "last")
"""Which state of a run `fit` returns."""


class Progress(struct.PyTreeNode):
    """The complete state of a training run: inputs of the next epoch and the best weights so far.

    Runs that train together are stacked along a leading axis.

    Attributes:
      state: the learner's state after `epoch` epochs.
      epoch: number of epochs done.
      key: key of the whole run; each epoch folds its number into it.
      best: the state with the highest validation accuracy (the earliest of equals).
      best_accuracy: that accuracy, a fraction; -1 before the first epoch.
      best_epoch: the epoch of that accuracy, from 1.
      diverged_step: first update with a loss that is not finite, counted from 0 over the whole
        run; -1 while all losses are finite.
      diverged_layer: the first layer with such a loss; -1 while all losses are finite.
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
    """Attributes: loss: [layers] mean over the epoch, nats; validation_accuracy: a fraction, or
    None without a validation split."""

    loss: Float[Array, "*epochs layers"]
    validation_accuracy: Float[Array, "*epochs"] | None


class FitResult(NamedTuple):
    """Result of a training run.

    Attributes:
      state: the selected state of the learner.
      history: `EpochInfo` with a leading axis of epochs.
      progress: the run after the last epoch; `progress.best_epoch` is the selected epoch.
    """

    state: State
    history: EpochInfo
    progress: Progress


@dataclass(frozen=True)
class Schedule:
    """Length, batch size and augmentation of a training run.

    Attributes:
      epochs: passes over the training split.
      batch_size: images per update; an epoch skips the last incomplete batch.
      augment: random change of each training batch, see `augment`; None: no change.

    Raises:
      TypeError: for an `augment` that is no function (key, x [batch, features]) -> x.
      ValueError: for zero epochs or an empty batch.
    """

    epochs: int
    batch_size: int
    augment: Augmentation | None = None

    def __post_init__(self) -> None:
        check_integer("Schedule", "epochs", self.epochs, 1)
        check_integer("Schedule", "batch_size", self.batch_size, 1)
        if self.augment is not None:
            advice = "`augment.shift((28, 28), 2)` is one."
            check_function("Schedule", "augment", self.augment, "key, x", advice)

    def steps_per_epoch(self, num_samples: int) -> int:
        """Number of updates per epoch.

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


def start(
    learner: Learner, key: Key[Array, ""], samples: Samples, state: State | None = None
) -> Progress:
    """Returns the run before its first epoch, for a custom loop; `fit` runs the same epochs.

    Args:
      learner: the network and its algorithm.
      key: of the run.
      samples: the training split; its first sample defines the shape of the input.
      state: from which training continues; None: the key draws new weights.

    Raises:
      TypeError: for anything but `Samples`.
      ValueError: for a state of another learner, or samples of another number of classes.

    >>> import optax
    >>> from sffa_jax.core.architectures import dense_layers
    >>> from sffa_jax.training.backprop import backprop_learner
    >>> from sffa_jax.training.samples import make_samples
    >>> import numpy as np
    >>> train = make_samples(np.zeros((8, 2, 2), np.uint8), np.arange(8) % 2, mean=0.0, std=1.0)
    >>> learner = backprop_learner(dense_layers([4]), 2, optax.adam(1e-3))
    >>> progress = start(learner, jax.random.key(0), train)
    >>> int(progress.epoch)
    0
    """
    check_samples("start", samples, learner.num_classes)
    key_init, key_fit = jax.random.split(key)
    x = samples.scaled(samples.images[:1])
    if state is None:
        state = learner.init(key_init, x)
    else:
        check_same_state("start", state, partial(learner.init, key_init, x))
    return Progress(
        state=state,
        epoch=jnp.int32(0),
        key=key_fit,
        best=jax.tree.map(jnp.copy, state),  # of its own, so that a caller can donate the run
        best_accuracy=jnp.float32(-1),
        best_epoch=jnp.int32(0),
        diverged_step=jnp.int32(-1),
        diverged_layer=jnp.int32(-1),
    )


class EpochPlan(NamedTuple):
    """One epoch's updates. Attributes: indices: of each step's batch; keys: of each step."""

    indices: Int[Array, "steps batch"]
    keys: Key[Array, " steps"]


def plan_epoch(schedule: Schedule, progress: Progress, num_samples: int) -> EpochPlan:
    """Draws the batches of the next epoch; the samples may be in memory or on disk."""
    num_steps = schedule.steps_per_epoch(num_samples)
    key_order, key_steps = jax.random.split(jax.random.fold_in(progress.key, progress.epoch))
    order = jax.random.permutation(key_order, num_samples)
    indices = order[: num_steps * schedule.batch_size].reshape(num_steps, schedule.batch_size)
    return EpochPlan(indices, jax.random.split(key_steps, num_steps))


def training_inputs(
    schedule: Schedule, key: Key[Array, ""], batch: Samples
) -> Float[Array, "batch features"]:
    """Scales the images of a batch and augments them by the schedule."""
    x = batch.scaled(batch.images)
    if schedule.augment is not None:
        x = schedule.augment(jax.random.fold_in(key, 1), x)
    return x


def update(
    learner: Learner, schedule: Schedule, state: State, key: Key[Array, ""], batch: Samples
) -> tuple[State, Float[Array, " layers"]]:
    """Updates the learner on one batch; also returns the loss per layer."""
    return learner.step(state, key, training_inputs(schedule, key, batch), batch.labels)


def train_epoch(
    learner: Learner,
    schedule: Schedule,
    progress: Progress,
    samples: Samples,
    rows: Int[Array, " chosen"] | None = None,
) -> tuple[Progress, Float[Array, " layers"]]:
    """Trains for one epoch, as one scan; also returns the mean loss per layer.

    Args:
      learner, schedule: of the run.
      progress: the run so far.
      samples: the training split.
      rows: numbers of the samples that are the training split; None: all. Runs of several splits
        can share the samples.

    Raises:
      TypeError: for anything but `Samples`.
      ValueError: for samples of another number of classes.

    >>> import optax
    >>> from sffa_jax.core.architectures import dense_layers
    >>> from sffa_jax.training.backprop import backprop_learner
    >>> from sffa_jax.training.samples import make_samples
    >>> import numpy as np
    >>> train = make_samples(np.zeros((8, 2, 2), np.uint8), np.arange(8) % 2, mean=0.0, std=1.0)
    >>> learner = backprop_learner(dense_layers([4]), 2, optax.adam(1e-3))
    >>> progress = start(learner, jax.random.key(0), train)
    >>> train_epoch(learner, Schedule(epochs=1, batch_size=4), progress, train)[1].shape
    (1,)
    """
    check_samples("train_epoch", samples, learner.num_classes)

    def step(state: State, planned: EpochPlan) -> tuple[State, Array]:
        indices = planned.indices if rows is None else rows[planned.indices]
        images, labels = samples.images[indices], samples.labels[indices]
        images, labels = split_batch((images, labels))
        batch = samples.replace(images=images, labels=labels)
        return update(learner, schedule, state, planned.keys, batch)

    plan = plan_epoch(schedule, progress, len(samples.images if rows is None else rows))
    state, losses = jax.lax.scan(step, progress.state, plan)
    return close_epoch(progress, state, losses), jnp.mean(losses, axis=0)


def close_epoch(progress: Progress, state: State, losses: Float[Array, "steps layers"]) -> Progress:
    """Returns the run after an epoch that ended in `state`; records the first loss not finite."""
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


@partial(jax.jit, inline=True)
def keep_best(progress: Progress, accuracy: Float[Array, ""]) -> Progress:
    """Keeps the current weights if their validation accuracy is the highest so far."""
    better = accuracy > progress.best_accuracy
    best = jax.tree.map(lambda new, old: jnp.where(better, new, old), progress.state, progress.best)
    return progress.replace(
        best=best,
        best_accuracy=jnp.where(better, accuracy, progress.best_accuracy),
        best_epoch=jnp.where(better, progress.epoch, progress.best_epoch),
    )


def selection(where: str, select: str | None, *, validated: bool) -> str:
    """Returns which state a run returns, one of `SELECTIONS`; None: the default.

    Raises:
      ValueError: for an unknown name, or "best" without a validation split.
    """
    if select is None:
        return "best" if validated else "last"
    check_choice(where, "select", select, SELECTIONS)
    if select == "best" and not validated:
        raise reject(where, "select", "be 'last' without a validation split", repr(select))
    return select


def fit(
    learner: Learner,
    schedule: Schedule,
    key: Key[Array, ""],
    train: Samples,
    validation: Samples | None = None,
    *,
    state: State | None = None,
    callback: Callable[[Array, EpochInfo], None] | None = None,
    select: str | None = None,
) -> FitResult:
    """Trains a learner: a pure function of its arguments that can be jitted and vmapped.

    Its program is compiled once for the same `learner`, `schedule` and `callback` objects: what
    their functions read from outside is as at the first call.

    Args:
      learner: the network and its algorithm.
      schedule: epochs, batch size and augmentation.
      key: draws weights, order and negatives.
      train: the training split.
      validation: its accuracy is measured after each epoch; None: no measurement. Never pass the
        test split.
      state: from which training continues, with its optimizers' states, e.g. `result.state`, or
        `learner.restart(state)` for another optimizer or schedule; None: the key draws new weights.
      callback: called on the host after each epoch with the number of completed epochs and the
        epoch's `EpochInfo`; under `jax.vmap`, once per run.
      select: the state to return: "best" (highest validation accuracy, the earliest of equals) or
        "last"; None: "best" with a validation split and "last" without.

    Raises:
      TypeError: for a learner, a schedule, a key or samples of another type.
      ValueError: if a batch is larger than the training split, numbers of classes differ, labels
        are out of range (unseen under `jax.jit`: `make_samples` checks them), `state` is that of
        another learner, `select` is unknown, or it is "best" without a validation split.

    >>> import optax
    >>> from sffa_jax.core.architectures import dense_layers
    >>> from sffa_jax.training.backprop import backprop_learner
    >>> from sffa_jax.training.samples import make_samples
    >>> import numpy as np
    >>> images = np.zeros((8, 2, 2), np.uint8)
    >>> train = make_samples(images, np.arange(8) % 2, mean=0.0, std=1.0)
    >>> learner = backprop_learner(dense_layers([4]), 2, optax.adam(1e-3))
    >>> result = fit(learner, Schedule(epochs=2, batch_size=4), jax.random.key(0), train)
    >>> result.history.loss.shape  # epochs, layers
    (2, 1)
    """
    check_run("fit", learner, schedule, key)
    select = selection("fit", select, validated=validation is not None)
    check_samples("fit", train, learner.num_classes)
    if validation is not None:
        check_samples("fit", validation, learner.num_classes)
    run = _fit if is_traced() else _compiled_fit
    try:
        hash((learner, schedule, callback))
    except TypeError:  # a cache cannot hold them
        run = _fit
    return run(learner, schedule, callback, select, key, train, validation, state)


def _fit(
    learner: Learner,
    schedule: Schedule,
    callback: Callable[[Array, EpochInfo], None] | None,
    select: str,
    key: Key[Array, ""],
    train: Samples,
    validation: Samples | None,
    state: State | None,
) -> FitResult:
    """`fit`, without checks."""

    def epoch(progress: Progress, _: None) -> tuple[Progress, EpochInfo]:
        progress, loss = train_epoch(learner, schedule, progress, train)
        accuracy = None
        if validation is not None:
            accuracy = evaluate(learner, progress.state, validation).network
            progress = keep_best(progress, accuracy)
        info = EpochInfo(loss, accuracy)
        if callback is not None:
            jax.debug.callback(callback, progress.epoch, info)
        return progress, info

    first = start(learner, key, train, state)
    progress, history = jax.lax.scan(epoch, first, None, length=schedule.epochs)
    return FitResult(progress.best if select == "best" else progress.state, history, progress)


# Compiled once for a learner and a schedule, also where the caller compiles nothing.
_compiled_fit = jax.jit(_fit, static_argnums=(0, 1, 2, 3))


def check_run(where: str, learner: Any, schedule: Any, key: Any) -> None:
    """Raises TypeError unless these are a learner, a schedule and a key of either kind of JAX's."""
    check_learner(where, learner)
    advice = "`Schedule(epochs=20, batch_size=64)` is one."
    check_type(where, "schedule", schedule, Schedule, "be a `Schedule`", advice)
    dtype, shape = getattr(key, "dtype", None), getattr(key, "shape", None)
    is_key = dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key) and shape == ()
    is_raw = dtype == jnp.uint32 and len(shape or ()) == 1
    if not is_key and not is_raw:
        got = type(key).__name__ if dtype is None else f"{dtype} of shape {shape}"
        advice = "`jax.random.key(0)` is one; for several, use `jax.vmap`."
        raise reject_type(where, "key", "be a random key", got, advice)
