"""Training from disk is training in memory, step for step and bit for bit."""

import dataclasses
import functools
import threading
import time
from pathlib import Path

import jax
import numpy as np
import optax
import pytest
from chex import assert_trees_all_equal
from commands import end, open_together
from jax.sharding import Mesh
from published_files import Server, idx_files
from unchecked import no_shape_checks

from sffa_jax import Schedule, backprop_learner, data, dense_layers, fit, make_samples, sffa
from sffa_jax.core.network import Network
from sffa_jax.core.overlays import corner_one_hot
from sffa_jax.data.sources.registry import PUBLISHED
from sffa_jax.scale import streaming as streaming
from sffa_jax.training.evaluate import evaluate
from sffa_jax.training.fit import start
from sffa_jax.training.local import local_learner

RNG = np.random.default_rng(0)
LABELS = np.tile(np.arange(10), 7)
IMAGES = (RNG.integers(0, 60, (70, 5, 4)) + 150 * np.eye(4)[LABELS % 4][:, None]).astype(np.uint8)
KEPT, HELD = data.stratified_split(LABELS, 0.2, seed=0)
SCALE = {"num_classes": 10, "mean": 0.3, "std": 0.25}
SCHEDULE = Schedule(3, 16)
NETWORK = Network(dense_layers([8]), sffa(logit_scale=3.0, eps=0.1), corner_one_hot(), 10)
LEARNERS = {
    "sffa": local_learner(NETWORK, optax.adam(1e-2)),
    "bp": backprop_learner(dense_layers([8]), 10, optax.adam(1e-2)),
}


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TFDS_DATA_DIR", str(tmp_path_factory.mktemp("tfds")))
        with Server(idx_files(IMAGES, LABELS, IMAGES, LABELS)) as server:
            patch.setitem(PUBLISHED, "mnist", server.published("mnist", (5, 4)))
            yield data.open_on_disk("mnist").train


@pytest.fixture
def kept(records):
    return streaming.make_streamed_samples(records, KEPT, **SCALE)


def in_memory(indices):
    return make_samples(IMAGES[indices], LABELS[indices], **SCALE)


@functools.cache
def fitted(name):
    """A fit in memory."""
    run = jax.jit(fit, static_argnums=(0, 1))
    return run(LEARNERS[name], SCHEDULE, jax.random.key(5), in_memory(KEPT), in_memory(HELD))


@pytest.mark.parametrize("name", LEARNERS)
def test_a_fit_from_disk_is_the_fit_in_memory(records, kept, name):
    held = streaming.make_streamed_samples(records, HELD, **SCALE)
    streamed = streaming.fit_streamed(LEARNERS[name], SCHEDULE, jax.random.key(5), kept, held)
    assert_trees_all_equal(streamed, fitted(name))


def test_a_fit_from_disk_takes_the_arguments_of_a_fit_in_memory(records, kept):
    learner, key, calls = LEARNERS["bp"], jax.random.key(6), []
    state = fitted("bp").state
    run = jax.jit(fit, static_argnums=(0, 1))
    streamed = streaming.fit_streamed(
        learner, SCHEDULE, key, kept, state=state, callback=lambda *args: calls.append(args)
    )
    assert_trees_all_equal(streamed, run(learner, SCHEDULE, key, in_memory(KEPT), state=state))
    assert [int(epoch) for epoch, _ in calls] == [1, 2, 3]
    np.testing.assert_array_equal([info.loss for _, info in calls], streamed.history.loss)
    assert streamed.history.validation_accuracy is None
    held = streaming.make_streamed_samples(records, HELD, **SCALE)
    last = streaming.fit_streamed(learner, SCHEDULE, key, kept, held, select="last")
    assert_trees_all_equal(last.state, last.progress.state)
    with pytest.raises(ValueError, match="fit_streamed: `select` must be 'last' without a valid"):
        streaming.fit_streamed(learner, SCHEDULE, key, kept, select="best")
    with pytest.raises(ValueError, match="`state` must have the structure, shapes and dtypes of"):
        streaming.fit_streamed(LEARNERS["sffa"], SCHEDULE, key, kept, state=state)


