"""Devices as a mesh: what goes where, and that a batch that is shared out gives the same means."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from commands import run_program

from sffa_jax.scale import mesh

DEVICES = """
    import json
    import jax, jax.numpy as jnp, numpy as np, optax
    jax.config.update("jax_num_cpu_devices", 8)
    from sffa_jax.core import overlays, rules
    from sffa_jax.scale import sweep
    from sffa_jax.training import train
    from sffa_jax.core.architectures import dense_layers
    from sffa_jax.training.local import local_learner
    from sffa_jax.scale.mesh import make_mesh
    from sffa_jax.core.network import Network

    shapes = {
        f"{runs} {per_run}": [*make_mesh(runs, per_run).shape.values()]
        for runs, per_run in [(1, 1), (3, 1), (10, 1), (1, 4), (3, 4), (2, 8)]
    }
    random = np.random.default_rng(0)
    samples = train.make_samples(
        random.integers(0, 256, (96, 5, 5)).astype(np.uint8),
        random.integers(0, 3, 96), num_classes=3, mean=0.5, std=0.3,
    )
    network = Network(
        dense_layers((8, 6)),
        rules.sffa(logit_scale=3.0, eps=0.1, activity_rate=2.0),
        lambda key: overlays.appended_gaussian(key, 3, size=4),
        3,
    )
    learner = local_learner(network, optax.adam(1e-2), negatives="hard")
    schedule = train.Schedule(2, 16)

    def run(key, samples):
        result = train.fit(learner, schedule, key, samples, samples)
        return result.history.loss, train.evaluate(learner, result.progress.state, samples).layers

    keys = sweep.seed_keys([0, 1])
    found = {}
    for name, way, per_run in [("one", "map", 1), ("seeds", "devices", 1), ("both", "devices", 4)]:
        lifted = jax.jit(sweep.spread(run, way, per_run))
        arguments = (sweep.place(keys, way, per_run), sweep.share(samples, way, 2, per_run))
        text = lifted.lower(*arguments).compile().as_text()
        loss, right = lifted(*arguments)
        sums = text.count("all-reduce(") + text.count("all-reduce-start(")
        found[name] = [np.asarray(loss).tolist(), np.asarray(right).tolist(), sums]
    print("FOUND" + json.dumps([shapes, found]))
"""


@pytest.fixture(scope="module")
def on_eight_devices():
    return json.loads(run_program(DEVICES).partition("FOUND")[2])


def test_runs_keep_as_few_devices_busy_as_are_no_slower(on_eight_devices):
    shapes, _ = on_eight_devices
    assert shapes == {
        **{"1 1": [1, 1], "3 1": [3, 1], "10 1": [5, 1]},
        **{"1 4": [1, 4], "3 4": [2, 4], "2 8": [1, 8]},
    }


def test_seeds_on_devices_of_their_own_are_the_same_bit_for_bit(on_eight_devices):
    _, found = on_eight_devices
    assert found["seeds"][:2] == found["one"][:2]
    assert found["one"][2] == found["seeds"][2] == 0


def test_a_shared_batch_gives_the_same_means(on_eight_devices):
    """The sums have another order: equal to rounding, with sums over devices in the program."""
    _, found = on_eight_devices
    np.testing.assert_allclose(found["both"][0], found["one"][0], rtol=1e-4)
    np.testing.assert_allclose(found["both"][1], found["one"][1], atol=0.02)
    assert found["both"][2] > 0


def test_a_batch_stays_whole_outside_of_a_mesh():
    batch = {"x": jnp.ones((4, 2)), "now": jnp.int32(3)}
    assert mesh.split_batch(batch) is batch


def test_put_gives_every_device_its_part():
    whole = (np.arange(6.0).reshape(1, 6), jax.random.key(1)[None])
    placed = mesh.put(whole, mesh.over_runs(mesh.make_mesh(1)))
    np.testing.assert_array_equal(placed[0], whole[0])
    assert placed[1] == whole[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((0,), "`runs`.*got 0"), ((1, 3), "`devices_per_run` must divide the .* got 3")],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        mesh.make_mesh(*arguments)
