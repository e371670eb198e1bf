"""Layers on devices of their own make the updates of layers on one."""

import json

import jax
import optax
import pytest
from commands import run_program

from sffa_jax.core import overlays, rules
from sffa_jax.core.architectures import dense_layers
from sffa_jax.core.network import Network
from sffa_jax.scale import pipeline
from sffa_jax.training.fit import Schedule

DEVICES = """
    import json
    import jax, jax.numpy as jnp, numpy as np, optax
    jax.config.update("jax_num_cpu_devices", 4)
    from sffa_jax.training import augment, train
    from sffa_jax.core import overlays, rules
    from sffa_jax.scale import pipeline
    from sffa_jax.core.architectures import dense_layers
    from sffa_jax.training.local import local_learner
    from sffa_jax.core.network import Network

    random = np.random.default_rng(0)
    samples = make_samples(
        random.integers(0, 256, (100, 5, 5)).astype(np.uint8),
        random.integers(0, 3, 100), num_classes=3, mean=0.5, std=0.3,
    )
    optimizer = optax.adam(1e-2)
    shifted = augment.shift((5, 5), 1, -1.0)
    cases = [
        ("sffa", 2, "uniform", {}, None),
        ("ffa", 4, "all", {"input_skip": True}, shifted),
        ("sffa", 3, "uniform", {"input_skip": True}, None),
    ]
    found = []
    for name, depth, negatives, choices, augmented in cases:
        network = Network(
            dense_layers((8,) * depth),
            {"ffa": rules.ffa(threshold=0.5), "sffa": rules.sffa(eps=0.1)}[name],
            overlays.appended_gaussian(size=4),
            3,
            **choices,
        )
        learner = local_learner(network, optimizer, negatives=negatives)
        schedule = Schedule(2, 16, augmented)
        streamed = jax.jit(
            pipeline.pipelined_epoch(network, optimizer, schedule, negatives=negatives)
        )
        plain = jax.jit(lambda *given: train_epoch(learner, schedule, *given))
        first = start(learner, jax.random.key(0), samples)
        # Two epochs: the second starts where the first ended, with all that is kept.
        ours, _ = streamed(first, samples)
        ours, loss = streamed(ours, samples)
        theirs, _ = plain(first, samples)
        theirs, expected = plain(theirs, samples)
        ours, theirs, first = (jax.device_get(p.replace(key=None)) for p in (ours, theirs, first))
        apart = jax.tree.map(lambda a, b: float(np.abs(a - b).max()), ours, theirs)
        moved = jax.tree.map(lambda a, b: float(np.abs(a - b).max()), ours.state, first.state)
        found.append([
            max(jax.tree.leaves(apart)),
            [min(jax.tree.leaves(layer.params)) for layer in moved.layers],
            float(jnp.max(jnp.abs(loss - expected))),
        ])
    print("FOUND" + json.dumps(found))
"""


def test_the_updates_are_those_of_one_device():
    found = json.loads(run_program(DEVICES).partition("FOUND")[2])
    assert len(found) == 3
    for apart, moved, loss in found:
        assert apart == 0
        assert loss == 0
        assert min(moved) > 1e-3


@pytest.mark.parametrize(
    ("widths", "negatives", "message"),
    [
        ((8,), "uniform", "`network` must have from 2 to .* layers, one a device, got 1 layers"),
        ((8,) * 100, "uniform", "got 100 layers"),
        ((8, 8), "hard", "`negatives` must be one of all, uniform, got 'hard'"),
    ],
)
def test_bad_arguments(widths, negatives, message):
    network = Network(dense_layers(widths), rules.sffa(), overlays.appended_gaussian(), 3)
    with pytest.raises(ValueError, match=message):
        pipeline.pipelined_epoch(network, optax.adam(1e-3), Schedule(1, 4), negatives=negatives)


def test_layers_must_be_alike(monkeypatch):
    monkeypatch.setattr(jax, "device_count", lambda: 2)
    network = Network(dense_layers((8, 6)), rules.sffa(), overlays.appended_gaussian(), 3)
    with pytest.raises(ValueError, match=r"`network` must have layers of one width.*\[8, 6\]"):
        pipeline.pipelined_epoch(network, optax.adam(1e-3), Schedule(1, 4))