def test_a_fit_goes_on_from_the_exact_step(kept):
    learner = LEARNERS["sffa"]
    progress = streaming.start_streamed(learner, jax.random.key(1), kept)
    expected = streaming.train_streamed_epoch(learner, SCHEDULE, progress, kept)
    position = streaming.begin_epoch(learner, SCHEDULE, progress, kept)
    assert streaming.advance(learner, SCHEDULE, position, kept, 0) is position
    for count in (1, 1):
        position = streaming.advance(learner, SCHEDULE, position, kept, count)
        # Nothing but the position survives, as after a restart.
        leaves, form = jax.tree.flatten(position)
        position = jax.tree.unflatten(form, [leaf.copy() for leaf in leaves])
        with pytest.raises(ValueError, match=r"must have made all 3 steps, got \d"):
            streaming.end_epoch(position.replace(step=position.step - 1))
    assert position.step == 2
    assert_trees_all_equal(
        streaming.end_epoch(streaming.advance(learner, SCHEDULE, position, kept)), expected
    )


@pytest.mark.parametrize("chunk", [7, 1000])
def test_every_sample_is_scored_once(kept, monkeypatch, chunk):
    """Whole chunks and a remainder; a split smaller than a chunk."""
    monkeypatch.setattr("sffa_jax.training.evaluate.EVALUATION_CHUNK", chunk)
    learner, samples = LEARNERS["sffa"], in_memory(KEPT)
    state = jax.jit(start, static_argnums=0)(learner, jax.random.key(0), samples).state
    found = streaming.evaluate_streamed(learner, state, kept)
    # Counts are exact; only the last division may round otherwise.
    # A new function, so that the chunk above counts.
    expected = jax.jit(lambda state: evaluate(learner, state, samples))(state)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_one_compilation_serves_every_step(kept):
    learner = LEARNERS["bp"]
    progress = streaming.start_streamed(learner, jax.random.key(0), kept)
    progress, _ = streaming.train_streamed_epoch(learner, SCHEDULE, progress, kept)
    before = streaming._advance._cache_size()
    streaming.train_streamed_epoch(learner, SCHEDULE, progress, kept)
    assert streaming._advance._cache_size() == before


def test_threads_end_when_a_stream_is_left(kept):
    """The first stream may start threads that the reader keeps; each further one leaves none."""

    def leave():
        batches = kept.batches(np.zeros((500, 4), int))
        next(batches)
        reading = threading.active_count()
        batches.close()
        return reading

    leave()
    for _ in range(3):
        reading = leave()
        until = time.monotonic() + 10
        while threading.active_count() >= reading and time.monotonic() < until:
            time.sleep(0.01)
        assert threading.active_count() < reading


def test_batches_spread_over_devices(records):
    """One device is a mesh too; the program below has four, in two processes."""
    mesh = Mesh(jax.devices()[:1], "batch")
    kept, held = (
        streaming.make_streamed_samples(records, indices, **SCALE, mesh=mesh)
        for indices in (KEPT, HELD)
    )
    spread = streaming.fit_streamed(LEARNERS["sffa"], SCHEDULE, jax.random.key(5), kept, held)
    assert_trees_all_equal(spread, fitted("sffa"))


