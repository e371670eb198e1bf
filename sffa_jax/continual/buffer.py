"""A memory of samples with a fixed number of slots, shared out evenly over the classes in it.

Every sample that passes by draws a random priority; each class keeps those of its samples with the
highest. What a class keeps is therefore a uniform draw from all of its samples that ever passed by,
as in reservoir sampling, also after it had to make room for new classes.
"""

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float, Int, Key

from sffa_jax.checks import check_integer

EMPTY = -1


class Reservoir(struct.PyTreeNode):
    """Attributes: image: index of the training image in each slot; place: its class, -1 where the
    slot is empty; priority: by which it stays."""

    image: Int[Array, "*runs slots"]
    place: Int[Array, "*runs slots"]
    priority: Float[Array, "*runs slots"]

    @property
    def filled(self) -> Bool[Array, "*runs slots"]:
        """Slots that hold a sample; they come first."""
        return self.place != EMPTY


def empty_reservoir(slots: int) -> Reservoir:
    """A reservoir that holds nothing yet.

    Raises:
      ValueError: for no slot.
    """
    check_integer("empty_reservoir", "slots", slots, 1)
    return Reservoir(
        jnp.zeros(slots, jnp.int32), jnp.full(slots, EMPTY, jnp.int32), jnp.full(slots, -jnp.inf)
    )


def insert(
    reservoir: Reservoir,
    image: Int[Array, " new"],
    place: Int[Array, " new"],
    priority: Float[Array, " new"],
    num_classes: int,
) -> Reservoir:
    """Shows the reservoir new samples; it keeps an equal share of each class.

    With s classes in it, a class may fill slots // s slots, the first slots % s classes one more.
    Samples of a class that stay are ordered by priority.

    Args:
      reservoir: as it is.
      image, place: of each new sample; place -1 is padding.
      priority: random, uniform in [0, 1), drawn once a sample.
      num_classes: upper bound on the places.

    Raises:
      ValueError: for no class.
    """
    check_integer("insert", "num_classes", num_classes, 1)
    slots = reservoir.image.shape[0]
    both = Reservoir(
        jnp.concatenate([reservoir.image, image]),
        jnp.concatenate([reservoir.place, place]),
        jnp.concatenate([reservoir.priority, priority]),
    )
    # By class, the highest priority first; padding last.
    key = jnp.where(both.place == EMPTY, num_classes, both.place)
    order = jnp.lexsort((-both.priority, key))
    key, both = key[order], jax.tree.map(lambda leaf: leaf[order], both)
    counts = jnp.bincount(key, length=num_classes + 1)
    rank = jnp.arange(len(key)) - (jnp.cumsum(counts) - counts)[key]
    present = counts[:num_classes] > 0
    number = jnp.maximum(jnp.sum(present), 1)
    nth = jnp.cumsum(present) - 1
    quota = jnp.where(present, slots // number + (nth < slots % number), 0)
    stays = rank < jnp.append(quota, 0)[key]
    # Those that stay move to the front; there are at most as many as slots.
    front = jnp.argsort(~stays, stable=True)[:slots]
    kept = jax.tree.map(lambda leaf: leaf[front], both)
    blank = empty_reservoir(slots)
    return jax.tree.map(lambda new, old: jnp.where(stays[front], new, old), kept, blank)


def draw_slots(key: Key[Array, ""], reservoir: Reservoir, size: int) -> Int[Array, " size"]:
    """Random filled slots, none twice before each has come once (slot 0 if none is filled).

    Raises:
      ValueError: for a negative size.
    """
    check_integer("draw_slots", "size", size, 0)
    filled = reservoir.filled
    order = jnp.argsort(jnp.where(filled, jax.random.uniform(key, filled.shape), 2.0))
    return order[jnp.arange(size) % jnp.maximum(jnp.sum(filled), 1)]
