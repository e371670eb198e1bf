"""Layer-parallel training: layer k runs on device k and sends its activity to device k + 1.

No gradient flows back, so a layer is done with a batch after it has sent its activity. In tick t,
device k processes batch t - k: it receives the activity of layer k - 1 on that batch from the
previous tick, updates layer k and sends the activity of layer k. As in `local_learner`, the input
of a layer is the activity of the layer below before that layer's update on the batch, so the
updates are the same, without staleness. Devices idle only in the first and the last `layers - 1`
ticks of an epoch.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Float

from sffa_jax.checks import check_choice, reject, reject_type
from sffa_jax.core.layer import activity
from sffa_jax.core.negatives import NEGATIVES, targets
from sffa_jax.core.network import Network, next_input
from sffa_jax.core.overlays import parts
from sffa_jax.training.fit import (
    Progress,
    Schedule,
    close_epoch,
    plan_epoch,
    training_inputs,
)
from sffa_jax.training.local import LayerState, layer_step
from sffa_jax.training.samples import Samples, check_samples

LAYERS = "layers"

STREAMED = ("uniform", "all")
"""Negatives that do not depend on the scores of the upper layers."""

Epoch = Callable[[Progress, Samples], tuple[Progress, Float[Array, " layers"]]]
States = tuple[LayerState, LayerState]
"""The lowest layer and an upper one."""


def pipelined_epoch(
    network: Network,
    optimizer: optax.GradientTransformation,
    schedule: Schedule,
    *,
    negatives: str = "uniform",
) -> Epoch:
    """Makes an epoch function that trains each layer on one device.

    It returns the same result as `fit.train_epoch` with
    `local_learner(network, optimizer, negatives=negatives)`.

    Args:
      network: at most one layer per device; all layers of the same width and kind.
      optimizer: each layer has one state of it.
      schedule: batches and augmentation.
      negatives: "uniform" or "all"; hard negatives need the scores of the last layer.

    Returns:
      A function (progress, samples) -> (progress after one more epoch, mean loss per layer), ready
      for `jax.jit`.

    Raises:
      TypeError: for something that is no optimizer, or one for each layer.
      ValueError: for a network of one layer, more layers than devices, layers that differ, or other
        negatives.
    """
    number = len(network.layers)
    check_choice("pipelined_epoch", "negatives", negatives, STREAMED)
    if not isinstance(optimizer, optax.GradientTransformation):
        rule = "be one optax optimizer for all layers"
        raise reject_type("pipelined_epoch", "optimizer", rule, type(optimizer).__name__)
    if not 2 <= number <= jax.device_count():
        raise reject(
            "pipelined_epoch",
            "network",
            f"have from 2 to {jax.device_count()} layers, one per device",
            f"{number} layers",
            "On a CPU, XLA_FLAGS=--xla_force_host_platform_device_count=N makes N devices.",
        )
    layer = network.layers[0]
    if any(other != layer for other in network.layers):
        raise reject(
            "pipelined_epoch",
            "network",
            "have layers of one width and kind, because all devices run one program",
            [getattr(layer.body, "features", layer.body) for layer in network.layers],
        )
    mesh = Mesh(np.array(jax.devices()[:number]), (LAYERS,))
    choose = NEGATIVES[negatives]

    def epoch(progress: Progress, samples: Samples) -> tuple[Progress, Array]:
        check_samples("pipelined_epoch", samples, network.num_classes)
        plan = plan_epoch(schedule, progress, samples.images.shape[0])
        num_steps = plan.indices.shape[0]
        overlay = progress.state.overlay

        def prepare(i: Array) -> tuple[Array, Array | None, Array]:
            """Returns images, candidates and targets of a batch."""
            key, indices = plan.keys[i], plan.indices[i]
            labels = samples.labels[indices]
            batch = samples.replace(images=samples.images[indices], labels=labels)
            x = training_inputs(schedule, key, batch)
            candidates = choose(key, labels, network.num_classes, lambda: jnp.zeros(0))
            return x, candidates, targets(candidates, labels, network.num_classes)

        def idle(states: States, i: Array, below: Array) -> tuple[States, Array, Array]:
            del i
            return states, below, jnp.float32(0)

        def train(k: int, states: States, i: Array, below: Array) -> tuple[States, Array, Array]:
            """Updates the lowest (k = 0) or an upper layer (k = 1; all are alike) by batch i."""
            x, candidates, is_target = prepare(i)
            overlaid = inputs = parts(overlay, x)
            if k > 0:
                inputs = next_input(network, below, overlaid)
            key = layer.key(plan.keys[i], jax.lax.axis_index(LAYERS))
            batch = inputs, candidates, is_target, key
            state, info = layer_step(network, k, optimizer, states[k], *batch)
            states = (state, states[1]) if k == 0 else (states[0], state)
            return states, info.activity, jnp.mean(info.loss)

        def on_device(states: States) -> tuple[States, Array]:
            states = jax.tree.map(lambda leaf: leaf[0], states)
            device = jax.lax.axis_index(LAYERS)

            def tick(carry: tuple[States, Array], t: Array) -> tuple[tuple[States, Array], Array]:
                states, below = carry
                i = t - device
                busy = (i >= 0) & (i < num_steps)
                branch = jnp.where(busy, jnp.where(device == 0, 1, 2), 0)
                states, h, loss = jax.lax.switch(
                    branch,
                    (idle, partial(train, 0), partial(train, 1)),
                    states,
                    jnp.clip(i, 0, num_steps - 1),
                    below,
                )
                upwards = [(k, k + 1) for k in range(number - 1)]
                return (states, jax.lax.ppermute(h, LAYERS, upwards)), loss

            no_activity = jnp.zeros(h_shape.shape, h_shape.dtype)
            ticks = jnp.arange(num_steps + number - 1)
            (states, _), losses = jax.lax.scan(tick, (states, no_activity), ticks)
            losses = jax.lax.dynamic_slice(losses, (device,), (num_steps,))
            return jax.tree.map(lambda leaf: leaf[None], (states, losses))

        bottom, *rest = progress.state.layers

        def first_activity() -> Array:
            x, candidates, _ = prepare(jnp.int32(0))
            return activity(layer, bottom.params, parts(overlay, x), candidates, bottom.body_state)

        h_shape = jax.eval_shape(first_activity)
        # Every device holds a lowest and an upper layer, and trains one of the two.
        bottoms = jax.tree.map(lambda leaf: jnp.stack([leaf] * number), bottom)
        tops = jax.tree.map(lambda *leaves: jnp.stack([leaves[0], *leaves]), *rest)
        by_layer = PartitionSpec(LAYERS)
        (bottoms, tops), losses = jax.shard_map(
            on_device, mesh=mesh, in_specs=by_layer, out_specs=by_layer, check_vma=False
        )((bottoms, tops))
        layers = [jax.tree.map(lambda leaf: leaf[0], bottoms)]
        layers += [jax.tree.map(lambda leaf, k=k: leaf[k], tops) for k in range(1, number)]
        losses = losses.T
        state = progress.state.replace(layers=tuple(layers), step=progress.state.step + num_steps)
        return close_epoch(progress, state, losses), jnp.mean(losses, axis=0)

    return epoch
