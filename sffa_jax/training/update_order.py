"""Update orders: which layers learn from a batch, and which activity the next layer receives.

The update of a layer is always the same (`LayerUpdates.update`). An order decides when it runs:
`simultaneous` and `sequential` update every layer on every batch; `greedy` finishes one layer
before the next one starts.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from sffa_jax.checks import check_integer
from sffa_jax.core.layer import passed_on, training_activity
from sffa_jax.core.network import Network, next_input
from sffa_jax.core.overlays import Part

Inputs = tuple[Part, ...]
States = tuple[Any, ...]
"""`LayerState` of each layer."""


@dataclass(frozen=True)
class LayerUpdates:
    """The updates of a network's layers on one batch; an update order calls them.

    Attributes:
      network: the network.
      update: (k, state of layer k, inputs of layer k) -> (updated state, `LayerInfo` with the loss
        and the activity from before the update).
      inputs: inputs of the first layer, the overlaid images.
      candidates: label candidates of each sample; None: all.
      key: random key of this training step.
    """

    network: Network
    update: Callable[[int, Any, Inputs], tuple[Any, Any]]
    inputs: Inputs
    candidates: Int[Array, "batch candidates"] | None
    key: Key[Array, ""]

    def activity(self, k: int, state: Any, inputs: Inputs) -> Array:
        """Returns the activity of layer k that the next layer receives, without an update.

        The body trains as in an update, with the same random key; its new state is not kept.
        """
        layer = self.network.layers[k]
        key = layer.key(self.key, k)
        arguments = layer, state.params, state.body_state, inputs, self.candidates, key
        return passed_on(layer, training_activity(*arguments)[0], key)

    def next_inputs(self, h: Array) -> Inputs:
        """Returns the inputs of the next layer; no gradient flows through them."""
        return next_input(self.network, h, self.inputs)


Update = Callable[[LayerUpdates, States, Int[Array, ""]], tuple[States, Float[Array, " layers"]]]
"""(updates, states of all layers, number of earlier updates) -> (states, mean loss of each)."""


class UpdateOrder(NamedTuple):
    """An order of layer updates; `local_learner` also takes an `update` function alone.

    Attributes:
      update: one training step, see `Update`.
      has_started: (number of updates so far, number of layers) -> [layers] whether each layer has
        started to learn. Only those layers score labels. None: all layers.
    """

    update: Update
    has_started: Callable[[Array, int], Bool[Array, " layers"]] | None = None


def simultaneous(
    updates: LayerUpdates, states: States, step: Int[Array, ""]
) -> tuple[States, Float[Array, " layers"]]:
    """Gives each layer the activity of the layer below from before this batch's update."""
    del step
    inputs, updated, losses = updates.inputs, [], []
    for k, state in enumerate(states):
        state, info = updates.update(k, state, inputs)
        # One layer after another, so that the memory of an update does not grow with depth.
        state, h = jax.lax.optimization_barrier((state, info.activity))
        inputs = updates.next_inputs(h)
        updated.append(state)
        losses.append(jnp.mean(info.loss))
    return tuple(updated), jnp.stack(losses)


def sequential(
    updates: LayerUpdates, states: States, step: Int[Array, ""]
) -> tuple[States, Float[Array, " layers"]]:
    """Gives each layer the activity of the layer below from after this batch's update.

    This costs one more forward pass per layer. Reference: the released SFFA code.
    """
    del step
    inputs, updated, losses = updates.inputs, [], []
    for k, state in enumerate(states):
        state, info = updates.update(k, state, inputs)
        inputs = updates.next_inputs(updates.activity(k, state, inputs))
        updated.append(state)
        losses.append(jnp.mean(info.loss))
    return tuple(updated), jnp.stack(losses)


def greedy(steps_per_layer: int) -> UpdateOrder:
    """Trains the first layer for `steps_per_layer` updates, then the second, and so on.

    The last layer continues if there are more updates. The losses of all layers except the learning
    one are 0.

    Args:
      steps_per_layer: updates of each layer.

    Raises:
      ValueError: for fewer than one update.

    Reference: Hinton 2022, arXiv:2212.13345, section 2 ("greedy multi-layer learning").

    >>> greedy(10).has_started(jnp.int32(11), 3)
    Array([ True,  True, False], dtype=bool)
    """
    check_integer("greedy", "steps_per_layer", steps_per_layer, 1)

    return UpdateOrder(
        partial(_update_greedily, steps_per_layer), partial(_started, steps_per_layer)
    )


def _learning_layer(steps_per_layer: int, step: Int[Array, ""], depth: int) -> Int[Array, ""]:
    return jnp.minimum(step // steps_per_layer, depth - 1)


def _started(steps_per_layer: int, step: Int[Array, ""], depth: int) -> Bool[Array, " layers"]:
    last = jnp.maximum(step - 1, 0)  # the layer that the next update trains first has not started
    return jnp.arange(depth) <= _learning_layer(steps_per_layer, last, depth)


def _update_greedily(
    steps_per_layer: int, updates: LayerUpdates, states: States, step: Int[Array, ""]
) -> tuple[States, Float[Array, " layers"]]:
    depth = len(states)

    def train(k: int, states: States) -> tuple[States, Array]:
        inputs = updates.inputs
        for below in range(k):
            inputs = updates.next_inputs(updates.activity(below, states[below], inputs))
        state, info = updates.update(k, states[k], inputs)
        losses = jnp.zeros(depth).at[k].set(jnp.mean(info.loss))
        return (*states[:k], state, *states[k + 1 :]), losses

    # Only the learning layer's branch runs: finished layers cost only a forward pass.
    branches = [lambda states, k=k: train(k, states) for k in range(depth)]
    return jax.lax.switch(_learning_layer(steps_per_layer, step, depth), branches, states)


UPDATE_ORDERS: dict[str, Update] = {"simultaneous": simultaneous, "sequential": sequential}
"""Orders by name; `greedy(steps_per_layer)` needs a number and is passed as a value."""
