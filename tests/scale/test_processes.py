"""Several processes: what one knows all know, and none is left waiting."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from commands import end, open_together

from sffa_jax.scale import processes

PROGRAM = """
import json, sys, tempfile
import jax, jax.numpy as jnp, numpy as np
from pathlib import Path
from sffa_jax.scale import processes, mesh, sweep
from sffa_jax.scale.checkpoints import Checkpoints
from sffa_jax.scale.resumable import run_resumable
processes.connect(sys.argv[1], 2, int(sys.argv[2]))
me = jax.process_index()
agreed = processes.broadcast_from_main(lambda: {"from": me, "text": "ä" * 300})
found = {"leads": processes.is_main_process(), "agreed": agreed}
order = []
def slowly():
    order.append("made")
    return me
found["first"] = processes.main_process_first(slowly)
found["made"] = len(order)
found["highest"] = processes.all_reduce_max(-5 + me, 10**12 - me, 7)
def fail():
    raise FileNotFoundError("no such disk")
try:
    processes.broadcast_from_main(fail)
except (ValueError, OSError) as error:
    found["failed"] = [type(error).__name__, str(error)]
found["budget"] = sweep.memory_budget()
whole = (np.arange(8.0).reshape(4, 2), sweep.seed_keys(range(4)))
placed = mesh.device_put_global(whole, mesh.split_over_runs(mesh.make_mesh(4)))
found["here"] = placed[0].addressable_shards[0].data.tolist()
keys = processes.to_host(placed[1])
fetched = processes.to_host((placed[0], jax.random.key_data(placed[1]), keys))
found["whole"] = [np.array_equal(fetched[0], whole[0])]
found["whole"].append(np.array_equal(fetched[1], jax.random.key_data(whole[1])))
found["whole"].append(bool(jnp.all(fetched[2] == whole[1])))
def draw(key, x):
    return jax.random.uniform(key) + x
found["sweep"] = sweep.sweep(draw, whole[1], jnp.arange(4.0)).tolist()
# Checkpoints: each process writes its parts, and reads them.
folder = Path(sys.argv[3])
checkpoints = Checkpoints(folder)
tree = {"runs": placed[0], "keys": placed[1], "host": np.arange(3), "one": jnp.float32(2.5)}
def add(i, carry):
    return carry | {"runs": carry["runs"] + 1}
def begin():
    return tree
def stop(i, carry):
    if i == 2:
        raise KeyboardInterrupt
    return add(i, carry)
try:
    run_resumable(begin, stop, 4, checkpoints, info={"run": 1}, every_seconds=0, like=tree)
except KeyboardInterrupt:
    pass
found["steps"] = checkpoints.steps()
found["info"] = checkpoints.info()
def never():
    raise AssertionError("begun anew")
done = run_resumable(never, add, 4, checkpoints, info={"run": 1}, like=tree)
done["keys"] = jax.random.key_data(done["keys"])
found["done"] = {name: value.tolist() for name, value in processes.to_host(done).items()}
checkpoints.clear()
found["cleared"] = not folder.exists()
print("FOUND" + json.dumps(found))
"""


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two") / "checkpoints"
    ended = end(
        open_together(lambda address, process: ["-c", PROGRAM, address, str(process), str(folder)])
    )
    assert [status for status, *_ in ended] == [0, 0], ended
    return [json.loads(said.partition("FOUND")[2]) for _, said, _ in ended]


def test_process_0_says_and_all_hear(two):
    assert [found["leads"] for found in two] == [True, False]
    for found in two:
        assert found["agreed"] == {"from": 0, "text": "ä" * 300}
        assert found["highest"] == [-4, 10**12, 7]
    assert two[0]["budget"] == two[1]["budget"] > 0


def test_each_makes_its_own_the_first_before_the_others(two):
    assert [found["first"] for found in two] == [0, 1]
    assert [found["made"] for found in two] == [1, 1]


def test_a_failure_of_process_0_ends_the_others(two):
    assert two[0]["failed"] == ["FileNotFoundError", "no such disk"]
    assert two[1]["failed"] == ["ValueError", "no such disk"]


def test_arrays_span_the_processes(two):
    assert two[0]["here"] == [[0, 1], [2, 3]]
    assert two[1]["here"] == [[4, 5], [6, 7]]
    keys = [jax.random.key(seed) for seed in range(4)]
    expected = [float(jax.random.uniform(key)) + i for i, key in enumerate(keys)]
    for found in two:
        assert found["whole"] == [True, True, True]
        np.testing.assert_allclose(found["sweep"], expected, rtol=1e-6)


def test_checkpoints_are_written_and_read_by_all(two):
    for found in two:
        assert found["steps"] == [1, 2]
        assert found["info"] == {"run": 1}
        assert found["done"]["runs"] == (np.arange(8.0).reshape(4, 2) + 4).tolist()
        assert found["done"]["host"] == [0, 1, 2]
        assert found["done"]["one"] == 2.5
        assert found["cleared"]
    assert two[0]["done"] == two[1]["done"]


def test_alone_nothing_is_asked():
    assert processes.is_main_process()
    assert processes.broadcast_from_main(lambda: (1, None)) == (1, None)
    assert processes.main_process_first(lambda: 3) == 3
    assert processes.all_reduce_max(2, -1) == (2, -1)
    fetched = processes.to_host({"a": jnp.arange(3), "key": jax.random.key(1)})
    assert isinstance(fetched["a"], np.ndarray)
    assert fetched["key"] == jax.random.key(1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((None, 2), "`num_processes` must come with a coordinator, got 2"),
        ((None, None, 1), "`process_id` must come with a coordinator, got 1"),
        (("host",), "`coordinator` must be HOST:PORT or auto, got 'host'"),
        ((":1", 1, 0), "`coordinator` must be HOST:PORT or auto, got ':1'"),
        (("host:1",), "`num_processes` must be given with a coordinator's address, got None"),
        (("host:1", 2), "`process_id` must be given with a coordinator's address, got None"),
        (("host:1", 0, 0), "`num_processes` must be at least 1, got 0"),
        (("host:1", 2, -1), "`process_id` must be at least 0, got -1"),
        (("host:1", 2, 2), "`process_id` must be below 2 processes, got 2"),
        (("auto",), "`coordinator` must be HOST:PORT outside a cluster"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        processes.connect(*arguments)
