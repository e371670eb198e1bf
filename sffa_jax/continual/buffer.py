"""A buffer of training samples with a fixed number of slots, balanced over classes or tasks.

Every inserted sample gets a random priority; each class keeps its samples of highest priority. The
samples of a class in the buffer are therefore a uniform draw from all its inserted samples, as in
reservoir sampling, also after the quota of the class has decreased. Tasks can take the place of
classes.
"""

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float, Int, Key

from sffa_jax.checks import check_choice, check_integer
from sffa_jax.continual.problem import Batch, Problem

EMPTY = -1

BALANCES = ("class", "task")


class Buffer(struct.PyTreeNode):
    """A buffer of references to training samples. Filled slots come first.

    Attributes:
      image: index of the training image in each slot.
      class_index: its class, as the position in the order of arrival, or its task in a buffer that
        is balanced over tasks; -1 for an empty slot.
      priority: samples of highest priority stay.
    """

    image: Int[Array, "*runs slots"]
    class_index: Int[Array, "*runs slots"]
    priority: Float[Array, "*runs slots"]

    @property
    def filled(self) -> Bool[Array, "*runs slots"]:
        """Slots that contain a sample."""
        return self.class_index != EMPTY


def empty_buffer(slots: int) -> Buffer:
    """Returns an empty buffer.

    Raises:
      ValueError: for no slot.
    """
    check_integer("empty_buffer", "slots", slots, 1)
    return Buffer(
        jnp.zeros(slots, jnp.int32),
        jnp.full(slots, EMPTY, jnp.int32),
        jnp.full(slots, -jnp.inf, float),
    )


def insert(
    buffer: Buffer,
    image: Int[Array, " new"],
    class_index: Int[Array, " new"],
    priority: Float[Array, " new"],
    num_classes: int,
) -> Buffer:
    """Inserts samples and returns the buffer, balanced over its classes.

    With s classes in it, a class may fill slots // s slots, the first slots % s classes one more.
    Slots that a small class cannot fill stay empty, and with more classes than slots the last ones
    have none. A class's samples are ordered by priority.

    Args:
      buffer: the buffer so far.
      image: index of each new sample.
      class_index: class of each new sample; -1 is padding.
      priority: random, uniform in [0, 1), drawn once per sample.
      num_classes: upper bound on the class indices.

    Raises:
      ValueError: for no class.

    >>> four = jnp.arange(4)
    >>> full = insert(empty_buffer(2), four, jnp.array([0, 0, 1, 1]), four / 4, num_classes=2)
    >>> full.image.tolist()
    [1, 3]
    """
    check_integer("insert", "num_classes", num_classes, 1)
    slots = buffer.image.shape[0]
    both = Buffer(
        jnp.concatenate([buffer.image, image]),
        jnp.concatenate([buffer.class_index, class_index]),
        jnp.concatenate([buffer.priority, priority]),
    )
    # Sort by class, the highest priority first; padding comes last.
    key = jnp.where(both.filled, both.class_index, num_classes)
    order = jnp.lexsort((-both.priority, key))
    key, both = key[order], jax.tree.map(lambda leaf: leaf[order], both)
    counts = jnp.bincount(key, length=num_classes + 1)
    rank = jnp.arange(len(key)) - (jnp.cumsum(counts) - counts)[key]
    present = counts[:num_classes] > 0
    number = jnp.maximum(jnp.sum(present), 1)
    nth = jnp.cumsum(present) - 1
    quota = jnp.where(present, slots // number + (nth < slots % number), 0)
    stays = rank < jnp.append(quota, 0)[key]
    # Samples that stay move to the front; there are at most as many as slots.
    front = jnp.argsort(~stays, stable=True)[:slots]
    kept = jax.tree.map(lambda leaf: leaf[front], both)
    blank = empty_buffer(slots)
    return jax.tree.map(lambda new, old: jnp.where(stays[front], new, old), kept, blank)


def insert_task(
    problem: Problem, buffer: Buffer, key: Key[Array, ""], task: Array, balance: str = "class"
) -> Buffer:
    """Inserts all samples of a task; `balance` is one of `BALANCES`, the same at each call.

    Raises:
      ValueError: for an unknown balance.
    """
    check_choice("insert_task", "balance", balance, BALANCES)
    indices = problem.stream.train[task]
    padding = jnp.arange(indices.shape[0]) >= problem.stream.num_train[task]
    groups = problem.stream.train_class_index[indices] if balance == "class" else task
    return insert(
        buffer,
        indices,
        jnp.where(padding, EMPTY, groups),
        jax.random.uniform(key, indices.shape),
        problem.scenario.num_classes,
    )


def draw_slots(key: Key[Array, ""], buffer: Buffer, size: int) -> Int[Array, " size"]:
    """Draws random filled slots, each once before any repetition (slot 0 if none is filled).

    Raises:
      ValueError: for a negative size.
    """
    check_integer("draw_slots", "size", size, 0)
    filled = buffer.filled
    order = jnp.argsort(jnp.where(filled, jax.random.uniform(key, filled.shape), 2.0))
    return order[jnp.arange(size) % jnp.maximum(jnp.sum(filled), 1)]


def draw_batch(
    problem: Problem, buffer: Buffer, key: Key[Array, ""], size: int, task: Array
) -> Batch:
    """Random samples of the buffer as a batch; their weight is 0 while the buffer is empty.

    Raises:
      ValueError: for a negative size.
    """
    slots = draw_slots(key, buffer, size)
    batch = problem.batch(buffer.image[slots], task)
    return batch.replace(weights=batch.weights * buffer.filled[slots])
