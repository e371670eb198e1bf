"""Training: an epoch as one scan, a fit as a pure function of a key, for any `Learner`."""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float, Int, Key, UInt8

from sffa_jax.augment import Augmentation
from sffa_jax.checks import check_image_shape, check_integer, reject
from sffa_jax.learner import Learner, State
from sffa_jax.mesh import split_batch
from sffa_jax.overlays import check_labels

EVALUATION_CHUNK = 500
"""Images scored at a time: bounds memory, since every image meets every label."""


class Samples(struct.PyTreeNode):
    """Images and labels on the device; images stay uint8 until a batch is drawn.

    Attributes:
      images: pixels 0..255.
      labels: class of each image.
      mean, std: of the training pixels, in units of the full range (pixel / 255).
    """

    images: UInt8[Array, "samples *input"]
    labels: Int[Array, " samples"]
    mean: Float[Array, " one_or_input"]
    std: Float[Array, " one_or_input"]

    def scaled(self, images: UInt8[Array, "batch *input"]) -> Float[Array, "batch *input"]:
        """Pixels as the network sees them: (pixel / 255 - mean) / std."""
        return (images.astype(jnp.float32) / 255 - self.mean[None]) / self.std[None]


def make_samples(
    images: np.ndarray,
    labels: np.ndarray,
    *,
    num_classes: int,
    mean: float | np.ndarray,
    std: float | np.ndarray,
) -> Samples:
    """Puts one split of a data set on the device, each image as a flat row of pixels.

    Args:
      images: [samples, height, width] or [samples, height, width, channels], uint8.
      labels: [samples], integers in [0, num_classes).
      num_classes: number of labels.
      mean, std: scalars, or one value a channel; from the *training* split.

    Raises:
      TypeError: if the images are not uint8.
      ValueError: if counts differ, a split is empty, or a label is out of range.
    """
    if images.dtype != np.uint8:
        raise TypeError(
            f"make_samples: `images` must be uint8, got {images.dtype}. "
            "`data.to_uint8` converts floats in [0, 1]."
        )
    if len(images) != len(labels) or not len(images):
        raise reject(
            "make_samples",
            "labels",
            "hold one label for each image, at least one",
            f"{len(images)} images and {len(labels)} labels",
        )
    check_labels("make_samples", labels, num_classes)
    mean, std = pixel_scale(mean, std, images.shape[1:])
    return Samples(
        images=jnp.asarray(images.reshape(len(images), -1)),
        labels=jnp.asarray(labels, jnp.int32),
        mean=jnp.asarray(mean),
        std=jnp.asarray(std),
    )


def pixel_scale(
    mean: float | np.ndarray, std: float | np.ndarray, image_shape: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation as flat rows of pixels take them: one value, or one a pixel for colour.

    A deviation of 0 (a channel of one value) divides by 1.

    Raises:
      TypeError: for what is no number.
      ValueError: for one that is not finite, a negative deviation, or another number of channels.
    """
    check_image_shape("pixel_scale", image_shape)
    rows = []
    for name, value in (("mean", mean), ("std", std)):
        numbers = np.asarray(value)
        if numbers.dtype.kind not in "iuf":
            raise TypeError(f"pixel_scale: `{name}` must be numbers, got {value!r}.")
        numbers = numbers.astype(np.float64)
        with np.errstate(over="ignore"):
            finite = bool(np.isfinite(numbers.astype(np.float32)).all())
        if not finite or (name == "std" and (numbers < 0).any()):
            rule = "be finite and not negative" if name == "std" else "be finite"
            raise reject("pixel_scale", name, rule, repr(value))
        if numbers.ndim and numbers.shape[-1:] != tuple(image_shape[2:]):
            raise reject("pixel_scale", name, f"fit images of {tuple(image_shape)}", repr(value))
        rows.append(
            np.ravel(numbers if not numbers.ndim else np.broadcast_to(numbers, image_shape))
        )
    return rows[0].astype(np.float32), np.where(rows[1] > 0, rows[1], 1).astype(np.float32)


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


def layer_scores(
    learner: Learner, state: State, samples: Samples
) -> Float[Array, "layers samples classes"]:
    """Every layer's score of every label for every sample, a chunk of samples at a time."""
    num_samples = samples.images.shape[0]
    chunk = min(EVALUATION_CHUNK, num_samples)
    num_chunks = -(-num_samples // chunk)
    # The last chunk is filled up with the first samples, whose scores are dropped again.
    indices = (jnp.arange(num_chunks * chunk) % num_samples).reshape(num_chunks, chunk)
    scores = jax.lax.map(
        lambda i: learner.scores(state, samples.scaled(split_batch(samples.images[i]))), indices
    )
    layers, classes = scores.shape[1], scores.shape[-1]
    return jnp.moveaxis(scores, 1, 0).reshape(layers, -1, classes)[:, :num_samples]


class Accuracy(NamedTuple):
    """Fractions of samples that are right.

    Attributes:
      network: by all scored layers together.
      layers: by each layer alone.
      cumulated: by the scored layers up to each; a layer that is not scored counts alone.
    """

    network: Float[Array, ""]
    layers: Float[Array, " layers"]
    cumulated: Float[Array, " layers"]


def evaluate(learner: Learner, state: State, samples: Samples) -> Accuracy:
    """Accuracy over all samples of a split, none left out."""
    scores = layer_scores(learner, state, samples)

    def fraction_right(scores: Array) -> Array:
        # argmax takes NaN for the maximum: a diverged network must not pass as class 0.
        finite = jnp.all(jnp.isfinite(scores), axis=-1)
        right = (jnp.argmax(scores, axis=-1) == samples.labels) & finite
        return jnp.mean(right, dtype=jnp.float32)

    first = learner.first_scored
    sums = jnp.concatenate([scores[:first], jnp.cumsum(scores[first:], axis=0)])
    cumulated = jnp.stack([fraction_right(s) for s in sums])
    layers = jnp.stack([fraction_right(s) for s in scores])
    return Accuracy(cumulated[-1], layers, cumulated)


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
