"""What each layer makes of a sample: [samples, units] a layer, as other measurements take it."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from sffa_jax.layers import Layer, Params, activity
from sffa_jax.network import Network, NetworkParams, activities
from sffa_jax.overlays import Part


def with_label(
    network: Network,
    params: NetworkParams,
    x: Float[Array, "batch *input"],
    labels: Int[Array, " batch"],
) -> list[Float[Array, "batch units"]]:
    """Activity of each layer for samples with one label each, flat."""
    layers = activities(network, params, x, labels[:, None])
    return [h[:, 0].reshape(x.shape[0], -1) for h in layers]


def without_label(
    network: Network, params: NetworkParams, x: Float[Array, "batch *input"]
) -> list[Float[Array, "batch units"]]:
    """Activity of each layer for samples that carry no label: its code is blank.

    What a probe finds in it was found in the image, not read off the label.
    """

    def blank(codes: Array | None) -> Array | None:
        return None if codes is None else jnp.zeros_like(codes[:1])

    overlay = params.overlay
    told_nothing = overlay.replace(pattern=blank(overlay.pattern), appended=blank(overlay.appended))
    nobody = jnp.zeros(x.shape[:1], jnp.int32)
    return with_label(network, NetworkParams(params.layers, told_nothing), x, nobody)


def end_to_end(
    layers: tuple[Layer, ...], params: tuple[Params, ...], x: Float[Array, "batch *input"]
) -> list[Float[Array, "batch units"]]:
    """Activity of each hidden layer of a network trained by backpropagation.

    Args:
      layers: the hidden ones.
      params: of these, and further ones that are not looked at (the read-out's).
      x: scaled images.
    """
    h, found = x, []
    for layer, own in zip(layers, params, strict=False):
        h = activity(layer, own, (Part("input", h, "sample"),))[:, 0]
        found.append(h.reshape(x.shape[0], -1))
    return found
