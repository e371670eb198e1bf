"""Latents of a trained network, as functions of its state and images."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from sffa_jax.core.layer import Layer
from sffa_jax.core.network import (
    Network,
    NetworkParams,
    hidden_activities,
    layer_logits,
    predict_labels,
)
from sffa_jax.training import backprop
from sffa_jax.training.learner import State


class View(NamedTuple):
    """Activities and logits of a trained network, as functions.

    Attributes:
      hidden: (state, scaled images) -> activity of each layer, [batch, units]; the input of a
        forward-only network contains the label that it predicts.
      unlabeled: the same without a label.
      logits: (state, scaled images) -> [batch, layers, classes]; None for backprop.
    """

    hidden: Callable[[State, Array], list[Array]]
    unlabeled: Callable[[State, Array], list[Array]]
    logits: Callable[[State, Array], Array] | None


def forward_only_view(network: Network) -> View:
    """Returns the view of a forward-only network."""

    def hidden(state: State, x: Array) -> list[Array]:
        labels = predict_labels(network, state.params, x)
        return hidden_activities(network, state.params, x, labels)

    def unlabeled(state: State, x: Array) -> list[Array]:
        return without_label(network, state.params, x)

    def logits(state: State, x: Array) -> Array:
        return jnp.moveaxis(layer_logits(network, state.params, x), 0, 1)

    return View(hidden, unlabeled, logits)


def backprop_view(layers: Sequence[Layer]) -> View:
    """Returns the view of hidden layers that were trained end to end."""

    def hidden(state: State, x: Array) -> list[Array]:
        return backprop.hidden_activities(tuple(layers), state.params, x, state.body_states)

    return View(hidden, hidden, None)


def without_label(
    network: Network, params: NetworkParams, x: Float[Array, "batch *input"]
) -> list[Float[Array, "batch units"]]:
    """Returns the activity of each layer for images with a blank label code.

    A probe on this activity can use the image but not the label.
    """

    def blank(codes: Array | None) -> Array | None:
        return None if codes is None else jnp.zeros_like(codes[:1])

    overlay = params.overlay
    blank_overlay = overlay.replace(
        pattern=blank(overlay.pattern), appended=blank(overlay.appended)
    )
    labels = jnp.zeros(x.shape[:1], jnp.int32)
    return hidden_activities(network, params.replace(overlay=blank_overlay), x, labels)
