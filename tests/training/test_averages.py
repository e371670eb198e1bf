"""Averages of weights, against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from unchecked import no_shape_checks

from sffa_jax import Layer, Network, backprop_learner, dense_layers, local_learner, overlays, sffa
from sffa_jax.core.bodies import nnx_body
from sffa_jax.training.averages import averaged
from sffa_jax.training.learner import Learner

X = jnp.asarray(np.random.default_rng(0).normal(size=(6, 5)).astype(np.float32))
LABELS = jnp.arange(6) % 3
LAYERS = dense_layers([4], normalization="batch")
LEARNERS = {
    "bp": backprop_learner(LAYERS, 3, optax.adam(1e-1)),
    "sffa": local_learner(
        Network(LAYERS, sffa(), overlays.appended_gaussian(size=3), 3), optax.adam(1e-1)
    ),
}


def leaves_of(state):
    """Weights, then running statistics."""
    if hasattr(state, "layers"):
        return jax.tree.leaves([(layer.params, layer.body_state) for layer in state.layers])
    return jax.tree.leaves((state.params, state.body_states))


@pytest.mark.parametrize("name", LEARNERS)
def test_averages_by_hand(name):
    """Weights and running statistics are averaged; scores are those of the averaged network."""
    learner = averaged(LEARNERS[name], 0.3)

    @jax.jit
    def run(keys):
        def step(state, key):
            state = learner.step(state, key, X, LABELS)[0]
            return state, leaves_of(state.state)

        first = learner.init(jax.random.key(0), X)
        last, seen = jax.lax.scan(step, first, keys)
        own = LEARNERS[name].scores(last.average, X)
        return leaves_of(first.state), seen, leaves_of(last.average), learner.scores(last, X), own

    with no_shape_checks():
        drawn, seen, averages, scores, own = run(jax.random.split(jax.random.key(1), 5))
    for average, old, weights in zip(averages, drawn, seen, strict=True):
        expected = np.float64(old)
        for count, now in enumerate(np.float64(weights), 1):
            decay = min(0.3, (1 + count) / (10 + count))
            expected = decay * expected + (1 - decay) * now
        np.testing.assert_allclose(average, expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(scores, own)


def test_averages_of_bfloat16_keep_small_steps():
    def learner_of(dtype):
        def step(state, key, x, labels):
            return {"w": jnp.full(3, 100, dtype)}, jnp.zeros(1)

        def init(key, x):
            return {"w": jnp.full(3, 90, dtype)}

        return averaged(Learner(init, step, lambda state, x: state["w"], 3), 0.999)

    def after_many(dtype):
        learner = learner_of(dtype)
        key, x, labels = jax.random.key(0), jnp.ones((1, 3)), jnp.zeros(1, jnp.int32)
        start = learner.init(key, x)
        many = jax.lax.fori_loop(0, 500, lambda _, s: learner.step(s, key, x, labels)[0], start)
        return learner.scores(many, x)

    assert after_many(jnp.bfloat16).dtype == jnp.bfloat16
    np.testing.assert_allclose(
        after_many(jnp.bfloat16).astype(jnp.float32), after_many(jnp.float32), rtol=0.01
    )


def test_averages_beside_random_keys_need_no_program():
    """A key of an NNX module's streams has no other dtype."""
    body = nnx_body(lambda rngs: nnx.Dropout(0.5, rngs=rngs))
    learner = averaged(backprop_learner((Layer(body),), 3, optax.adam(1e-1)), 0.9)
    state = jax.jit(learner.init)(jax.random.key(0), X)
    assert learner.scores(state, X).shape == (1, len(X), 3)
