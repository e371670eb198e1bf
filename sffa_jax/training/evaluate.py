"""Scores, predictions and accuracy of any learner, computed one chunk of images at a time."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from sffa_jax.checks import reject, reject_type
from sffa_jax.data.arrays import next_power_of_two, to_images
from sffa_jax.training.learner import Learner, State, check_learner, is_traced
from sffa_jax.training.samples import LARGEST_RMS, Samples, check_samples
from sffa_jax.training.sharding import split_batch

EVALUATION_CHUNK = 500
"""Largest number of images scored at a time."""

LABELED_IMAGES = 50_000
"""Largest number of pairs of an image and a label scored at a time; limits memory, because every
image is scored with every label."""


def chunk_size(num_samples: int, num_classes: int) -> int:
    """Returns the number of images to score at a time."""
    return max(1, min(EVALUATION_CHUNK, LABELED_IMAGES // num_classes, num_samples))


def score_samples(
    learner: Learner, state: State, samples: Samples
) -> Float[Array, "layers samples classes"]:
    """Scores of every layer, sample and label, computed one chunk of samples at a time."""
    check_samples("score_samples", samples, learner.num_classes)
    return _score(learner, state, samples.images, samples)


def score_images(
    learner: Learner, state: State, images: Any
) -> Float[Array, "layers images classes"]:
    """Like `score_samples`, of scaled images [images, features].

    Args:
      learner, state, images: as in `predict`.

    Raises:
      TypeError: for images that are not scaled.
      ValueError: for images of another size, or NaN among them.
    """
    return _score(learner, state, _scaled_rows("score_images", images), None)


SCALE_ADVICE = "Call `train.scaled_images(images)` with the training samples."


def _scaled_rows(where: str, images: Any) -> Array:
    """Returns scaled images as rows on the device; raises as `score_images`."""
    x = images if isinstance(images, jax.Array) else to_images(images, where=where)
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise reject_type(where, "images", "be scaled", x.dtype, SCALE_ADVICE)
    if x.ndim != 2:
        raise reject(where, "images", "be scaled rows", f"shape {x.shape}", SCALE_ADVICE)
    if not x.size:
        raise reject(where, "images", "contain at least one image", f"shape {x.shape}")
    if not isinstance(x, np.ndarray | jax.core.Tracer) and not jnp.isfinite(x).all():
        raise reject(where, "images", "be finite", "NaN or infinite values")
    return jnp.asarray(x)


def _check_scale(x: Float[Array, "images features"]) -> None:
    """Raises ValueError for pixels up to 255; their predictions would be nonsense."""
    if isinstance(x, jax.core.Tracer):
        return
    rms = float(jnp.sqrt(jnp.mean(jnp.square(x))))
    if not rms <= LARGEST_RMS:
        got = f"a root mean square of {rms:.3g}"
        raise reject("predict", "images", "be scaled", got, SCALE_ADVICE)


def filled_rows(number: int) -> np.ndarray:
    """Returns the numbers of so many images, and of some again: filled up to a power of two, or to
    whole chunks, programs for a few numbers of images serve all.

    >>> filled_rows(3).tolist(), len(filled_rows(501))
    ([0, 1, 2, 0], 1000)
    """
    if not number:
        return np.arange(0)
    few = number < EVALUATION_CHUNK
    filled = next_power_of_two(number) if few else -(-number // EVALUATION_CHUNK) * EVALUATION_CHUNK
    return np.arange(filled) % number


def _score(
    learner: Learner, state: State, images: Array, samples: Samples | None
) -> Float[Array, "layers samples classes"]:
    chunk = chunk_size(images.shape[0], learner.num_classes)
    score = _score_chunks if is_traced() else _compiled_score_chunks
    return score(learner, chunk, state, images, samples)


def _score_chunks(
    learner: Learner, chunk: int, state: State, images: Array, samples: Samples | None
) -> Float[Array, "layers samples classes"]:
    """Scores of images: scaled ones, or pixels on the scale of `samples`."""
    num_samples = images.shape[0]
    num_chunks = -(-num_samples // chunk)
    # The last chunk is padded with the first samples; their duplicate scores are dropped.
    indices = (jnp.arange(num_chunks * chunk) % num_samples).reshape(num_chunks, chunk)

    def score(i: Array) -> Array:
        x = split_batch(images[i])
        return learner.scores(state, x if samples is None else samples.scaled(x))

    scores = jax.lax.map(score, indices)
    layers, classes = scores.shape[1], scores.shape[-1]
    return jnp.moveaxis(scores, 1, 0).reshape(layers, -1, classes)[:, :num_samples]


# Compiled once for a learner, also where the caller compiles nothing.
_compiled_score_chunks = jax.jit(_score_chunks, static_argnums=(0, 1))


class Accuracy(NamedTuple):
    """Fractions of samples that are classified correctly.

    Attributes:
      network: by all scored layers together.
      layers: by each layer alone.
      cumulated: by the scored layers up to each; an unscored layer counts alone.
    """

    network: Float[Array, ""]
    layers: Float[Array, " layers"]
    cumulated: Float[Array, " layers"]


def evaluate(learner: Learner, state: State, samples: Samples) -> Accuracy:
    """Accuracy over all samples of a split.

    A sample with a score that is not finite counts as wrong.

    Raises:
      TypeError: for anything but `Samples`, a learner and its state.
      ValueError: if learner and samples have different numbers of classes, or labels another shape.

    >>> import optax
    >>> from sffa_jax.core.architectures import dense_layers
    >>> from sffa_jax.training.backprop import backprop_learner
    >>> from sffa_jax.training.samples import make_samples
    >>> import numpy as np
    >>> samples = make_samples(np.zeros((8, 2, 2), np.uint8), np.arange(8) % 2, mean=0.0, std=1.0)
    >>> learner = backprop_learner(dense_layers([4]), 2, optax.adam(1e-3))
    >>> state = learner.init(jax.random.key(0), samples.scaled(samples.images))
    >>> evaluate(learner, state, samples).network  # black images: half are right
    Array(0.5, dtype=float32)
    """
    check_learner("evaluate", learner)
    check_samples("evaluate", samples, learner.num_classes)
    scores = _score(learner, state, samples.images, samples)
    return accuracy_of(learner, scores, samples.labels)


def accuracy_of(
    learner: Learner, scores: Float[Array, "layers samples classes"], labels: Int[Array, " samples"]
) -> Accuracy:
    """Accuracy of the scores of every layer; `evaluate` computes them."""
    accuracy = partial(_accuracy, labels)
    scored = learner.scored
    first, after, _ = scored.indices(len(scores))
    sums = [scores[:first], jnp.cumsum(scores[scored], axis=0), scores[after:]]
    cumulated = jnp.stack([accuracy(s) for s in jnp.concatenate(sums)])
    layers = jnp.stack([accuracy(s) for s in scores])
    return Accuracy(cumulated[after - 1], layers, cumulated)


def _accuracy(labels: Int[Array, " samples"], scores: Float[Array, "samples classes"]) -> Array:
    # argmax treats NaN as the maximum; a diverged network must not predict class 0.
    finite = jnp.all(jnp.isfinite(scores), axis=-1)
    correct = (jnp.argmax(scores, axis=-1) == labels) & finite
    return jnp.mean(correct, dtype=jnp.float32)


def accuracy_of_ranges(
    scores: Float[Array, "layers samples classes"], labels: Int[Array, " samples"]
) -> Float[Array, "first last"]:
    """Accuracy of the sum of the scores from each first to each last layer; 0 if last < first.

    On held-out images it tells which layers should predict.

    >>> scores = jnp.array([[[0.0, 1.0]], [[3.0, 0.0]]])  # two layers, one sample of class 0
    >>> accuracy_of_ranges(scores, jnp.array([0]))
    Array([[0., 1.],
           [0., 1.]], dtype=float32)
    """
    rows = []
    for first in range(len(scores)):
        sums = jnp.cumsum(scores[first:], axis=0)
        of_first = [_accuracy(labels, total) for total in sums]
        rows.append(jnp.stack([jnp.float32(0)] * first + of_first))
    return jnp.stack(rows)


def predict(learner: Learner, state: State, images: Any) -> Int[Array, " samples"]:
    """The label with the highest score for each image, for any learner.

    Args:
      learner: the learner that made the state.
      state: e.g. `FitResult.state`.
      images: `Samples`, or scaled images [samples, features] in an array, a tensor or a list;
        `train.scaled_images(raw)` scales raw images like the training images.

    Raises:
      TypeError: for images that are not scaled, or a learner or a state of another type.
      ValueError: for images of another size or scale, or NaN among them.

    >>> import optax
    >>> from sffa_jax.core.architectures import dense_layers
    >>> from sffa_jax.training.backprop import backprop_learner
    >>> from sffa_jax.training.samples import make_samples
    >>> import numpy as np
    >>> samples = make_samples(np.zeros((8, 2, 2), np.uint8), np.arange(8) % 2, mean=0.0, std=1.0)
    >>> learner = backprop_learner(dense_layers([4]), 2, optax.adam(1e-3))
    >>> state = learner.init(jax.random.key(0), samples.scaled(samples.images))
    >>> predict(learner, state, samples).shape
    (8,)
    """
    check_learner("predict", learner)
    if isinstance(images, Samples):
        scores = score_samples(learner, state, images)
    else:
        x = _scaled_rows("predict", images)
        _check_scale(x)
        scores = _score(learner, state, x, None)
    return jnp.argmax(jnp.sum(scores[learner.scored], axis=0), axis=-1)
