"""Scores and accuracy of any learner over a whole split, a chunk of images at a time."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sffa_jax.training.learner import Learner, State
from sffa_jax.training.samples import Samples
from sffa_jax.training.sharding import split_batch

EVALUATION_CHUNK = 500
"""Images scored at a time: bounds memory, since every image meets every label."""


def score_samples(
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
    scores = score_samples(learner, state, samples)

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
