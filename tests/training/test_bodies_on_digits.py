"""Bodies of every kind learn as well as plain Linen layers, and resume bit-identical."""

import chex
import equinox as eqx
import jax
import numpy as np
import optax
import pytest
from flax import linen as nn
from flax import nnx
from unchecked import no_shape_checks

import sffa_jax as sf
from sffa_jax.core.bodies import equinox_body, nnx_body
from sffa_jax.core.conv_cpu import convolve
from sffa_jax.scale.checkpoints import Checkpoints
from sffa_jax.scale.resumable import run_resumable
from sffa_jax.scale.sweep import seed_keys, sweep

FEATURES = 64 + 100
"""Pixels of a digit, and the code of a label."""


class Convolution(nn.Module):
    """A convolution, batch normalization and dropout."""

    maps: int

    @nn.compact
    def __call__(self, x, train):
        x = nn.Conv(self.maps, (3, 3), use_bias=False, conv_general_dilated=convolve)(x)
        x = nn.BatchNorm(use_running_average=not train, momentum=0.9)(x)
        return nn.Dropout(0.1, deterministic=not train)(x)


def dense_network(layers):
    overlay = sf.overlays.appended_gaussian()
    return sf.Network(tuple(layers), sf.sffa(logit_scale=6.0, eps=1.0), overlay, 10)


def image_network(layers):
    rule = sf.sffa(logit_scale=12.0, eps=1e-3, loss="softmax", normalize="whole")
    rule = sf.with_class_units(rule, sf.class_units.learned())
    return sf.Network(tuple(layers), rule, sf.overlays.none(), 10)


def nnx_linear(d_in, units):
    return sf.Layer(nnx_body(lambda rngs: nnx.Linear(d_in, units, rngs=rngs)))


def equinox_linear(d_in, units):
    return sf.Layer(equinox_body(lambda key: eqx.nn.Linear(d_in, units, key=key)))


NETWORKS = {
    "Linen MLP": lambda: dense_network(sf.dense_layers([200, 200])),
    "NNX MLP": lambda: dense_network([nnx_linear(FEATURES, 200), nnx_linear(200, 200)]),
    "Linen MLP, PyTorch's initializer": lambda: dense_network(
        sf.dense_layers([200, 200], initializer="torch")
    ),
    "Equinox MLP": lambda: dense_network([equinox_linear(FEATURES, 200), equinox_linear(200, 200)]),
    "Linen convolution": lambda: image_network(sf.conv_layers((8, 8), [32, 64])),
    "Linen convolution, BatchNorm, Dropout": lambda: image_network(
        [
            sf.Layer(Convolution(32), grid=sf.Grid(8, 8, 1), pool="max"),
            sf.Layer(Convolution(64), grid=sf.Grid(4, 4, 32), pool="max"),
        ]
    ),
}


def learner_of(network):
    negatives = "uniform" if network.class_units is None else "all"
    return sf.local_learner(network, optax.adam(3e-3), negatives=negatives)


@pytest.fixture(scope="module")
def digits():
    return sf.samples_from(sf.data.load("digits"))


@pytest.fixture(scope="module")
def accuracies(digits):
    train, test = digits

    def of_network(make):
        network = make()
        learner = learner_of(network)
        epochs = 40 if network.class_units is None else 15

        def run(key, _):
            state = sf.fit(learner, sf.Schedule(epochs, 64), key, train).state
            return sf.evaluate(learner, state, test).network

        return 100 * float(np.mean(sweep(run, seed_keys(range(3)), parallel="map")))

    found = {name: of_network(make) for name, make in NETWORKS.items()}
    print(found)  # the table of docs/layers.md: pytest -s
    return found


PLAIN = {
    "NNX MLP": "Linen MLP",
    "Equinox MLP": "Linen MLP, PyTorch's initializer",  # Equinox's is the same
    "Linen convolution, BatchNorm, Dropout": "Linen convolution",
}
"""The same network in Linen, without state."""


@pytest.mark.slow
@pytest.mark.parametrize("name", PLAIN)
def test_within_half_a_point_of_the_same_network_without_state(accuracies, name):
    assert accuracies[name] > accuracies[PLAIN[name]] - 0.5


class Streams(nnx.Module):
    """Its dropout draws from streams of its own, which are part of the state."""

    def __init__(self, rngs):
        self.linear = nnx.Linear(FEATURES, 20, rngs=rngs)
        self.norm = nnx.BatchNorm(20, rngs=rngs)
        self.dropout = nnx.Dropout(0.2, rngs=rngs)

    def __call__(self, x):
        return self.dropout(self.norm(self.linear(x)))


@pytest.mark.slow
def test_a_killed_run_resumes_bit_identical(digits, tmp_path):
    train, _ = digits
    learner = learner_of(dense_network([sf.Layer(nnx_body(Streams)), *sf.dense_layers([10])]))
    start = jax.jit(lambda key: sf.start(learner, key, train))
    epoch = jax.jit(
        lambda progress: sf.train_epoch(learner, sf.Schedule(3, 64), progress, train)[0]
    )

    def fit(checkpoints, killed_at):
        def step(number, progress):
            if number == killed_at:
                raise KeyboardInterrupt
            return epoch(progress)

        keys = lambda: start(jax.random.key(0))  # noqa: E731
        return run_resumable(keys, step, 3, checkpoints, every_seconds=0)

    checkpoints = Checkpoints(tmp_path)
    with no_shape_checks():
        with pytest.raises(KeyboardInterrupt):
            fit(checkpoints, 2)
        assert checkpoints.steps()[-1] > 0
        resumed, whole = fit(checkpoints, None), fit(None, None)
    chex.assert_trees_all_equal(resumed, whole)
