"""A network: a sequence of layers without gradients between them, and a score for every label."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, Int, Key

from sffa_jax.checks import check_function, check_integer, check_integers, check_type, reject
from sffa_jax.core.bodies import BodyState, Params
from sffa_jax.core.class_units import ClassUnits
from sffa_jax.core.image_layout import flatten_maps, over_units, unflatten_maps
from sffa_jax.core.layer import Layer, activity, check_layers, init_layer
from sffa_jax.core.overlays import MakeOverlay, Overlay, Part, parts
from sffa_jax.core.rules import LocalRule


@dataclass(frozen=True)
class Network:
    """A forward-only network.

    Attributes:
      layers: from the input upwards.
      rule: the algorithm: `ffa(...)`, `sffa(...)` or a custom rule from `make_rule`.
      make_overlay: (key, input shape, number of classes) -> overlay, e.g.
        `overlays.appended_gaussian()`.
      num_classes: number of labels.
      first_scored: index of the first layer whose score counts in the prediction. Hinton leaves
        out the first hidden layer of deep networks.
      last_scored: index of the last such layer; None: the top layer.
      input_skip: whether layers above the first receive the overlaid input as well as the activity
        below (the released code's residual connections).

    Raises:
      TypeError: for layers, a rule or an overlay of another type.
      ValueError: for no layer, fewer than 2 classes, or a first scored layer that does not exist.
        The widths of layers are checked by `init_network`.

    >>> from sffa_jax.core import architectures, overlays, rules
    >>> layers = architectures.dense_layers([8, 8])
    >>> network = Network(layers, rules.sffa(), overlays.corner_one_hot(), num_classes=3)
    >>> params = init_network(network, jax.random.key(0), jnp.ones((1, 5)))
    >>> label_scores(network, params, jnp.ones((2, 5))).shape
    (2, 3)
    """

    layers: tuple[Layer, ...]
    rule: LocalRule
    make_overlay: MakeOverlay
    num_classes: int
    first_scored: int = 0
    input_skip: bool = False
    last_scored: int | None = None

    def __post_init__(self) -> None:
        check_layers("Network", self.layers)
        advice = "Call the function that makes it, e.g. `sffa()`."
        check_type("Network", "rule", self.rule, LocalRule, "be a `LocalRule`", advice)
        advice = "Call the function that makes it, e.g. `overlays.appended_gaussian()`."
        takes = "key, input_shape, num_classes"
        check_function("Network", "make_overlay", self.make_overlay, takes, advice)
        if not self.layers:
            raise reject("Network", "layers", "contain at least one layer", "none")
        check_integer("Network", "num_classes", self.num_classes, 2)
        check_integer("Network", "first_scored", self.first_scored, 0)
        if self.first_scored >= len(self.layers):
            raise reject(
                "Network", "first_scored", f"be below {len(self.layers)} layers", self.first_scored
            )
        if self.last_scored is not None:
            advice = "None: the top layer."
            check_integer("Network", "last_scored", self.last_scored, self.first_scored, advice)
            if self.last_scored >= len(self.layers):
                rule = f"be below {len(self.layers)} layers"
                raise reject("Network", "last_scored", rule, self.last_scored, advice)

    @property
    def scored(self) -> slice:
        """The layers whose scores count in the prediction."""
        return scored_layers(self.first_scored, self.last_scored)

    @property
    def class_units(self) -> ClassUnits | None:
        """Class units of this network; None if the label enters the input."""
        make = self.rule.class_units
        return None if make is None else make(self.num_classes, self.rule.polar)

    def summary(self, input_shape: Sequence[int]) -> str:
        """A table of the layers for inputs of this shape: bodies, outputs, numbers of parameters.

        Nothing is drawn or computed. `state` counts the numbers that training updates without a
        gradient, e.g. running statistics. A body of several modules is a block: gradients cross the
        modules, and the loss is local to the block.

        Raises:
          TypeError, ValueError: for what is no shape, or a layer that does not fit.

        >>> from sffa_jax.core import architectures, overlays, rules
        >>> layers = architectures.dense_layers([8, 6])
        >>> network = Network(layers, rules.sffa(), overlays.corner_one_hot(), num_classes=3)
        >>> print(network.summary((5,)))
        layer  body   output  parameters  state  trained by
            0  Dense  8               40      0  loss of layer 0
            1  Dense  6               48      0  loss of layer 1
        total                         88      0
        Strictly local: no gradient crosses a layer; each body is trained by its layer's loss.
        """
        shape = (1, *check_integers("summary", "input_shape", input_shape, 1))
        x = jax.eval_shape(partial(jnp.zeros, shape))
        params = jax.eval_shape(partial(init_network, self), jax.random.key(0), x)
        outputs = jax.eval_shape(lambda p, x: list(activities(self, p, x)), params, x)
        rows = [["layer", "body", "output", "parameters", "state", "trained by"]]
        totals = [0, 0]
        for k, (layer, h) in enumerate(zip(self.layers, outputs, strict=True)):
            counts = [
                sum(leaf.size for leaf in jax.tree.leaves(tree))
                for tree in (params.layers[k], params.states[k])
            ]
            totals = [total + count for total, count in zip(totals, counts, strict=True)]
            output = " x ".join(map(str, h.shape[2:]))
            modules = _num_modules(params.layers[k])
            trained = f"loss of layer {k}" + f", a block of {modules} modules" * (modules > 1)
            rows.append([str(k), layer.name, output, *map(str, counts), trained])
        rows.append(["total", "", "", *map(str, totals), ""])
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        right = (0, 3, 4)  # columns of numbers
        lines = [
            "  ".join(
                cell.rjust(width) if i in right and n else cell.ljust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for n, row in enumerate(rows)
        ]
        has_head = self.class_units is not None and self.class_units.is_head
        has_head = has_head or any(SECOND_TERM in of_layer for of_layer in params.layers)
        kind = "Layers with a local head" if has_head else "Strictly local"
        note = "no gradient crosses a layer; each body is trained by its layer's loss."
        return "\n".join([*lines, f"{kind}: {note}"])


def scored_layers(first: int, last: int | None) -> slice:
    """The layers from `first` to `last`, both included; None: to the top."""
    return slice(first, None if last is None else last + 1)


def _num_modules(params: Params) -> int:
    """The number of modules in a layer's body that have parameters of their own."""
    paths = jax.tree_util.tree_leaves_with_path(params.get("body", ()))
    # The last key is the parameter's name; NNX adds the attribute of its variable.
    inside = [[key for key in path if str(key) != ".value"] for path, _ in paths]
    return len({tuple(keys[:-1]) for keys in inside})


class NetworkParams(struct.PyTreeNode):
    """A network's arrays.

    Attributes:
      layers: parameters of each layer.
      overlay: drawn once, never trained.
      states: state of each layer's body, e.g. running statistics; empty: no body has a state.
    """

    layers: tuple[Params, ...]
    overlay: Overlay
    states: tuple[BodyState, ...] = ()

    def of_layers(self) -> Iterator[tuple[Params, BodyState]]:
        """Parameters and state of each layer in turn."""
        return zip(self.layers, self.states or ((),) * len(self.layers), strict=True)


def next_input(
    network: Network,
    h: Float[Array, "batch one_or_candidates *units"],
    overlaid: Sequence[Part],
) -> tuple[Part, ...]:
    """Returns the input of the next layer. This is the only place that stops the gradient.

    Args:
      network: defines the normalization and whether the input skips layers.
      h: this layer's activity, for each sample and label candidate.
      overlaid: the network's input, from `overlays.parts`.
    """
    normalized = over_units(network.rule.normalize, h, h.ndim - 2)
    if normalized.shape != h.shape:  # rows, from a function that takes no maps
        normalized = unflatten_maps(normalized, h.shape)
    below = Part("activity", jax.lax.stop_gradient(normalized), "candidate")
    return (below, *overlaid) if network.input_skip else (below,)


def init_network(
    network: Network, key: Key[Array, ""], x: Float[Array, "batch *input"]
) -> NetworkParams:
    """Draws overlay and weights for inputs of the shape of `x` (its values do not matter).

    Raises:
      ValueError: if the overlay marks the label although the rule has class units, if neither does,
        or if it marks another number of classes; if a body does not fit its input; for an odd width
        under a polar rule, or a width that the class units cannot split.

    >>> from sffa_jax.core import architectures, overlays, rules
    >>> layers = architectures.dense_layers([8, 8])
    >>> network = Network(layers, rules.sffa(), overlays.corner_one_hot(), num_classes=3)
    >>> params = init_network(network, jax.random.key(0), jnp.ones((1, 5)))
    >>> len(params.layers)
    2
    """
    key_overlay, key_layers = jax.random.split(key)
    overlay = network.make_overlay(key_overlay, x.shape[1:], network.num_classes)
    class_units = network.class_units
    for codes in (overlay.pattern, overlay.appended):
        if codes is not None and codes.shape[0] != network.num_classes:
            rule = f"mark the network's {network.num_classes} classes"
            raise reject("init_network", "make_overlay", rule, f"{codes.shape[0]} codes")
    if overlay.marks_label and class_units is not None:
        rule = "be `overlays.none()`, since the rule has class units"
        raise reject("init_network", "make_overlay", rule, "one that marks the label")
    if not overlay.marks_label and class_units is None:
        raise reject("init_network", "make_overlay", "mark the label", "one that marks nothing")
    overlaid = inputs = parts(overlay, x)
    params, states = [], []
    for k, layer in enumerate(network.layers):
        key_layer, name = jax.random.fold_in(key_layers, k), f"layers[{k}]"
        layer_params, state = init_layer(layer, key_layer, inputs, name)
        # The next layer's parameters depend on shapes only, so no activity is computed.
        h = jax.eval_shape(
            lambda p, s, inputs=inputs, layer=layer: activity(layer, p, inputs, state=s),
            layer_params,
            state,
        )
        _check_width(network, name, h.shape[-1])
        if class_units is not None:
            key_units = jax.random.fold_in(key_layer, 1)
            of_classes = class_units.init(key_units, h.shape[2:])
            if of_classes is not None:
                layer_params[CLASS_UNITS] = of_classes
        if network.rule.second_term is not None:  # `init_layer` folds 2
            head = network.rule.second_term.init(jax.random.fold_in(key_layer, 3), h.shape[2:])
            if head is not None:
                layer_params[SECOND_TERM] = head
        params.append(layer_params)
        states.append(state)
        inputs = next_input(network, jnp.zeros(h.shape, h.dtype), overlaid)
    return NetworkParams(tuple(params), overlay, tuple(states))


def _check_width(network: Network, name: str, units: int) -> None:
    if network.rule.polar and units % 2:
        raise reject(
            "init_network",
            name,
            "have an even number of units (half positive, half negative neurons)",
            units,
            "Choose an even layer width.",
        )
    if network.class_units is not None and units % network.class_units.divisor:
        raise reject(
            "init_network",
            name,
            f"have units that {network.num_classes} classes can share",
            units,
            f"Choose a multiple of {network.class_units.divisor}.",
        )


CLASS_UNITS = "class_units"
"""Name of the class units' parameters among a layer's parameters."""

SECOND_TERM = "second_term"
"""Name of the parameters of the second term's local head among a layer's parameters."""


def activities(
    network: Network,
    params: NetworkParams,
    x: Float[Array, "batch *input"],
    candidates: Int[Array, "batch candidates"] | None = None,
) -> Iterator[Float[Array, "batch one_or_candidates *units"]]:
    """Yields each layer's activity in turn, for the given label candidates (None: all)."""
    overlaid = inputs = parts(params.overlay, x)
    for layer, (of_layer, state) in zip(network.layers, params.of_layers(), strict=True):
        h = activity(layer, of_layer, inputs, candidates, state)
        yield h
        inputs = next_input(network, h, overlaid)


def hidden_activities(
    network: Network,
    params: NetworkParams,
    x: Float[Array, "batch *input"],
    labels: Int[Array, " batch"],
) -> list[Float[Array, "batch units"]]:
    """Each layer's activity, flat, for samples with one label each."""
    layers = activities(network, params, x, labels[:, None])
    return [flat(h[:, 0]) for h in layers]


def flat(h: Float[Array, "batch *units"]) -> Float[Array, "batch units"]:
    """Rows of units, of at least float32; maps one after another."""
    h = h.astype(jnp.promote_types(h.dtype, jnp.float32))
    return flatten_maps(h) if h.ndim == 4 else h


def candidate_logits(
    network: Network,
    params: Params,
    h: Float[Array, "batch one_or_candidates *units"],
    candidates: Int[Array, "batch candidates"] | None,
) -> Float[Array, "batch labels"]:
    """One layer's logits of each sample's label candidates (None: all), from its activity."""
    class_units = network.class_units

    def logit(h: Array) -> Array:
        # Maps may be of type bfloat16; sums over units need float32.
        h = h.astype(jnp.promote_types(h.dtype, jnp.float32))
        logits = over_units(network.rule.logit, h, h.ndim - 2)
        if logits.shape != h.shape[:2]:
            rule, got = "map activity [..., units] to [...]", f"{h.shape} to {logits.shape}"
            raise reject("candidate_logits", "logit", rule, got)
        return logits

    if class_units is None:
        return logit(h)
    select = partial(class_units.select, params.get(CLASS_UNITS))
    logits = logit(over_units(select, h, h.ndim - 2))
    return logits if candidates is None else jnp.take_along_axis(logits, candidates, axis=-1)


def layer_logits(
    network: Network,
    params: NetworkParams,
    x: Float[Array, "batch *input"],
    candidates: Int[Array, "batch candidates"] | None = None,
) -> Float[Array, "layers batch candidates"]:
    """Each layer's logits of the label candidates (None: all)."""
    layers = zip(params.layers, activities(network, params, x, candidates), strict=True)
    return jnp.stack([candidate_logits(network, p, h, candidates) for p, h in layers])


def layer_scores(
    network: Network, params: NetworkParams, x: Float[Array, "batch *input"]
) -> Float[Array, "layers batch classes"]:
    """Contribution of each layer to the score of each label."""
    return network.rule.score(layer_logits(network, params, x))


def label_scores(
    network: Network, params: NetworkParams, x: Float[Array, "batch *input"]
) -> Float[Array, "batch classes"]:
    """The sum of the scores of the layers that count, for one batch of scaled images.

    >>> from sffa_jax.core import architectures, overlays, rules
    >>> layers = architectures.dense_layers([8, 8])
    >>> network = Network(layers, rules.sffa(), overlays.corner_one_hot(), num_classes=3)
    >>> params = init_network(network, jax.random.key(0), jnp.ones((1, 5)))
    >>> label_scores(network, params, jnp.ones((2, 5))).shape
    (2, 3)
    """
    return jnp.sum(layer_scores(network, params, x)[network.scored], axis=0)


def predict_labels(
    network: Network, params: NetworkParams, x: Float[Array, "batch *input"]
) -> Int[Array, " batch"]:
    """The label with the highest score, for one batch of scaled images."""
    return jnp.argmax(label_scores(network, params, x), axis=-1)
