import collections
from functools import partial
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from sffa_jax.continual.buffer import draw_slots, empty_buffer, insert

CLASSES = 6
LONGEST = 32


PORTIONS = 5


@partial(jax.jit, static_argnums=0)
def show(slots, portions, key):
    """A buffer that was shown samples, numbered from 0, in portions of classes; -1: no sample."""
    priorities = jax.random.uniform(key, (LONGEST,))

    def show_one(buffer, classes):
        return insert(buffer, jnp.arange(LONGEST), classes, priorities, num_classes=CLASSES), None

    return jax.lax.scan(show_one, empty_buffer(slots), portions)[0]


def portions_of(places, edges=()):
    """The samples in portions that end at `edges`; one shape, and one program, for all of them."""
    number = np.arange(LONGEST)
    padded = np.pad(places, (0, LONGEST - len(places)), constant_values=-1)
    ends = [0, *edges, *[LONGEST] * (PORTIONS - len(edges))]
    return np.int32(
        [np.where((number >= start) & (number < end), padded, -1) for start, end in pairwise(ends)]
    )


def fill(slots, places, key, edges=()):
    """Shows the samples in portions that end at `edges`, priorities by number."""
    return show(slots, portions_of(places, edges), key)


@given(
    slots=st.sampled_from([1, 4, 7, 12]),
    places=st.lists(st.integers(-1, CLASSES - 1), min_size=6, max_size=30),
    seed=st.integers(0, 99),
)
def test_it_is_as_balanced_as_the_classes_allow(slots, places, seed):
    buffer = fill(slots, places, jax.random.key(seed))
    held = np.asarray(buffer.class_index)[np.asarray(buffer.filled)]
    images = np.asarray(buffer.image)[np.asarray(buffer.filled)]
    assert len(held) <= slots
    assert len(set(images)) == len(images), "no sample is kept twice"
    assert np.array_equal(np.asarray(places)[images], held)
    assert -1 not in held
    came, kept = collections.Counter(p for p in places if p >= 0), collections.Counter(held)
    quotas = [slots // len(came), slots // len(came) + 1] if came else []
    for place, number in came.items():
        assert kept[place] in {min(number, quota) for quota in quotas}
    assert not np.any(np.diff(np.asarray(buffer.filled).astype(int)) > 0), "filled come first"


@given(
    slots=st.sampled_from([1, 4, 7, 12]),
    places=st.lists(st.integers(0, 2), min_size=8, max_size=24),
    edges=st.lists(st.integers(3, 27), max_size=3),
)
def test_classes_that_are_all_there_may_come_in_any_portions(slots, places, edges):
    """Priorities decide, not arrival: with the quotas as they are, portions are irrelevant."""
    places = [0, 1, 2, *places]
    once = fill(slots, places, jax.random.key(7), [3])
    many = fill(slots, places, jax.random.key(7), [3, *sorted(edges)])
    assert held_images(once) == held_images(many)


def held_images(buffer):
    return set(np.asarray(buffer.image)[np.asarray(buffer.filled)].tolist())


@jax.jit
def times_kept(portions):
    """How often 3000 buffers of 6 slots kept each sample."""

    @jax.vmap
    def kept(key):
        buffer = show(6, portions, key)
        return jnp.zeros(LONGEST).at[buffer.image].add(buffer.filled)

    return kept(jax.random.split(jax.random.key(0), 3000)).sum(axis=0)


@pytest.mark.parametrize("edges", [(), (12,), (5, 15, 20)], ids=str)
def test_every_sample_of_a_class_is_as_likely_to_be_kept(edges):
    """The law of reservoir sampling: early or late, before or after the quota shrank."""
    places = np.array([0] * 12 + [1] * 6 + [2] * 8)
    counts = np.asarray(times_kept(portions_of(places, edges)))[: len(places)]
    for place, expected in ((0, 2 / 12), (1, 2 / 6), (2, 2 / 8)):
        of_class = counts[places == place]
        assert of_class.sum() == 2 * 3000
        # Kept without replacement: the counts vary less than a multinomial's.
        statistic = np.sum((of_class - 3000 * expected) ** 2) / (3000 * expected * (1 - expected))
        degrees = len(of_class) - 1
        assert statistic * degrees / len(of_class) < stats.chi2.ppf(0.9999, degrees)


def test_draws_use_every_slot_before_any_twice():
    buffer = fill(7, [0, 1, 1, 2, 0], jax.random.key(1))
    draw = jax.jit(draw_slots, static_argnums=2)
    slots = np.asarray(draw(jax.random.key(2), buffer, 13))
    assert collections.Counter(slots.tolist()).most_common()[0][1] == 3
    assert sorted(set(slots.tolist())) == [0, 1, 2, 3, 4]
    assert sorted(slots[:5].tolist()) == [0, 1, 2, 3, 4]
