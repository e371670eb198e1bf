"""Where the runs of a function lie, and that each result is the result of the run alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sffa_jax.scale.placement import MODES, Placement, available, num_runs, take_runs
from sffa_jax.scale.sweep import seed_keys

RUNS = (jnp.arange(5.0), seed_keys(range(5)))


def draw(run, scale):
    value, key = run
    return {"noise": scale * jax.random.normal(key, (3,)), "doubled": value * 2}


@pytest.mark.parametrize("mode", MODES)
def test_each_run_is_the_run_alone(mode):
    placement = Placement(mode)
    results = jax.jit(placement.lift(draw))(
        placement.place_runs(RUNS), placement.place_shared(jnp.float32(2), 5)
    )
    for i in range(5):
        alone = draw((RUNS[0][i], RUNS[1][i]), 2)
        np.testing.assert_array_equal(results["noise"][i], alone["noise"])
        np.testing.assert_array_equal(results["doubled"][i], alone["doubled"])


def test_runs_are_divided_evenly_over_devices():
    """Ten runs need two rounds on eight devices, and on five as well."""
    placement = Placement("devices")
    (placed,) = placement.place_runs((jnp.arange(10.0),))
    assert [shard.data.tolist() for shard in placed.addressable_shards] == [
        [2.0 * i, 2.0 * i + 1] for i in range(5)
    ]
    assert placement.padded(10) == 10
    (few,) = placement.place_runs((jnp.arange(3.0),))
    assert len(few.sharding.device_set) == 3


def test_the_last_run_is_repeated_until_every_device_has_the_same_number():
    """Eleven runs take two rounds on six devices: one run more."""
    placement = Placement("devices")
    (placed,) = placement.place_runs((jnp.arange(11.0),))
    assert placed.tolist() == [*range(11), 10]
    assert len(placed.sharding.device_set) == 6
    assert placement.padded(11) == 12


def test_several_devices_hold_each_run():
    placement = Placement("devices", devices_per_run=4)
    (placed,) = placement.place_runs((jnp.arange(2.0),))
    held = {shard.device.id: shard.data.tolist() for shard in placed.addressable_shards}
    assert held == {i: [float(i // 4)] for i in range(8)}


@pytest.mark.parametrize("mode", ["vmap", "map"])
def test_one_device_needs_no_placing(mode):
    placement = Placement(mode)
    assert placement.place_runs(RUNS) is RUNS
    assert placement.place_shared(RUNS, 5) is RUNS
    assert placement.padded(5) == 5


@pytest.mark.parametrize(
    "placement", [Placement("map"), Placement("devices"), Placement("devices", 4)], ids=str
)
def test_shapes_are_those_of_placed_arrays(placement):
    shared = {"x": jnp.zeros((2, 3)), "n": jnp.int32(1)}
    for shapes, placed in (
        (placement.run_shapes(RUNS, 3), placement.place_runs(take_runs(RUNS, 0, 3))),
        (placement.shared_shapes(shared, 3), placement.place_shared(shared, 3)),
    ):
        for shape, leaf in zip(jax.tree.leaves(shapes), jax.tree.leaves(placed), strict=True):
            assert (shape.shape, shape.dtype) == (leaf.shape, leaf.dtype)
            assert shape.sharding in (None, leaf.sharding)
            assert (shape.sharding is None) == (placement.mode != "devices")


def test_past_the_end_the_last_run_is_repeated():
    assert num_runs(RUNS) == 5
    assert take_runs(RUNS, 3, 4)[0].tolist() == [3, 4, 4, 4]


def test_the_available_placements_differ(monkeypatch):
    assert {placement.mode for placement in available()} == set(MODES)
    monkeypatch.setattr(jax, "device_count", lambda: 1)
    assert [placement.mode for placement in available()] == ["map", "vmap"]
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    assert available() == (Placement("devices"),)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Placement("map", 2), r"`mode` must be devices for 2 devices per run, got 'map'"),
        (lambda: Placement("devices", 0), r"`devices_per_run` must be at least 1, got 0"),
        (lambda: Placement("map").place_shared(RUNS, 0), r"`number` must be at least 1, got 0"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()