def test_a_split_that_the_devices_cannot_share(records, monkeypatch):
    """It is refused before an epoch is trained or a batch is scored."""
    mesh = Mesh(jax.devices()[:2], "batch")
    kept, held = (
        streaming.make_streamed_samples(records, indices, **SCALE, mesh=mesh)
        for indices in (KEPT, HELD[: len(HELD) // 2 * 2 - 1])
    )
    with pytest.raises(ValueError, match="`validation` must have a multiple of 2 samples.*Leave"):
        streaming.fit_streamed(LEARNERS["sffa"], SCHEDULE, jax.random.key(5), kept, held)
    monkeypatch.setattr("sffa_jax.training.evaluate.EVALUATION_CHUNK", 2)
    state, rule = fitted("sffa").state, "`samples` must have a multiple of 2 samples, one for each"
    with pytest.raises(ValueError, match=f"evaluate_streamed: {rule} device, got 9. Leave out 1"):
        streaming.evaluate_streamed(LEARNERS["sffa"], state, held)
    # The advice.
    alone = dataclasses.replace(held, mesh=None)
    placed = kept.replicate(state)
    assert streaming.evaluate_streamed(LEARNERS["sffa"], placed, alone).network.shape == ()


PROGRAM = """
import sys, jax, numpy as np, optax
process, address = int(sys.argv[1]), sys.argv[2]
jax.distributed.initialize(address, 2, process)
from jax.sharding import Mesh
from sffa_jax import Schedule, data, dense_layers, sffa
from sffa_jax.scale import streaming as stream
from sffa_jax.data.sources.registry import PUBLISHED
from sffa_jax.training.local import local_learner
from sffa_jax.core.network import Network
from sffa_jax.core.overlays import corner_one_hot
network = Network(
    dense_layers([8]), sffa(logit_scale=3.0, eps=0.1), corner_one_hot(), 10
)
learner = local_learner(network, optax.adam(1e-2))
train = data.open_on_disk("mnist").train
kept, _ = data.stratified_split(train.labels, 0.2, seed=0)
mesh = Mesh(jax.devices(), "batch")
split = stream.make_streamed_samples(train, kept, num_classes=10, mean=0.3, std=0.25, mesh=mesh)
progress = stream.start_streamed(learner, jax.random.key(5), split)
for _ in range(3):
    progress, loss = stream.train_streamed_epoch(learner, Schedule(3, 16), progress, split)
if process == 0:
    assert jax.device_count() == 4 and jax.local_device_count() == 2
    print("loss", *np.asarray(loss).tolist())
"""


def test_two_processes_train_one_network(records, monkeypatch):
    folder = Path(records._source.dataset_info.data_dir).parents[2]
    monkeypatch.setenv("TFDS_DATA_DIR", str(folder))
    jobs = open_together(lambda address, process: ["-c", PROGRAM, str(process), address], devices=2)
    ended = end(jobs)
    assert [status for status, *_ in ended] == [0, 0], ended
    words = next(line for line in ended[0][1].splitlines() if line.startswith("loss")).split()
    losses = fitted("sffa").history.loss
    np.testing.assert_allclose(np.array(words[1:], float), losses[-1], rtol=1e-4)


def test_bad_arguments(records, kept):
    with pytest.raises(ValueError, match="`indices` must name at least one sample"):
        streaming.make_streamed_samples(records, KEPT[:0], **SCALE)
    with pytest.raises(ValueError, match=r"`labels` must lie in \[0, 9\), got min 0, max 9"):
        streaming.make_streamed_samples(records, KEPT, **(SCALE | {"num_classes": 9}))
    with pytest.raises(ValueError, match="at most the 60 training samples"):
        streaming.begin_epoch(
            LEARNERS["bp"],
            Schedule(1, 500),
            streaming.start_streamed(LEARNERS["bp"], jax.random.key(0), kept),
            kept,
        )


def test_learner_and_samples_have_the_same_classes(kept):
    learner = backprop_learner(dense_layers([8]), 11, optax.adam(1e-2))
    with pytest.raises(ValueError, match="`samples` must have the learner's 11 classes, got 10"):
        streaming.start_streamed(learner, jax.random.key(0), kept)


def test_a_fit_checks_what_it_is_given_before_it_trains(records, kept, monkeypatch):
    learner, key = LEARNERS["bp"], jax.random.key(0)
    monkeypatch.delattr(streaming, "start_streamed")
    other = streaming.make_streamed_samples(records, HELD, **(SCALE | {"num_classes": 11}))
    for arguments, message in [
        ((learner, SCHEDULE, 0, kept), "`key` must be a random key, got int"),
        ((learner, None, key, kept), "`schedule` must be a `Schedule`, got NoneType"),
        ((None, SCHEDULE, key, kept), "`learner` must be"),
        ((learner, SCHEDULE, key, in_memory(KEPT)), "`samples` must be `StreamedSamples`, got Sam"),
        ((learner, SCHEDULE, key, kept, other), "must have the learner's 10 classes, got 11"),
    ]:
        with no_shape_checks(), pytest.raises((TypeError, ValueError), match=message):
            streaming.fit_streamed(*arguments)


def test_statistics_of_other_units_are_refused(records):
    with pytest.raises(ValueError, match="`mean` must be in units of pixel / 255 for uint8 images"):
        streaming.make_streamed_samples(records, KEPT, num_classes=10, mean=33.3, std=78.6)
