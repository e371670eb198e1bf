"""A network as modules, each trained by a separate loss.

A forward-only network has a module per layer. A network trained end to end is a single module.
Strategies use only this view, so each strategy acts layer by layer on the former and on the entire
network of the latter.

Module k's logits have a gradient with respect to the parameters of module k only
(`network.next_input` cuts it). The gradient of the *sum* of all losses therefore equals the
gradient of each module's loss.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from sffa_jax.checks import check_choice, check_integer, reject
from sffa_jax.core import losses
from sffa_jax.core.bodies import BodyState, Params
from sffa_jax.core.layer import Layer, activity, check_layers
from sffa_jax.core.network import (
    Network,
    NetworkParams,
    activities,
    candidate_logits,
    hidden_activities,
    init_network,
    layer_logits,
    next_input,
)
from sffa_jax.core.overlays import Overlay, Part
from sffa_jax.training import backprop
from sffa_jax.training.backprop import init_layers, with_readout

Modules = tuple[Params, ...]
"""Parameters: one pytree per module."""

COUPLINGS = ("local", "released")


class LayerView(NamedTuple):
    """A forward-only network as layers with inputs of their own.

    Attributes:
      inputs: (modules, x) -> input of each layer [batch, units].
      logits: (modules, input of each layer) -> [layers, batch, labels]. Each layer reads its own
        input only, so no gradient crosses a layer.
    """

    inputs: Callable[[Modules, Array], list[Array]]
    logits: Callable[[Modules, list[Array]], Array]


class Model(NamedTuple):
    """A classifier that consists of modules, as pure functions.

    Attributes:
      init: (key, x [batch, *input]) -> parameters of each module, and the overlay, which is drawn
        once and never trained (None end to end).
      logits: (modules, overlay, x, candidates) -> [modules, batch, candidates] logit of each
        candidate label; candidates None: all labels.
      loss: (logits, targets, allowed [batch, candidates]) -> [losses, batch], in nats: one per
        module, or a single one if the modules are coupled.
      scores: [modules, batch, candidates] -> contribution of each module to a label's score.
      first_scored: first module whose score counts.
      hidden: (modules, overlay, x, labels [batch]) -> activity [batch, units] of each hidden layer,
        for images with one label each (unused if no label enters the network); None: no such layer.
      coupled: whether one loss trains all modules.
      layers: the network layer by layer, if no label enters it; else None.
      fit: (key, modules, images of the first task) -> modules with features that were learned
        without labels; see `features.extract`. None: there are none.
    """

    init: Callable[[Key[Array, ""], Array], tuple[Modules, Overlay | None]]
    logits: Callable[[Modules, Overlay | None, Array, Array | None], Array]
    loss: Callable[[Array, Array, Array], Array]
    scores: Callable[[Array], Array]
    first_scored: int = 0
    hidden: Callable[[Modules, Overlay | None, Array, Array], list[Array]] | None = None
    coupled: bool = False
    layers: LayerView | None = None
    fit: Callable[[Array, Modules, Array], Modules] | None = None


def feature_model(
    init: Callable[[Array, Array], Params],
    features: Callable[[Params, Array], Array],
    fit: Callable[[Array, Params, Array], Params] | None = None,
) -> Model:
    """A model of one module whose hidden layer contains features; it has no logits of labels.

    Args:
      init: (key, x) -> parameters.
      features: (parameters, x) -> features [batch, features].
      fit: (key, parameters, images of the first task) -> parameters; None: fixed features.
    """

    def logits(
        modules: Modules, overlay: Overlay | None, x: Array, candidates: Array | None
    ) -> Array:
        del overlay
        assert candidates is None, "features have no logits"
        return features(modules[0], x)[None]

    return Model(
        lambda key, x: ((init(key, x),), None),
        logits,
        softmax_loss,
        lambda scores: scores,
        hidden=lambda modules, _overlay, x, _labels: [features(modules[0], x)],
        fit=None if fit is None else lambda key, modules, x: (fit(key, modules[0], x),),
    )


def by_module(loss: Callable[..., Array]) -> Callable[[Array, Array, Array], Array]:
    """Applies a layer's local loss to every module separately, over the allowed candidates."""

    def losses_of(
        logits: Float[Array, "modules batch candidates"],
        targets: Bool[Array, "batch candidates"],
        allowed: Bool[Array, "batch candidates"],
    ) -> Float[Array, "modules batch"]:
        return jax.vmap(lambda module: losses.sample_losses(loss, module, targets, allowed))(logits)

    return losses_of


softmax_loss = by_module(losses.softmax_cross_entropy)


def product_loss(
    logits: Float[Array, "modules batch candidates"],
    targets: Bool[Array, "batch candidates"],
    allowed: Bool[Array, "batch candidates"],
) -> Float[Array, "1 batch"]:
    """Binary cross-entropy of the *product* of all layers' probabilities, over all allowed pairs.

    No gradient crosses a layer through activations, but the layers are coupled: the other layers'
    probabilities scale each layer's gradient.

    Reference: the released SFFA code's continual learning, which clips the product as well.
    """
    log_p = jnp.minimum(jnp.sum(jax.nn.log_sigmoid(logits), axis=0), jnp.log1p(-1e-4))
    log_not_p = jnp.where(
        log_p > -jnp.log(2.0),
        jnp.log(-jnp.expm1(jnp.maximum(log_p, -1.0))),
        jnp.log1p(-jnp.exp(jnp.minimum(log_p, -0.5))),
    )
    terms = jnp.where(targets, -log_p, -log_not_p) * allowed
    return (jnp.sum(terms, axis=-1) / jnp.sum(allowed, axis=-1))[None]


