"""Goodness: how strongly a layer's activity says "this sample is positive", as log-odds.

Both algorithms are written in log-odds l, so that p(positive) = sigmoid(l) and the local loss
is softplus(-l) for a positive sample and softplus(l) for a negative one. Nothing needs
clipping, and values and gradients stay finite at zero activity.

Symbols: h is the activity of a layer, P its positive neurons (first half), N its negative
neurons (second half), tau the sharpness, theta the threshold, epsilon the floor.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from sffa_jax.checks import reject


def energy(
    h: Float[Array, "*samples units"],
    *,
    threshold: float | Array = 2.0,
    sharpness: float | Array = 1.0,
) -> Float[Array, "*samples"]:
    """FFA's log-odds: tau (G - theta), where the goodness G is the *mean* of the squares.

    Args:
      h: activity of the layer, one row a sample.
      threshold: theta, the goodness at which a sample is called positive with probability 1/2.
      sharpness: tau, how fast the log-odds grow with the goodness.

    Returns:
      Log-odds that each sample is positive, in nats.

    Reference: Hinton 2022, arXiv:2212.13345, section 2 (sum of squares). Differs from it: the
    mean, as in the released SFFA code, so that one threshold serves every width; the sharpness
    (1 there).
    """
    return sharpness * (jnp.mean(jnp.square(h), axis=-1) - threshold)


def split_polarity(
    h: Float[Array, "*samples units"],
) -> tuple[Float[Array, "*samples half"], Float[Array, "*samples half"]]:
    """Splits the units of a layer into its positive (first) and negative (second) half.

    Raises:
      ValueError: if the number of units is odd.
    """
    units = h.shape[-1]
    if units % 2:
        raise reject(
            "split_polarity",
            "h",
            "have an even last axis (half positive, half negative neurons)",
            f"shape {h.shape}",
            "Choose an even layer width.",
        )
    return h[..., : units // 2], h[..., units // 2 :]


def polar_ratio(
    h: Float[Array, "*samples units"],
    *,
    sharpness: float | Array = 1.0,
    floor: float | Array = 1e-9,
) -> Float[Array, "*samples"]:
    """SFFA's log-odds: tau [log(sum_P h^2 + epsilon) - log(sum_N h^2 + epsilon)].

    With tau = 1, sigmoid of it is the paper's goodness
    (sum_P h^2 + epsilon) / (sum h^2 + 2 epsilon): the share of the activity that lies in the
    positive neurons. Exchanging P and N negates it, which is the symmetry of the loss.

    Args:
      h: activity of the layer, one row a sample; positive neurons first.
      sharpness: tau. A ratio of sums over hundreds of neurons moves little; tau > 1 makes up
        for it.
      floor: epsilon > 0, in units of squared activity: keeps the logarithm finite at rest and
        makes weak activity say little.

    Returns:
      Log-odds that each sample is positive, in nats; 0 at zero activity.

    Raises:
      ValueError: if the number of units is odd.

    Reference: Terres-Escudero et al., CoLLAs 2024, arXiv:2409.07387. Differs from it: log-odds
    instead of a clipped probability, and the sharpness (1 there).
    """
    plus, minus = (jnp.sum(jnp.square(half), axis=-1) for half in split_polarity(h))
    return sharpness * (jnp.log(plus + floor) - jnp.log(minus + floor))
