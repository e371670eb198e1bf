"""Measures the memory of a few updates of one network, in a separate process.

`experiments.benchmark` starts it with one JSON argument; it prints one JSON object.
"""

import dataclasses
import json
import os
import resource
import sys
from typing import Any

# Otherwise a GPU's allocator reserves memory at the start, and the peak would show that.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

import jax
import jax.numpy as jnp
import optax

from experiments.bench.options import GRADIENT_PARTS
from experiments.config.presets import DEFAULT
from sffa_jax.core.architectures import dense_layers
from sffa_jax.core.layer import Layer, activity
from sffa_jax.core.overlays import Part
from sffa_jax.training.backprop import BackpropState, init_layers, with_readout


def saving_step(layers: tuple[Layer, ...], classes: int, *, remat: bool) -> Any:
    """Returns `init` and `step` of backprop that saves memory.

    Args:
      layers: hidden layers.
      classes: number of classes.
      remat: recompute activity in the backward pass; otherwise accumulate the gradients of
        `GRADIENT_PARTS` parts of the batch.
    """
    layers = with_readout(layers, classes)
    optimizer = optax.adam(1e-3)

    def loss(params: Any, x: jax.Array, labels: jax.Array) -> jax.Array:
        h = x
        for layer, layer_params in zip(layers, params, strict=True):

            def output(layer_params: Any, h: jax.Array, layer: Layer = layer) -> jax.Array:
                return activity(layer, layer_params, (Part("input", h, "sample"),))[:, 0]

            h = (jax.checkpoint(output) if remat else output)(layer_params, h)
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(h, labels))

    def gradient(params: Any, x: jax.Array, labels: jax.Array) -> Any:
        if remat:
            return jax.grad(loss)(params, x, labels)

        def add(total: Any, part: Any) -> tuple[Any, None]:
            return jax.tree.map(jnp.add, total, jax.grad(loss)(params, *part)), None

        parts = (x.reshape(GRADIENT_PARTS, -1, x.shape[1]), labels.reshape(GRADIENT_PARTS, -1))
        total, _ = jax.lax.scan(add, jax.tree.map(jnp.zeros_like, params), parts)
        return jax.tree.map(lambda g: g / GRADIENT_PARTS, total)

    def init(key: jax.Array, x: jax.Array) -> BackpropState:
        params, _ = init_layers(layers, key, x)
        return BackpropState(params, optimizer.init(params))

    def step(state: BackpropState, key: jax.Array, x: jax.Array, labels: jax.Array) -> Any:
        del key
        updates, opt_state = optimizer.update(
            gradient(state.params, x, labels), state.opt_state, state.params
        )
        return BackpropState(optax.apply_updates(state.params, updates), opt_state), 0.0

    return init, step


def measure(case: dict[str, Any]) -> dict[str, Any]:
    """Returns the process's peak memory, and the compiled update's scratch and state, in MiB."""
    hidden, classes = tuple(case["hidden"]), case["classes"]
    if case["algorithm"] in ("bp_remat", "bp_accumulate"):
        init, step = saving_step(
            dense_layers(hidden), classes, remat=case["algorithm"] == "bp_remat"
        )
    else:
        recipe = dataclasses.replace(DEFAULT, hidden=hidden, batch_size=case["batch_size"])
        shape = (case["features"], 1)
        init, step, *_ = recipe.learner(case["algorithm"], shape, classes, 60_000)
    x = jnp.zeros((case["batch_size"], case["features"]))
    labels = jnp.zeros(case["batch_size"], jnp.int32)
    state = init(jax.random.key(0), x)
    program = jax.jit(step, donate_argnums=0).lower(state, jax.random.key(1), x, labels).compile()
    for _ in range(3):
        state, _ = jax.block_until_ready(program(state, jax.random.key(1), x, labels))
    stats = jax.local_devices()[0].memory_stats()
    if stats:
        peak = stats["peak_bytes_in_use"] / 2**20
    else:
        unit = 1 if sys.platform == "darwin" else 1024
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20
    analysis = program.memory_analysis()
    assert analysis is not None, "the backend does not report the memory of programs"
    state_bytes = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
    return {
        "peak_mib": peak,
        "temporary_mib": analysis.temp_size_in_bytes / 2**20,
        "state_mib": state_bytes / 2**20,
    }


if __name__ == "__main__":
    print(json.dumps(measure(json.loads(sys.argv[1]))))
