"""Devices as a mesh: where arrays lie, and that a split batch gives the same means."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from unchecked import no_shape_checks

from sffa_jax.core import overlays, rules
from sffa_jax.core.architectures import dense_layers
from sffa_jax.core.network import Network
from sffa_jax.scale import mesh
from sffa_jax.scale.placement import Placement
from sffa_jax.scale.sweep import seed_keys
from sffa_jax.training.evaluate import evaluate
from sffa_jax.training.fit import Schedule, keep_best, start, train_epoch
from sffa_jax.training.local import local_learner
from sffa_jax.training.samples import make_samples
from sffa_jax.training.sharding import split_batch


@pytest.mark.parametrize(
    ("runs", "devices_per_run", "shape"),
    [
        *[(1, 1, (1, 1)), (3, 1, (3, 1)), (10, 1, (5, 1))],
        *[(1, 4, (1, 4)), (3, 4, (2, 4)), (2, 8, (1, 8))],
    ],
)
def test_a_mesh_keeps_as_few_devices_busy_as_are_no_slower(runs, devices_per_run, shape):
    assert jax.device_count() == 8
    assert tuple(mesh.make_mesh(runs, devices_per_run).shape.values()) == shape


PLACEMENTS = {
    "map": Placement("map"),
    "devices": Placement("devices"),
    "split": Placement("devices", devices_per_run=4),
}


@pytest.fixture(scope="module")
def fits():
    """Losses, layer accuracies and the number of sums over devices, by placement."""
    random = np.random.default_rng(0)
    samples = make_samples(
        random.integers(0, 256, (96, 5, 5)).astype(np.uint8),
        random.integers(0, 3, 96),
        num_classes=3,
        mean=0.5,
        std=0.3,
    )
    network = Network(
        dense_layers((8,)),
        rules.sffa(logit_scale=3.0, eps=0.1, activity_rate=2.0),
        overlays.appended_gaussian(size=4),
        3,
    )
    learner = local_learner(network, optax.adam(1e-2), negatives="hard")
    schedule = Schedule(2, 16)

    def run(key, samples):
        def epoch(progress, _):
            progress, loss = train_epoch(learner, schedule, progress, samples)
            accuracy = evaluate(learner, progress.state, samples)
            return keep_best(progress, accuracy.network), (loss, accuracy.layers)

        _, (losses, layers) = jax.lax.scan(epoch, start(learner, key, samples), length=2)
        return losses, layers

    keys, results = seed_keys([0, 1]), {}
    with no_shape_checks():
        for name, placement in PLACEMENTS.items():
            arguments = placement.place_runs(keys), placement.place_shared(samples, 2)
            program = jax.jit(placement.lift(run)).lower(*arguments).compile()
            text = program.as_text()
            sums = text.count("all-reduce(") + text.count("all-reduce-start(")
            results[name] = (*map(np.asarray, program(*arguments)), sums)
    return results


def test_runs_on_devices_of_their_own_are_the_same_bit_for_bit(fits):
    for on_devices, in_a_loop in zip(fits["devices"][:2], fits["map"][:2], strict=True):
        np.testing.assert_array_equal(on_devices, in_a_loop)
    assert fits["devices"][2] == fits["map"][2] == 0


def test_a_split_batch_gives_the_same_means(fits):
    """The sums have another order: equal to rounding, with sums over devices in the program."""
    np.testing.assert_allclose(fits["split"][0], fits["map"][0], rtol=1e-4)
    np.testing.assert_allclose(fits["split"][1], fits["map"][1], atol=0.02)
    assert fits["split"][2] > 0


def test_a_batch_stays_whole_outside_of_a_mesh():
    batch = {"x": jnp.ones((4, 2)), "now": jnp.int32(3)}
    assert split_batch(batch) is batch


def test_every_device_receives_its_part():
    tree = (np.arange(6.0).reshape(2, 3), jax.random.split(jax.random.key(1)))
    numbers, keys = mesh.device_put_global(tree, mesh.split_over_runs(mesh.make_mesh(2)))
    assert [shard.data.tolist() for shard in numbers.addressable_shards] == [
        [[0, 1, 2]],
        [[3, 4, 5]],
    ]
    assert jnp.all(keys == tree[1])
    (whole, *copies) = mesh.device_put_global(
        tree[0], mesh.replicated(mesh.make_mesh(2))
    ).addressable_shards
    assert len(copies) == 1
    for shard in (whole, *copies):
        np.testing.assert_array_equal(shard.data, tree[0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((0,), "`runs`.*got 0"), ((1, 3), "`devices_per_run` must divide the 8 devices, got 3")],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        mesh.make_mesh(*arguments)
