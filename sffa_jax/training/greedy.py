"""Greedy learning: one layer after another, each on the finished layer below it."""

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jaxtyping import Array, Int

from sffa_jax.checks import check_choice, check_integer
from sffa_jax.core.layer import activity
from sffa_jax.core.negatives import NEGATIVES, targets
from sffa_jax.core.network import Network, next_input
from sffa_jax.core.overlays import parts
from sffa_jax.training.learner import Learner
from sffa_jax.training.local import LocalState, layer_step, local_learner


class GreedyState(struct.PyTreeNode):
    """Attributes: network: all layers; step: updates done, which says whose turn it is."""

    network: LocalState
    step: Int[Array, ""]


def greedy_learner(
    network: Network,
    optimizer: optax.GradientTransformation,
    steps_per_layer: int,
    *,
    negatives: str = "uniform",
) -> Learner:
    """Trains the first layer for `steps_per_layer` updates, then the second, and so on.

    The last layer goes on if there are more updates. A prediction is made by the layers that have
    begun to learn; a step's losses are 0 but for the layer at work. "hard" negatives are drawn by
    the same layers' scores.

    Args:
      network: layers, rule and overlay; all layers are scored (`first_scored` 0).
      optimizer: each layer runs it by itself; schedules count that layer's updates.
      steps_per_layer: updates of each layer.
      negatives: "uniform", "hard" or "all".

    Raises:
      ValueError: for fewer than one step or an unknown choice of negatives.

    Reference: Hinton 2022, arXiv:2212.13345, section 2 ("greedy multi-layer learning").
    """
    check_choice("greedy_learner", "negatives", negatives, NEGATIVES)
    check_integer("greedy_learner", "steps_per_layer", steps_per_layer, 1)
    whole = local_learner(network, optimizer, negatives=negatives)
    depth = len(network.layers)

    def turn(state: GreedyState) -> Array:
        return jnp.minimum(state.step // steps_per_layer, depth - 1)

    def init(key: Array, x: Array) -> GreedyState:
        return GreedyState(whole.init(key, x), jnp.int32(0))

    def step(state: GreedyState, key: Array, x: Array, labels: Array) -> tuple[GreedyState, Array]:
        candidates = NEGATIVES[negatives](
            key, labels, network.num_classes, lambda: jnp.sum(scores(state, x), axis=0)
        )
        is_target = targets(candidates, labels, network.num_classes)
        overlaid = parts(state.network.overlay, x)

        def train(k: int, layers: tuple) -> tuple[tuple, Array]:
            inputs = overlaid
            for layer, below in zip(network.layers[:k], layers[:k], strict=True):
                h = activity(layer, below.params, inputs, candidates)
                inputs = next_input(network, h, overlaid, candidates)
            trained, info = layer_step(
                network.layers[k], network.rule, optimizer, layers[k], inputs, candidates, is_target
            )
            losses = jnp.zeros(depth).at[k].set(jnp.mean(info.loss))
            return (*layers[:k], trained, *layers[k + 1 :]), losses

        # Only the branch of the layer at work runs: finished layers cost a forward pass, no more.
        branches = [lambda layers, k=k: train(k, layers) for k in range(depth)]
        layers, losses = jax.lax.switch(turn(state), branches, state.network.layers)
        return GreedyState(state.network.replace(layers=layers), state.step + 1), losses

    def scores(state: GreedyState, x: Array) -> Array:
        begun = jnp.arange(depth) <= turn(state)
        return jnp.where(begun[:, None, None], whole.scores(state.network, x), 0.0)

    return Learner(init, step, scores)
