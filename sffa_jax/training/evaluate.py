"""Scores, predictions and accuracy of any learner, computed one chunk of images at a time."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from sffa_jax.checks import reject
from sffa_jax.training.learner import Learner, State
from sffa_jax.training.samples import Samples
from sffa_jax.training.sharding import split_batch

EVALUATION_CHUNK = 500
"""Images scored at a time; limits memory, because every image is scored with every label."""


def check_num_classes(where: str, learner: Learner, samples: Samples) -> None:
    """Raises ValueError unless learner and samples have the same number of classes."""
    if samples.num_classes != learner.num_classes:
        raise reject(
            where,
            "samples",
            f"have the learner's {learner.num_classes} classes",
            samples.num_classes,
            "Build the network and the samples for the same number of classes.",
        )


def score_samples(
    learner: Learner, state: State, samples: Samples
) -> Float[Array, "layers samples classes"]:
    """Scores of every layer, sample and label, computed one chunk of samples at a time."""
    return _score_chunks(learner, state, samples.images, samples)


def _score_chunks(
    learner: Learner, state: State, images: Array, samples: Samples | None
) -> Float[Array, "layers samples classes"]:
    """Scores of images: scaled ones, or pixels on the scale of `samples`."""
    num_samples = images.shape[0]
    chunk = min(EVALUATION_CHUNK, num_samples)
    num_chunks = -(-num_samples // chunk)
    # The last chunk is padded with the first samples; their duplicate scores are dropped.
    indices = (jnp.arange(num_chunks * chunk) % num_samples).reshape(num_chunks, chunk)

    def score(i: Array) -> Array:
        x = split_batch(images[i])
        return learner.scores(state, x if samples is None else samples.scaled(x))

    scores = jax.lax.map(score, indices)
    layers, classes = scores.shape[1], scores.shape[-1]
    return jnp.moveaxis(scores, 1, 0).reshape(layers, -1, classes)[:, :num_samples]


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
      ValueError: if learner and samples have different numbers of classes.

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
    check_num_classes("evaluate", learner, samples)
    scores = score_samples(learner, state, samples)

    def accuracy(scores: Array) -> Array:
        # argmax treats NaN as the maximum; a diverged network must not predict class 0.
        finite = jnp.all(jnp.isfinite(scores), axis=-1)
        correct = (jnp.argmax(scores, axis=-1) == samples.labels) & finite
        return jnp.mean(correct, dtype=jnp.float32)

    first = learner.first_scored
    sums = jnp.concatenate([scores[:first], jnp.cumsum(scores[first:], axis=0)])
    cumulated = jnp.stack([accuracy(s) for s in sums])
    layers = jnp.stack([accuracy(s) for s in scores])
    return Accuracy(cumulated[-1], layers, cumulated)


def predict(learner: Learner, state: State, images: Samples | Array) -> Int[Array, " samples"]:
    """The label with the highest score for each image, for any learner.

    Args:
      learner: the learner that made the state.
      state: e.g. `FitResult.state`.
      images: `Samples`, or scaled images [samples, features]; `train.scaled_images(raw)` scales raw
        pixels like the training images.

    Raises:
      TypeError: for images that are not scaled.

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
    if isinstance(images, Samples):
        scores = score_samples(learner, state, images)
    elif not jnp.issubdtype(images.dtype, jnp.floating):
        raise TypeError(
            f"predict: `images` must be scaled, got {images.dtype}. "
            "Call `train.scaled_images(images)` with the training samples."
        )
    else:
        scores = _score_chunks(learner, state, jnp.asarray(images), None)
    return jnp.argmax(jnp.sum(scores[learner.first_scored :], axis=0), axis=-1)
