"""What each layer makes of an image that carries no label."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from sffa_jax.core.network import Network, NetworkParams, latents


def without_label(
    network: Network, params: NetworkParams, x: Float[Array, "batch *input"]
) -> list[Float[Array, "batch units"]]:
    """Activity of each layer for samples whose label code is blank.

    What a probe finds in it was found in the image, not read off the label.
    """

    def blank(codes: Array | None) -> Array | None:
        return None if codes is None else jnp.zeros_like(codes[:1])

    overlay = params.overlay
    told_nothing = overlay.replace(pattern=blank(overlay.pattern), appended=blank(overlay.appended))
    nobody = jnp.zeros(x.shape[:1], jnp.int32)
    return latents(network, NetworkParams(params.layers, told_nothing), x, nobody)
