"""Joint training: the upper bound, which keeps every sample."""

import jax
import jax.numpy as jnp
from jaxtyping import Array

from sffa_jax.continual.strategy import Batch, Memory, Problem, Strategy, join_batches


def joint(problem: Problem) -> Strategy:
    """Adds to each batch as many samples of all earlier tasks, weighted so that every sample seen
    so far counts the same: replay with a memory that holds everything."""
    counts = problem.stream.num_train

    def mix(memory: Memory, key: Array, batch: Batch) -> Batch:
        del memory
        earlier = jnp.arange(len(counts)) < batch.now
        edges = jnp.cumsum(jnp.where(earlier, counts, 0))
        total = edges[-1]
        size = len(batch.places)
        u = jax.random.uniform(key, (size,))
        place = jnp.minimum((u * total).astype(jnp.int32), jnp.maximum(total - 1, 0))
        task = jnp.searchsorted(edges, place, side="right")
        task = jnp.minimum(task, len(counts) - 1)
        old = problem.batch(
            problem.stream.train[task, place - (edges - counts * earlier)[task]], batch.now
        )
        weight = total / counts[batch.now]
        return join_batches(batch, old.replace(weights=weight * old.weights))

    return Strategy(batch=mix)
