import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.bench import cases, memory
from experiments.bench.options import Options
from sffa_jax.core.architectures import dense_layers
from sffa_jax.training.backprop import backprop_learner


def test_memory_is_measured_in_a_process_of_its_own():
    options = Options(memory_width=8, features=12, batch_size=64)
    (record,) = cases.measure_memory(options, "bp_accumulate", 2)
    assert record["case"] == "memory"
    assert record["peak_mib"] > record["state_mib"] > 0


def test_variants_of_backprop_take_the_same_step():
    layers = dense_layers((8, 6))
    x = jnp.asarray(np.random.default_rng(0).normal(size=(8, 5)), jnp.float32)
    labels = jnp.asarray(np.arange(8) % 3)
    plain = backprop_learner(layers, 3, optax.adam(1e-3))
    state = jax.jit(plain.init)(jax.random.key(1), x)
    expected, _ = jax.jit(plain.step)(state, jax.random.key(2), x, labels)
    for remat in (True, False):
        _, step = memory.saving_step(layers, 3, remat=remat)
        updated, _ = jax.jit(step)(state, jax.random.key(2), x, labels)
        # Adam's first step is the gradient's sign: compare the gradients' own moments.
        chex.assert_trees_all_close(updated.opt_state[0].mu, expected.opt_state[0].mu, atol=1e-7)
