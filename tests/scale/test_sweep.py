import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from commands import host_devices, run_program

from sffa_jax.scale import sweep

ON_DEVICES = """
import json
import jax, jax.numpy as jnp
from sffa_jax.scale import sweep

def run(key, rate):
    return {"noise": jax.random.normal(key, (3,)), "scaled": rate * 2}

keys, rates = sweep.seed_keys(range(5)), jnp.arange(5.0)
found = {}
for way in ("map", "devices", "vmap", "auto"):
    whole = sweep.sweep(run, keys, rates, parallel=way)
    chunked = sweep.sweep(run, keys, rates, parallel=way, budget=1)
    found[way] = [[r["noise"].tolist(), r["scaled"].tolist()] for r in (whole, chunked)]
swept = (keys, rates)
placed = sweep.place(swept, "devices")
found["spread over"] = len(placed[1].sharding.device_set)
found["padded"] = placed[1].tolist()
few = sweep.place((keys[:3], rates[:3]), "devices")
found["few over"] = len(few[1].sharding.device_set)
program, size = sweep.fit_memory(lambda one: one[1] + 1, "devices", swept, donate=True)
found["donated"] = [size, program(placed).tolist(), placed[1].is_deleted()]
print("FOUND" + json.dumps(found))
"""


def run(key, rate):
    return {"noise": jax.random.normal(key, (3,)), "scaled": rate * 2}


@pytest.fixture(scope="module")
def on_devices():
    """What a process with four host devices finds."""
    return json.loads(run_program(ON_DEVICES, **host_devices(4)).partition("FOUND")[2])


@pytest.mark.parametrize("parallel", ["vmap", "map", "devices", "auto"])
def test_each_run_is_the_run_alone(parallel):
    keys = sweep.seed_keys([3, 1, 4])
    rates = jnp.array([0.1, 0.2, 0.3])
    together = sweep.sweep(run, keys, rates, parallel=parallel)
    for i, seed in enumerate([3, 1, 4]):
        alone = run(jax.random.key(seed), rates[i])
        np.testing.assert_array_equal(together["noise"][i], alone["noise"])
        np.testing.assert_allclose(together["scaled"][i], alone["scaled"])


@pytest.mark.parametrize("way", ["devices", "vmap", "auto"])
def test_ways_and_chunks_agree_on_several_devices(on_devices, way):
    expected, _ = on_devices["map"]
    assert on_devices[way] == [expected, expected]
    assert on_devices["map"][1] == expected


def test_runs_are_shared_out_evenly(on_devices):
    # Five runs take two rounds on four devices and on three alike: three do, one run is repeated.
    assert on_devices["spread over"] == 3
    assert on_devices["padded"] == [0, 1, 2, 3, 4, 4]
    assert on_devices["few over"] == 3


def test_donated_runs_are_written_over(on_devices):
    assert on_devices["donated"] == [5, [1, 2, 3, 4, 5, 5], True]


def test_fastest_prefers_what_it_measured():
    """A batched search costs the slowest row each step; a loop over rows stops early."""

    def countdown(n):
        return jax.lax.while_loop(lambda i: i > 0, lambda i: i - 1, n)

    choice = sweep.fastest(countdown, jnp.array([200_000, 0]), at_least=0)
    assert choice.seconds.keys() == set(sweep.available())
    assert choice.seconds[choice.way] == min(choice.seconds.values())


def test_shared_arrays_are_not_swept():
    add = sweep.spread(lambda one, shared: one + shared.sum(), "map")
    np.testing.assert_array_equal(add(jnp.arange(3.0), jnp.ones(4)), [4, 5, 6])


def outer(key, _):
    x = jax.random.normal(key, (300,))
    return jnp.linalg.norm(jnp.outer(x, x) @ jnp.outer(x, x))


def test_a_sweep_is_chunked_to_its_budget():
    """Scratch memory grows with the runs that go at once under vmap."""
    keys = sweep.seed_keys(range(6))
    needs = {}
    for size in (1, 3, 6):
        program, fitted = sweep.fit_memory(
            lambda one: outer(*one), "vmap", (keys[:size], None), budget=2**40
        )
        assert fitted == size
        needs[size] = sweep.memory_need(program)
    assert needs[1] < needs[3] < needs[6]
    _, size = sweep.fit_memory(lambda one: outer(*one), "vmap", (keys, None), budget=needs[3])
    assert size == 3
    whole = sweep.sweep(outer, keys, parallel="vmap")
    parts = sweep.sweep(outer, keys, parallel="vmap", budget=needs[3])
    np.testing.assert_allclose(parts, whole, rtol=1e-5)
    assert isinstance(parts, np.ndarray)


def test_the_budget_is_what_the_machine_has():
    assert 2**20 < sweep.memory_budget() < 2**50


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda k: sweep.sweep(run, k, parallel="pmap"), r"`parallel` must be one of auto, devic"),
        (lambda k: sweep.sweep(run, k[:0]), r"`keys` must be a vector of at least one key"),
        (lambda k: sweep.sweep(run, k, jnp.ones(3)), r"one entry for each of the 2 keys.*\(3,\)"),
        (lambda k: sweep.sweep(run, k, jnp.ones(2), parallel="map", budget=0), r"`budget` must be"),
        (lambda k: sweep.place(k, "grid"), r"`way` must be one of devices, map, vmap, got 'grid'"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call(sweep.seed_keys([0, 1]))
