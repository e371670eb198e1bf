"""Layer-local learning: each layer is updated by the gradient of its own loss alone."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jaxtyping import Array, Bool, Float, Int

from sffa_jax.checks import check_choice, check_range
from sffa_jax.core.layer import Layer, Params, activity
from sffa_jax.core.negatives import NEGATIVES, targets
from sffa_jax.core.network import (
    Network,
    NetworkParams,
    init_network,
    label_scores,
    layer_scores,
    log_odds,
    next_input,
)
from sffa_jax.core.overlays import Overlay, Part, parts
from sffa_jax.core.rules import LocalRule
from sffa_jax.training.adversarial import perturb
from sffa_jax.training.learner import Learner


class LayerState(struct.PyTreeNode):
    """One layer's parameters and its own optimizer's state."""

    params: Params
    opt_state: optax.OptState


class LocalState(struct.PyTreeNode):
    """A forward-only network in training."""

    layers: tuple[LayerState, ...]
    overlay: Overlay

    @property
    def params(self) -> NetworkParams:
        """The network's parameters, as `network.label_scores` and `predict` take them."""
        return NetworkParams(tuple(layer.params for layer in self.layers), self.overlay)


class LayerInfo(NamedTuple):
    """What a layer's step saw, before its update.

    Attributes:
      loss: [batch] local loss, nats.
      log_odds: [batch, candidates].
      activity: [batch, candidates (1 where no input depends on the label), *units].
    """

    loss: Float[Array, " batch"]
    log_odds: Float[Array, "batch candidates"]
    activity: Float[Array, "batch one_or_candidates *units"]


def layer_loss(
    layer: Layer,
    rule: LocalRule,
    params: Params,
    inputs: Sequence[Part],
    candidates: Int[Array, "batch candidates"] | None,
    is_target: Bool[Array, "batch candidates"],
) -> LayerInfo:
    """The local loss of one layer: a function of this layer's parameters and its input."""
    h = activity(layer, params, inputs, candidates)
    found = log_odds(layer, rule, params, h, candidates)
    loss = rule.loss(found, is_target)
    if rule.activity_factor is not None:
        loss = loss * rule.activity_factor(h, is_target)
    return LayerInfo(loss, found, h)


def layer_step(
    layer: Layer,
    rule: LocalRule,
    optimizer: optax.GradientTransformation,
    state: LayerState,
    inputs: Sequence[Part],
    candidates: Int[Array, "batch candidates"] | None,
    is_target: Bool[Array, "batch candidates"],
) -> tuple[LayerState, LayerInfo]:
    """One update of one layer. Nothing but its own parameters is differentiated."""

    def mean_loss(params: Params) -> tuple[Array, LayerInfo]:
        info = layer_loss(layer, rule, params, inputs, candidates, is_target)
        return jnp.mean(info.loss), info

    gradient, info = jax.grad(mean_loss, has_aux=True)(state.params)
    updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
    return LayerState(optax.apply_updates(state.params, updates), opt_state), info


def local_learner(
    network: Network,
    optimizer: optax.GradientTransformation,
    *,
    negatives: str = "uniform",
    fresh: bool = False,
    adversarial: float | Array | None = None,
) -> Learner:
    """Trains a network layer by layer, all layers on every batch.

    Args:
      network: layers, rule and overlay.
      optimizer: each layer runs it by itself, with its own state.
      negatives: "uniform", "hard" or "all".
      fresh: whether a layer sees the activity of the layer below after this batch's update, which
        costs one more forward pass of that layer (the released code), or from before it.
      adversarial: how far images are moved to where the *first* layer's loss is higher, see
        `adversarial.perturb`: still no gradient crosses a layer. None does not move them.

    Raises:
      ValueError: for an unknown choice of negatives or a move that is not positive.
    """
    check_choice("local_learner", "negatives", negatives, NEGATIVES)
    if adversarial is not None:
        check_range("local_learner", "adversarial", adversarial, above=0, advice="None: no move.")
    choose = NEGATIVES[negatives]

    def init(key: Array, x: Array) -> LocalState:
        params = init_network(network, key, x[:1])
        return LocalState(
            tuple(LayerState(p, optimizer.init(p)) for p in params.layers), params.overlay
        )

    def step(state: LocalState, key: Array, x: Array, labels: Array) -> tuple[LocalState, Array]:
        candidates = choose(
            key, labels, network.num_classes, lambda: label_scores(network, state.params, x)
        )
        is_target = targets(candidates, labels, network.num_classes)
        if adversarial is not None:
            first, params = network.layers[0], state.layers[0].params

            def losses_of(x: Array) -> Array:
                inputs = parts(state.overlay, x)
                return layer_loss(first, network.rule, params, inputs, candidates, is_target).loss

            x = perturb(losses_of, x, adversarial)
        overlaid = inputs = parts(state.overlay, x)
        new_layers, losses = [], []
        for layer, layer_state in zip(network.layers, state.layers, strict=True):
            layer_state, info = layer_step(
                layer, network.rule, optimizer, layer_state, inputs, candidates, is_target
            )
            h = activity(layer, layer_state.params, inputs, candidates) if fresh else info.activity
            inputs = next_input(network, h, overlaid, candidates)
            new_layers.append(layer_state)
            losses.append(jnp.mean(info.loss))
        return state.replace(layers=tuple(new_layers)), jnp.stack(losses)

    def scores(state: LocalState, x: Array) -> Array:
        return layer_scores(network, state.params, x)

    return Learner(init, step, scores, network.first_scored)
