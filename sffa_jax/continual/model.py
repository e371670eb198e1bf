"""What learns in a stream of tasks: modules, each trained by a loss of its own.

A forward-only network is a row of modules, its layers. A network trained end to end is a single
module. Strategies are written against this view alone, so that each acts layer by layer on the one
and on the whole of the other, and none of them knows which it has.

That each module learns by its own loss is a property of `outputs`: the output of module k has a
gradient with respect to the parameters of module k and to no others (`network.next_input` cuts it).
The gradient of the *sum* of all modules' losses therefore is every module's own gradient.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from sffa_jax.checks import check_choice, check_integer
from sffa_jax.core import losses
from sffa_jax.core.layer import Layer, Params
from sffa_jax.core.network import (
    Network,
    NetworkParams,
    hidden_activities,
    init_network,
    layer_logits,
)
from sffa_jax.core.overlays import Overlay
from sffa_jax.training import backprop
from sffa_jax.training.backprop import init_layers, logits, with_read_out

Modules = tuple[Params, ...]
"""Parameters: one pytree a module."""

COUPLINGS = ("local", "released")


class Model(NamedTuple):
    """A classifier made of modules, as pure functions.

    Attributes:
      init: (key, x [batch, *input]) -> parameters of each module, and the overlay, which is drawn
        once and never trained (None end to end).
      outputs: (modules, overlay, x, candidates) -> [modules, batch, candidates] log-odds or logits
        of each label candidate; None stands for all labels.
      loss: (outputs, targets, allowed [batch, candidates]) -> [losses, batch], in nats: one a
        module, or one for all where the modules are coupled.
      scores: [modules, batch, candidates] -> what each module adds to a label's score.
      first_scored: first module whose score counts.
      hidden: (modules, overlay, x, labels [batch]) -> activity [batch, units] of each hidden layer,
        of images with one label each where the network takes one; None where it has no such layer.
    """

    init: Callable[[Key[Array, ""], Array], tuple[Modules, Overlay | None]]
    outputs: Callable[[Modules, Overlay | None, Array, Array | None], Array]
    loss: Callable[[Array, Array, Array], Array]
    scores: Callable[[Array], Array]
    first_scored: int = 0
    hidden: Callable[[Modules, Overlay | None, Array, Array], list[Array]] | None = None


def _by_module(loss: Callable[..., Array]) -> Callable[[Array, Array, Array], Array]:
    """A layer's local loss, over the allowed candidates, for every module by itself."""

    def losses_of(
        outputs: Float[Array, "modules batch candidates"],
        targets: Bool[Array, "batch candidates"],
        allowed: Bool[Array, "batch candidates"],
    ) -> Float[Array, "modules batch"]:
        return jax.vmap(lambda module: loss(module, targets, allowed=allowed))(outputs)

    return losses_of


softmax_loss = _by_module(losses.softmax_cross_entropy)
binary_loss = _by_module(losses.binary_cross_entropy)


def product_loss(
    outputs: Float[Array, "modules batch candidates"],
    targets: Bool[Array, "batch candidates"],
    allowed: Bool[Array, "batch candidates"],
) -> Float[Array, "1 batch"]:
    """Binary cross-entropy of the *product* of all layers' probabilities, over all allowed pairs.

    No activation's gradient crosses a layer, yet the layers are coupled: the factor of the others'
    probabilities scales each one's gradient.

    Reference: the released SFFA code's continual learning; it clips the product like this too.
    """
    log_p = jnp.minimum(jnp.sum(jax.nn.log_sigmoid(outputs), axis=0), jnp.log1p(-1e-4))
    log_not_p = jnp.where(
        log_p > -jnp.log(2.0),
        jnp.log(-jnp.expm1(jnp.maximum(log_p, -1.0))),
        jnp.log1p(-jnp.exp(jnp.minimum(log_p, -0.5))),
    )
    terms = jnp.where(targets, -log_p, -log_not_p) * allowed
    return (jnp.sum(terms, axis=-1) / jnp.sum(allowed, axis=-1))[None]


LOSSES = {"softmax": softmax_loss, "bce": binary_loss}


def forward_only(network: Network, *, loss: str = "softmax", coupling: str = "local") -> Model:
    """A forward-only network: every layer is a module.

    Args:
      network: layers, rule and overlay. Of the rule, goodness, normalization and score are used;
        its loss knows no candidates that are not allowed yet.
      loss: each layer's own, over the allowed candidates: "softmax" or "bce".
      coupling: "local", or "released": one loss of the product of the layers' probabilities, as in
        the released code; `loss` is then not used.

    Raises:
      ValueError: for an unknown loss or coupling.
    """
    check_choice("forward_only", "loss", loss, LOSSES)
    check_choice("forward_only", "coupling", coupling, COUPLINGS)

    def init(key: Array, x: Array) -> tuple[Modules, Overlay | None]:
        params = init_network(network, key, x[:1])
        return tuple(params.layers), params.overlay

    def outputs(
        modules: Modules, overlay: Overlay | None, x: Array, candidates: Array | None
    ) -> Array:
        assert overlay is not None
        return layer_logits(network, NetworkParams(modules, overlay), x, candidates)

    def hidden(modules: Modules, overlay: Overlay | None, x: Array, labels: Array) -> list[Array]:
        assert overlay is not None
        return hidden_activities(network, NetworkParams(modules, overlay), x, labels)

    released = coupling == "released"
    return Model(
        init,
        outputs,
        product_loss if released else LOSSES[loss],
        jax.nn.log_sigmoid if released else network.rule.score,
        network.first_scored,
        hidden,
    )


def end_to_end(layers: tuple[Layer, ...], num_labels: int) -> Model:
    """The baseline: the same layers and a linear read-out, one module trained by backpropagation.

    A label that is no candidate is left out of the softmax; with a task's own labels as candidates,
    the read-out is one head a task.

    Raises:
      ValueError: for fewer than 2 labels.
    """
    check_integer("end_to_end", "num_labels", num_labels, 2)
    hidden_layers, layers = layers, with_read_out(layers, num_labels)

    def init(key: Array, x: Array) -> tuple[Modules, None]:
        return (init_layers(layers, key, x),), None

    def outputs(
        modules: Modules, overlay: Overlay | None, x: Array, candidates: Array | None
    ) -> Array:
        del overlay
        everything = logits(layers, modules[0], x)
        if candidates is not None:
            everything = jnp.take_along_axis(everything, candidates, axis=-1)
        return everything[None]

    def hidden(modules: Modules, overlay: Overlay | None, x: Array, labels: Array) -> list[Array]:
        del overlay, labels
        return backprop.hidden_activities(hidden_layers, modules[0], x)

    return Model(init, outputs, softmax_loss, lambda scores: scores, hidden=hidden)
