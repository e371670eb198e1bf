"""Layers on devices of their own: layer k on device k, activity streamed upwards.

No gradient comes back: a layer has finished with a batch once it has passed its activity on. In
tick t device k works on batch t - k: it receives layer k - 1's activity on that batch from
the previous tick, updates its own layer, and passes its activity on. Each layer sees what it sees
in `local_learner`: the activity of the layer below from before that layer's update on the batch. So
the updates are the same, without staleness. Devices idle only in the first and the last
`layers - 1` ticks of an epoch.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Float

from sffa_jax.checks import check_choice, reject
from sffa_jax.core.layer import activity
from sffa_jax.core.negatives import NEGATIVES, targets
from sffa_jax.core.network import Network, next_input
from sffa_jax.core.overlays import parts
from sffa_jax.training.fit import Progress, Schedule, close_epoch, plan_epoch
from sffa_jax.training.local import LayerState, layer_step
from sffa_jax.training.samples import Samples

PyTree = Any
LAYERS = "layers"

STREAMED = ("uniform", "all")
"""Wrong labels that can be chosen before the upper layers have seen a batch."""

Epoch = Callable[[Progress, Samples], tuple[Progress, Float[Array, " layers"]]]


def pipelined_epoch(
    network: Network,
    optimizer: optax.GradientTransformation,
    schedule: Schedule,
    *,
    negatives: str = "uniform",
) -> Epoch:
    """An epoch of `fit.train_epoch` with `local_learner(network, optimizer, negatives=negatives)`,
    on a device a layer.

    Args:
      network: of as many layers as there are devices of use, the second to the last alike.
      optimizer: each layer runs it by itself.
      schedule: batches and augmentation.
      negatives: "uniform" or "all"; hard ones would have to wait for the last layer's scores.

    Returns:
      (progress, samples) -> progress after one more epoch and the mean loss per layer; to be
      jitted.

    Raises:
      ValueError: for a network of one layer, more layers than devices, upper layers that differ, or
        other negatives.
    """
    number = len(network.layers)
    check_choice("pipelined_epoch", "negatives", negatives, STREAMED)
    if not 2 <= number <= jax.device_count():
        raise reject(
            "pipelined_epoch",
            "network",
            f"have from 2 to {jax.device_count()} layers, one a device",
            f"{number} layers",
            "On a CPU, XLA_FLAGS=--xla_force_host_platform_device_count=N makes N devices.",
        )
    lowest, *uppers = network.layers
    upper = uppers[0]
    if any(layer != upper for layer in uppers) or lowest != upper:
        raise reject(
            "pipelined_epoch",
            "network",
            "have layers of one width and kind, since all devices run one program",
            [getattr(layer.body, "features", layer.body) for layer in network.layers],
        )
    mesh = Mesh(np.array(jax.devices()[:number]), (LAYERS,))
    choose = NEGATIVES[negatives]

    def epoch(progress: Progress, samples: Samples) -> tuple[Progress, Array]:
        plan = plan_epoch(schedule, progress, samples.images.shape[0])
        num_steps = plan.indices.shape[0]
        overlay = progress.state.overlay

        def prepare(i: Array) -> tuple[Array, Array | None, Array]:
            """Image, candidates and targets of a batch, as `fit.update` prepares them."""
            key, indices = plan.keys[i], plan.indices[i]
            labels = samples.labels[indices]
            x = samples.scaled(samples.images[indices])
            if schedule.augment is not None:
                x = schedule.augment(jax.random.fold_in(key, 1), x)
            candidates = choose(key, labels, network.num_classes, lambda: jnp.zeros(0))
            return x, candidates, targets(candidates, labels, network.num_classes)

        def work(
            k: int, state: LayerState, i: Array, below: Array
        ) -> tuple[LayerState, Array, Array]:
            x, candidates, is_target = prepare(i)
            overlaid = inputs = parts(overlay, x)
            if k > 0:
                inputs = next_input(network, below, overlaid)
            state, info = layer_step(network, k, optimizer, state, inputs, candidates, is_target)
            return state, info.activity, jnp.mean(info.loss)

        def on_device(
            lowest_state: LayerState, upper_state: LayerState
        ) -> tuple[LayerState, LayerState, Array]:
            lowest_state, upper_state = jax.tree.map(
                lambda leaf: leaf[0], (lowest_state, upper_state)
            )
            me = jax.lax.axis_index(LAYERS)

            def idle(own: Any, i: Array, below: Array) -> Any:
                del i
                return own, below, jnp.float32(0)

            def at_bottom(own: Any, i: Array, below: Array) -> Any:
                new, h, loss = work(0, own[0], i, below)
                return (new, own[1]), h, loss

            def above(own: Any, i: Array, below: Array) -> Any:
                new, h, loss = work(1, own[1], i, below)  # all upper layers are alike
                return (own[0], new), h, loss

            def tick(carry: tuple[Any, Array], t: Array) -> tuple[tuple[Any, Array], Array]:
                own, below = carry
                i = t - me
                busy = (i >= 0) & (i < num_steps)
                branch = jnp.where(busy, jnp.where(me == 0, 1, 2), 0)
                own, h, loss = jax.lax.switch(
                    branch,
                    (idle, at_bottom, above),
                    own,
                    jnp.clip(i, 0, num_steps - 1),
                    below,
                )
                onwards = [(k, k + 1) for k in range(number - 1)]
                return (own, jax.lax.ppermute(h, LAYERS, onwards)), loss

            nothing = jnp.zeros(h_shape.shape, h_shape.dtype)
            ticks = jnp.arange(num_steps + number - 1)
            (own, _), losses = jax.lax.scan(tick, ((lowest_state, upper_state), nothing), ticks)
            mine = jax.lax.dynamic_slice(losses, (me,), (num_steps,))
            lowest_state, upper_state = jax.tree.map(lambda leaf: leaf[None], own)
            return lowest_state, upper_state, mine[None]

        h_shape = jax.eval_shape(
            lambda: activity(
                lowest,
                progress.state.layers[0].params,
                parts(overlay, prepare(jnp.int32(0))[0]),
                prepare(jnp.int32(0))[1],
            )
        )
        # Every device has room for a lowest and for an upper layer; one of the two is its own.
        bottom, *rest = progress.state.layers
        bottoms = jax.tree.map(lambda leaf: jnp.stack([leaf] * number), bottom)
        tops = jax.tree.map(lambda *leaves: jnp.stack([leaves[0], *leaves]), *rest)
        each = PartitionSpec(LAYERS)
        bottoms, tops, losses = jax.shard_map(
            on_device, mesh=mesh, in_specs=(each, each), out_specs=each, check_vma=False
        )(bottoms, tops)
        layers = [jax.tree.map(lambda leaf: leaf[0], bottoms)]
        layers += [jax.tree.map(lambda leaf, k=k: leaf[k], tops) for k in range(1, number)]
        losses = losses.T
        state = progress.state.replace(layers=tuple(layers), step=progress.state.step + num_steps)
        return close_epoch(progress, state, losses), jnp.mean(losses, axis=0)

    return epoch