def _refuse_modes(where: str, layers: tuple[Layer, ...], states: tuple[BodyState, ...]) -> None:
    """Raises ValueError for layers that train differently than they score, or have a state."""
    for k, layer in enumerate(layers):
        if layer.has_modes or jax.tree.leaves(states[k : k + 1]):
            raise reject(
                where,
                "layers",
                "have no dropout and no running statistics",
                f"layer {k} ({layer.name})",
                "Continual learning does not support them; group normalization has neither.",
            )


def forward_only(network: Network, *, coupling: str = "local") -> Model:
    """A forward-only network as a model in which every layer is a module.

    Args:
      network: layers, rule and overlay; its number of classes is the scenario's `num_labels`.
      coupling: "local": each layer learns by the rule's loss, over the labels that compete; or
        "released": one loss of the product of the layers' probabilities replaces the rule's loss
        and score, as in the released code.

    Raises:
      ValueError: for an unknown coupling, or a rule with an activity factor.
    """
    check_choice("forward_only", "coupling", coupling, COUPLINGS)
    rule = network.rule
    if rule.activity_factor is not None:
        raise reject(
            "forward_only",
            "network",
            "have a rule without an activity factor",
            "one",
            "Continual learning does not support it: set activity_rate=None.",
        )
    if network.last_scored is not None:
        raise reject("forward_only", "network", "score its top layer", network.last_scored)
    if rule.second_term is not None:
        advice = "Continual learning does not support it."
        raise reject("forward_only", "network", "have a rule without a second term", "one", advice)

    def init(key: Array, x: Array) -> tuple[Modules, Overlay | None]:
        params = init_network(network, key, x[:1])
        _refuse_modes("forward_only", network.layers, params.states)
        return tuple(params.layers), params.overlay

    def logits(
        modules: Modules, overlay: Overlay | None, x: Array, candidates: Array | None
    ) -> Array:
        assert overlay is not None
        return layer_logits(network, NetworkParams(modules, overlay), x, candidates)

    def hidden(modules: Modules, overlay: Overlay | None, x: Array, labels: Array) -> list[Array]:
        assert overlay is not None
        return hidden_activities(network, NetworkParams(modules, overlay), x, labels)

    def inputs(modules: Modules, x: Array) -> list[Array]:
        # No label enters the network, so that an activity has one candidate.
        params, below = NetworkParams(modules, Overlay()), [x]
        for h in list(activities(network, params, x))[:-1]:
            below.append(next_input(network, h, ())[0].value[:, 0])
        return below

    def logits_of_inputs(modules: Modules, inputs: list[Array]) -> Array:
        rows = []
        for k, (layer, params, z) in enumerate(zip(network.layers, modules, inputs, strict=True)):
            # The names under which the layer's kernels are stored.
            part = Part("activity", z[:, None], "candidate") if k else Part("input", z, "sample")
            h = activity(layer, params, (part,))
            rows.append(candidate_logits(network, params, h, None))
        return jnp.stack(rows)

    released = coupling == "released"
    by_layers = rule.class_units is not None and not network.input_skip and not released
    return Model(
        init,
        logits,
        product_loss if released else by_module(rule.loss),
        jax.nn.log_sigmoid if released else rule.score,
        network.first_scored,
        hidden,
        coupled=released,
        layers=LayerView(inputs, logits_of_inputs) if by_layers else None,
    )


def end_to_end(layers: tuple[Layer, ...], num_labels: int) -> Model:
    """The baseline: the same layers and a linear readout, one module trained by backpropagation.

    The softmax excludes labels that are not candidates; with the labels of a task as candidates,
    the readout acts as one head per task.

    Raises:
      TypeError: for layers that are not `Layer`s.
      ValueError: for fewer than 2 labels.
    """
    check_layers("end_to_end", layers)
    check_integer("end_to_end", "num_labels", num_labels, 2)
    hidden_layers, layers = layers, with_readout(layers, num_labels)

    def init(key: Array, x: Array) -> tuple[Modules, None]:
        params, states = init_layers(layers, key, x)
        _refuse_modes("end_to_end", layers, states)
        return (params,), None

    def logits(
        modules: Modules, overlay: Overlay | None, x: Array, candidates: Array | None
    ) -> Array:
        del overlay
        all_labels = backprop.logits(layers, modules[0], x)
        if candidates is not None:
            all_labels = jnp.take_along_axis(all_labels, candidates, axis=-1)
        return all_labels[None]

    def hidden(modules: Modules, overlay: Overlay | None, x: Array, labels: Array) -> list[Array]:
        del overlay, labels
        return backprop.hidden_activities(hidden_layers, modules[0], x)

    return Model(init, logits, softmax_loss, lambda scores: scores, hidden=hidden)
