"""Layers on devices of their own make the updates of layers on one."""

import chex
import jax
import numpy as np
import optax
import pytest
from unchecked import no_shape_checks

from sffa_jax.core import overlays, rules
from sffa_jax.core.architectures import dense_layers
from sffa_jax.core.network import Network
from sffa_jax.scale import pipeline
from sffa_jax.training import augment
from sffa_jax.training.fit import Schedule, start, train_epoch
from sffa_jax.training.local import local_learner
from sffa_jax.training.samples import make_samples

RULES = {"ffa": rules.ffa(threshold=0.5), "sffa": rules.sffa(eps=0.1)}


@pytest.mark.parametrize(
    ("rule", "depth", "negatives", "input_skip", "augmentation", "options"),
    [
        ("ffa", 2, "all", False, augment.shift((5, 5), 1, -1.0), {}),
        ("sffa", 3, "uniform", True, None, {"normalization": "batch", "dropout": 0.25}),
    ],
)
def test_the_updates_are_those_of_one_device(
    rule, depth, negatives, input_skip, augmentation, options
):
    random = np.random.default_rng(0)
    samples = make_samples(
        random.integers(0, 256, (100, 5, 5)).astype(np.uint8),
        random.integers(0, 3, 100),
        num_classes=3,
        mean=0.5,
        std=0.3,
    )
    network = Network(
        dense_layers((8,) * depth, **options),
        RULES[rule],
        overlays.appended_gaussian(size=4),
        3,
        input_skip=input_skip,
    )
    optimizer, schedule = optax.adam(1e-2), Schedule(2, 16, augmentation)
    learner = local_learner(network, optimizer, negatives=negatives)
    pipelined = jax.jit(pipeline.pipelined_epoch(network, optimizer, schedule, negatives=negatives))
    first = jax.jit(start, static_argnums=0)(learner, jax.random.key(0), samples)
    with no_shape_checks():
        # The second epoch starts where the first ended, with the whole state.
        progress, _ = pipelined(first, samples)
        progress, loss = pipelined(progress, samples)
    plain = jax.jit(lambda *arguments: train_epoch(learner, schedule, *arguments))
    expected, _ = plain(first, samples)
    expected, expected_loss = plain(expected, samples)
    np.testing.assert_array_equal(loss, expected_loss)
    chex.assert_trees_all_equal(progress, expected)
    for layer, before in zip(progress.state.layers, first.state.layers, strict=True):
        for a, b in zip(*map(jax.tree.leaves, (layer.params, before.params)), strict=True):
            assert np.abs(np.asarray(a) - np.asarray(b)).max() > 1e-3


@pytest.mark.parametrize(
    ("widths", "negatives", "message"),
    [
        ((8,), "uniform", "`network` must have from 2 to 8 layers, one per device, got 1 layers"),
        ((8,) * 9, "uniform", "got 9 layers"),
        ((8, 8), "hard", "`negatives` must be one of all, uniform, got 'hard'"),
    ],
)
def test_bad_arguments(widths, negatives, message):
    network = Network(dense_layers(widths), rules.sffa(), overlays.appended_gaussian(), 3)
    with pytest.raises(ValueError, match=message):
        pipeline.pipelined_epoch(network, optax.adam(1e-3), Schedule(1, 4), negatives=negatives)


def test_all_layers_share_one_optimizer():
    network = Network(dense_layers((8, 8)), rules.sffa(), overlays.appended_gaussian(), 3)
    with no_shape_checks(), pytest.raises(TypeError, match="`optimizer` must be one .*, got list"):
        pipeline.pipelined_epoch(network, [optax.adam(1e-3)] * 2, Schedule(1, 4))


def test_layers_must_be_alike(monkeypatch):
    monkeypatch.setattr(jax, "device_count", lambda: 2)
    network = Network(dense_layers((8, 6)), rules.sffa(), overlays.appended_gaussian(), 3)
    with pytest.raises(ValueError, match=r"`network` must have layers of one width.*\[8, 6\]"):
        pipeline.pipelined_epoch(network, optax.adam(1e-3), Schedule(1, 4))
