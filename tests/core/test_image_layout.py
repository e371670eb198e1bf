"""Maps and rows: how units lie in maps, functions of units on both, and pooling."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from sffa_jax.core import class_units, goodness, rules
from sffa_jax.core.image_layout import POOLS, Grid, flatten_maps, over_units, unflatten_maps
from sffa_jax.core.rules import sffa

RNG = np.random.default_rng(1)


def normal(*shape):
    return jnp.asarray(RNG.normal(size=shape), jnp.float32)


def test_the_first_half_of_a_row_of_maps_is_the_first_half_of_the_maps():
    maps = normal(2, 3, 4, 6)
    row, of_half, back = jax.jit(
        lambda maps: (
            flatten_maps(maps),
            flatten_maps(maps[..., :3]),
            unflatten_maps(flatten_maps(maps), maps.shape),
        )
    )(maps)
    np.testing.assert_array_equal(np.asarray(row)[:, : row.shape[1] // 2], of_half)
    np.testing.assert_array_equal(back, maps)
    images = normal(3, 6 * 5 * 2)
    np.testing.assert_array_equal(
        Grid(6, 5, 2).read(images, 1), np.asarray(images).reshape(3, 6, 5, 2)
    )
    assert Grid(3, 4, 6).read(maps, 1) is maps


def test_functions_of_units_take_maps_as_they_are_or_as_rows():
    maps = jnp.asarray(RNG.uniform(size=(2, 1, 3, 4, 6)), jnp.float32)

    def first_half(h):
        return h[..., : h.shape[-1] // 2].sum(axis=-1)

    def logits_of(function):
        return over_units(function, maps, 3), function(flatten_maps(maps))

    def activities_of(function):
        return flatten_maps(over_units(function, maps, 3)), function(flatten_maps(maps))

    def units_of(make):
        units = make(3, True)
        params = units.init(jax.random.key(1), (72,))
        by_class = over_units(partial(units.select, params), maps, 3)
        if by_class.ndim > 3:
            by_class = flatten_maps(by_class)
        return jnp.sort(by_class), jnp.sort(units.select(params, flatten_maps(maps)))

    logits = (
        partial(goodness.polar_ratio, logit_scale=2.0),
        partial(goodness.polar_ratio, measure=lambda h: jnp.max(h, axis=-1)),
        partial(goodness.energy, threshold=0.5),
        sffa(clip=0.1).logit,
    )

    scaled = (rules.unit_length, rules.unit_length_halves, rules.euclidean_halves)

    @jax.jit
    def pairs():
        results = [*map(logits_of, logits)]
        results += map(activities_of, scaled)
        results += map(units_of, (class_units.groups(), class_units.learned()))
        return over_units(first_half, maps, 3), results

    found, as_maps_and_rows = pairs()
    np.testing.assert_allclose(found, np.asarray(maps)[..., :3].sum(axis=(2, 3, 4)), rtol=1e-6)
    assert len(as_maps_and_rows) == 9
    for as_maps, as_rows in as_maps_and_rows:
        np.testing.assert_allclose(as_maps, as_rows, rtol=1e-5)


def test_the_gradient_of_the_maximum_of_a_block_goes_to_one_of_its_numbers():
    maps = np.arange(16, dtype=np.float32).reshape(1, 4, 4, 1)
    maps[0, 0, 0, 0] = 5  # a tie
    gradient = np.asarray(jax.jit(jax.grad(lambda x: POOLS["max"](x).sum()))(maps))[0, :, :, 0]
    assert gradient.sum() == 4
    np.testing.assert_array_equal(np.sort(np.unique(gradient)), [0, 1])
