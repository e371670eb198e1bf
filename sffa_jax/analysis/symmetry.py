"""Loss and gradient of positive and of negative samples in a layer.

FFA's loss is not symmetric: the loss of a positive sample falls to zero as the energy grows, and
its gradient vanishes at zero activity; the loss of a negative sample is lowest at zero activity.
SFFA's loss is symmetric: exchanging positive and negative neurons exchanges the two kinds of
samples.

Reference: Terres-Escudero et al. 2024, arXiv:2409.07387, section 4.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from sffa_jax.checks import reject
from sffa_jax.core.bodies import BodyState, Params
from sffa_jax.core.image_layout import over_units
from sffa_jax.core.layer import Layer, activity
from sffa_jax.core.losses import binary_cross_entropy
from sffa_jax.core.network import Network, NetworkParams, next_input
from sffa_jax.core.overlays import Part, parts
from sffa_jax.core.rules import LocalRule


def sample_losses(
    rule: LocalRule, h: Float[Array, "*samples units"], unit_axes: int = 1
) -> tuple[Float[Array, "*samples"], Float[Array, "*samples"]]:
    """Returns the losses of an activity as a positive and as a negative sample; nats.

    Args:
      rule: a rule without class units.
      h: activity.
      unit_axes: number of last axes of `h` that contain units: 3 for maps [h, w, c].

    Raises:
      ValueError: for a rule whose loss does not treat the two kinds of sample separately: another
        loss than "bce", an activity factor (a factor on the whole batch), or class units.

    >>> from sffa_jax.core.rules import sffa
    >>> positive, negative = sample_losses(sffa(), jnp.zeros(4))
    >>> bool(positive == negative)
    True
    """
    if rule.loss is not binary_cross_entropy:
        raise reject("sample_losses", "rule", 'have the loss "bce"', rule.loss)
    if rule.activity_factor is not None:
        advice = "Use rule._replace(activity_factor=None)."
        raise reject("sample_losses", "rule", "have no activity factor", "one", advice)
    if rule.class_units is not None:
        raise reject("sample_losses", "rule", "have no class units", "a rule with them")
    logits = over_units(rule.logit, h, unit_axes)
    return jax.nn.softplus(-logits), jax.nn.softplus(logits)


class Landscape(NamedTuple):
    """The loss of a layer of two neurons over their activity.

    Attributes:
      grid: [points] activities at which each neuron is evaluated.
      loss: [2, points, points] for positive (0) and negative (1) samples, nats; the second axis
        is the activity of the positive neuron, the third that of the negative one.
      slope: [2, points, points, 2] gradient of the loss by (positive, negative) neuron.
    """

    grid: Float[Array, " points"]
    loss: Float[Array, "2 points points"]
    slope: Float[Array, "2 points points 2"]


def landscape(rule: LocalRule, *, highest: float = 3.0, points: int = 61) -> Landscape:
    """Evaluates the loss of both kinds of sample on a grid from 0 to `highest`."""
    grid = jnp.linspace(0.0, highest, points)

    @jax.jit
    def losses_and_slopes(grid: Array) -> tuple[Array, Array]:
        h = jnp.stack(jnp.meshgrid(grid, grid, indexing="ij"), axis=-1)
        # The loss of a point depends on its activity only, so one gradient of the sum gives all.
        slopes = [
            jax.grad(lambda h, kind=kind: sample_losses(rule, h)[kind].sum())(h) for kind in (0, 1)
        ]
        return jnp.stack(sample_losses(rule, h)), jnp.stack(slopes)

    return Landscape(grid, *losses_and_slopes(grid))


def gradient_norms(
    network: Network,
    params: NetworkParams,
    x: Float[Array, "batch *input"],
    labels: Int[Array, " batch"],
    wrong: Int[Array, " batch"],
) -> Float[Array, "layers 2"]:
    """Returns the gradient norms of each layer's weights for positive and for negative samples.

    Args:
      network, params: a forward-only network.
      x: images, scaled.
      labels: their true labels (the positive samples).
      wrong: a wrong label for each (the negative samples).

    Returns:
      For each layer the Euclidean norm of the gradient of the mean loss of the positive (0) and
      of the negative (1) samples.
    """
    candidates = jnp.stack([labels, wrong], axis=-1)
    overlaid = inputs = parts(params.overlay, x)

    def mean_losses(
        layer_params: Params, layer: Layer, inputs: Sequence[Part], state: BodyState
    ) -> tuple[Float[Array, " 2"], Array]:
        h = activity(layer, layer_params, inputs, candidates, state)
        positive, negative = sample_losses(network.rule, h, h.ndim - 2)
        return jnp.stack([jnp.mean(positive[:, 0]), jnp.mean(negative[:, 1])]), h

    norms = []
    for layer, (layer_params, state) in zip(network.layers, params.of_layers(), strict=True):
        jacobian, h = jax.jacrev(mean_losses, has_aux=True)(layer_params, layer, inputs, state)
        squares = [
            jnp.sum(jnp.square(leaf.reshape(2, -1)), axis=-1) for leaf in jax.tree.leaves(jacobian)
        ]
        norms.append(jnp.sqrt(sum(squares)))
        inputs = next_input(network, h, overlaid)
    return jnp.stack(norms)
