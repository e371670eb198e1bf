"""A network: layers in a row, no gradient between them, and a score for every label."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, Int, Key

from sffa_jax.checks import check_integer, reject
from sffa_jax.core.layer import Layer, Params, activity, init_layer, join
from sffa_jax.core.overlays import Overlay, Part, parts
from sffa_jax.core.rules import LocalRule, unit_length


@dataclass(frozen=True)
class Network:
    """A forward-only network.

    Attributes:
      layers: from the input upwards.
      rule: the algorithm, `rules.ffa(...)` or `rules.sffa(...)`.
      overlay: draws the overlay from a key.
      num_classes: number of labels.
      first_scored: index of the first layer whose score counts in the prediction. Hinton leaves
        out the first hidden layer of deep networks.
      input_skip: whether the layers above the first see the overlaid input beside the activity
        below (the released code's residual connections).
      joint_length: whether what such a layer sees, skipped input included, is scaled to a mean
        square of 1 as one row (the released code, by a slip of its slices). It costs the saving of
        the factored input: the length depends on sample and label.

    Raises:
      ValueError: for no layer, fewer than 2 classes, an odd width under a polar rule, or a first
        scored layer that does not exist.
    """

    layers: tuple[Layer, ...]
    rule: LocalRule
    overlay: Callable[[Array], Overlay]
    num_classes: int
    first_scored: int = 0
    input_skip: bool = False
    joint_length: bool = False

    def __post_init__(self) -> None:
        if not self.layers:
            raise reject("Network", "layers", "hold at least one layer", "none")
        check_integer("Network", "num_classes", self.num_classes, 2)
        check_integer("Network", "first_scored", self.first_scored, 0)
        if self.first_scored >= len(self.layers):
            raise reject(
                "Network", "first_scored", f"be below {len(self.layers)} layers", self.first_scored
            )
        for layer in self.layers:
            units = getattr(layer.body, "features", 0)
            if self.rule.polar and units % 2:
                raise reject(
                    "Network",
                    "layers",
                    "have an even number of units (half positive, half negative neurons)",
                    units,
                    "Choose an even layer width.",
                )
            ownership = self.rule.ownership
            if ownership is not None and units % ownership.divisor:
                raise reject(
                    "Network",
                    "layers",
                    f"have units that {ownership.classes} classes can share",
                    units,
                    f"Choose a multiple of {ownership.divisor}.",
                )
        if self.rule.ownership and self.rule.ownership.classes != self.num_classes:
            raise reject(
                "Network",
                "rule",
                f"have units for {self.num_classes} classes",
                self.rule.ownership.classes,
            )


class NetworkParams(struct.PyTreeNode):
    """Attributes: layers: each layer's own parameters; overlay: drawn once, never trained."""

    layers: tuple[Params, ...]
    overlay: Overlay


def next_input(
    network: Network,
    h: Float[Array, "batch one_or_candidates *units"],
    overlaid: Sequence[Part],
    candidates: Int[Array, "batch candidates"] | None,
) -> tuple[Part, ...]:
    """What the next layer sees of an activity. Here, and only here, the gradient is cut.

    Args:
      network: says how activity is normalized and whether the input skips layers.
      h: this layer's activity, for each sample and label candidate.
      overlaid: the network's input, from `overlays.parts`.
      candidates: the labels h belongs to; None: all, in class order.
    """
    below = Part("activity", jax.lax.stop_gradient(network.rule.normalize(h)), "candidate")
    inputs = (below, *overlaid) if network.input_skip else (below,)
    if network.joint_length:
        return (Part("joined", unit_length(join(inputs, candidates)), "candidate"),)
    return inputs


def init_network(
    network: Network, key: Key[Array, ""], x: Float[Array, "batch *input"]
) -> NetworkParams:
    """Draws overlay and weights for inputs of the shape of `x` (its values do not matter)."""
    key_overlay, key_layers = jax.random.split(key)
    overlay = network.overlay(key_overlay)
    marks = overlay.pattern is not None or overlay.appended is not None
    if marks == (network.rule.ownership is not None):
        raise reject(
            "init_network",
            "overlay",
            "be `overlays.unmarked`, since classes own units" if marks else "mark the label",
            "one that marks it" if marks else "one that marks nothing",
        )
    overlaid = inputs = parts(overlay, x)
    params = []
    for i, layer in enumerate(network.layers):
        key_layer = jax.random.fold_in(key_layers, i)
        body = init_layer(layer, key_layer, inputs)
        # Shapes are all that the next layer's parameters depend on: nothing is computed.
        h = jax.eval_shape(lambda p, inputs=inputs, layer=layer: activity(layer, p, inputs), body)
        params.append(_with_shares(network.rule, layer, jax.random.fold_in(key_layer, 1), body, h))
        inputs = next_input(network, jnp.zeros(h.shape, h.dtype), overlaid, None)
    return NetworkParams(layers=tuple(params), overlay=overlay)


SHARES = "ownership"
"""Where a layer keeps what its classes own, among its parameters."""


def _with_shares(
    rule: LocalRule, layer: Layer, key: Key[Array, ""], params: Params, h: jax.ShapeDtypeStruct
) -> Params:
    if rule.ownership is None:
        return params
    units = getattr(layer.body, "features", h.shape[-1]) if layer.by_position else h.shape[-1]
    shares = rule.ownership.init(key, units)
    if shares is None:
        return params
    if SHARES in params:
        raise reject("init_network", "layers", "have no parameter of this name", SHARES)
    return {**params, SHARES: shares}


def activities(
    network: Network,
    params: NetworkParams,
    x: Float[Array, "batch *input"],
    candidates: Int[Array, "batch candidates"] | None = None,
) -> Iterator[Float[Array, "batch one_or_candidates *units"]]:
    """Yields each layer's activity in turn, for the given label candidates (None: all)."""
    overlaid = inputs = parts(params.overlay, x)
    for layer, layer_params in zip(network.layers, params.layers, strict=True):
        h = activity(layer, layer_params, inputs, candidates)
        yield h
        inputs = next_input(network, h, overlaid, candidates)


def latents(
    network: Network,
    params: NetworkParams,
    x: Float[Array, "batch *input"],
    labels: Int[Array, " batch"],
) -> list[Float[Array, "batch units"]]:
    """Each layer's activity, flat, for samples with one label each."""
    layers = activities(network, params, x, labels[:, None])
    return [h[:, 0].reshape(x.shape[0], -1) for h in layers]


def log_odds(
    layer: Layer,
    rule: LocalRule,
    params: Params,
    h: Float[Array, "batch one_or_candidates units"],
    candidates: Int[Array, "batch candidates"] | None,
) -> Float[Array, "batch labels"]:
    """What a layer's activity says of each sample's label candidates (None: all)."""
    if layer.by_position:
        channels = getattr(layer.body, "features", 0)
        h = jnp.moveaxis(h.reshape(*h.shape[:-1], channels, -1), -1, 1)
    if rule.ownership is not None:
        h = rule.ownership.neurons(params.get(SHARES), h)
    found = rule.goodness(h)
    if layer.by_position:
        found = jnp.mean(found, axis=1)
    if rule.ownership is None or candidates is None:
        return found
    return jnp.take_along_axis(found, candidates, axis=-1)


def layer_log_odds(
    network: Network,
    params: NetworkParams,
    x: Float[Array, "batch *input"],
    candidates: Int[Array, "batch candidates"] | None = None,
) -> Float[Array, "layers batch candidates"]:
    """What each layer by itself says of the label candidates (None: all), as log-odds."""
    layers = zip(
        network.layers, params.layers, activities(network, params, x, candidates), strict=True
    )
    return jnp.stack([log_odds(layer, network.rule, p, h, candidates) for layer, p, h in layers])


def layer_scores(
    network: Network, params: NetworkParams, x: Float[Array, "batch *input"]
) -> Float[Array, "layers batch classes"]:
    """What each layer by itself says for each label, all labels at once."""
    return network.rule.score(layer_log_odds(network, params, x))


def label_scores(
    network: Network, params: NetworkParams, x: Float[Array, "batch *input"]
) -> Float[Array, "batch classes"]:
    """The sum of the layers' scores, from `first_scored` on."""
    return jnp.sum(layer_scores(network, params, x)[network.first_scored :], axis=0)


def predict(
    network: Network, params: NetworkParams, x: Float[Array, "batch *input"]
) -> Int[Array, " batch"]:
    """The label with the highest score."""
    return jnp.argmax(label_scores(network, params, x), axis=-1)
