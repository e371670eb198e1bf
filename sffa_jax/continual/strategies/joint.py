"""Joint training: replay of every image seen so far, usually an upper bound."""

import jax
import jax.numpy as jnp
from jaxtyping import Array

from sffa_jax.continual.problem import Batch, Problem, join_batches
from sffa_jax.continual.strategy import State, Strategy


def joint() -> Strategy:
    """Adds to each batch as many samples of all earlier tasks, weighted so that every sample seen
    so far counts the same: replay with an unlimited buffer."""

    def add_earlier_samples(problem: Problem, state: State, key: Array, batch: Batch) -> Batch:
        del state
        counts = problem.stream.num_train
        earlier = jnp.arange(len(counts)) < batch.task
        edges = jnp.cumsum(jnp.where(earlier, counts, 0))
        total = edges[-1]
        u = jax.random.uniform(key, (len(batch.class_index),))
        position = jnp.minimum((u * total).astype(jnp.int32), jnp.maximum(total - 1, 0))
        task = jnp.searchsorted(edges, position, side="right")
        task = jnp.minimum(task, len(counts) - 1)
        in_task = position - (edges - counts * earlier)[task]
        old = problem.batch(problem.stream.train[task, in_task], batch.task)
        weight = total / counts[batch.task]
        return join_batches(batch, old.replace(weights=weight * old.weights))

    return Strategy(batch=add_earlier_samples, keeps_all_images=True)
