"""Goodness: how strongly a layer's activity says "this sample is positive", as log-odds.

Both algorithms are written in log-odds l, so that p(positive) = sigmoid(l) and the local loss
is softplus(-l) for a positive sample and softplus(l) for a negative one. Nothing needs
clipping, and values and gradients stay finite at zero activity.

Symbols: h is the activity of a layer, P its positive neurons (first half), N its negative
neurons (second half), m a measure of activity, tau the logit scale, theta the threshold, epsilon a
small positive number. Energy (FFA), the ratio of the halves (SFFA) and their difference
(Polar-FFA), each with any measure, are the family of Terres-Escudero et al. 2024, arXiv:2408.09210.
"""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float

from sffa_jax.checks import check_choice, check_range, reject


def _norm(h: Array) -> Array:
    # Epsilon sits inside the root: the gradient of a norm at zero is undefined.
    return jnp.sqrt(jnp.sum(jnp.square(h), axis=-1) + 1e-12)


MEASURES: dict[str, Callable[[Array], Array]] = {
    "sum_square": lambda h: jnp.sum(jnp.square(h), axis=-1),
    "mean_square": lambda h: jnp.mean(jnp.square(h), axis=-1),
    "norm": _norm,
    "root_mean_square": lambda h: _norm(h) / h.shape[-1] ** 0.5,
    "sum": lambda h: jnp.sum(jnp.abs(h), axis=-1),
    "mean": lambda h: jnp.mean(jnp.abs(h), axis=-1),
}
"""How much activity there is: [..., units] -> [...], by squares or by absolute values."""


def _measure(where: str, name: str) -> Callable[[Array], Array]:
    check_choice(where, "measure", name, MEASURES)
    return MEASURES[name]


def energy(
    h: Float[Array, "*samples units"],
    *,
    threshold: float | Array = 2.0,
    logit_scale: float | Array = 1.0,
    measure: str = "mean_square",
) -> Float[Array, "*samples"]:
    """FFA's log-odds: tau (m(h) - theta), where m is the *mean* of the squares if not said.

    Args:
      h: activity of the layer, one row a sample.
      threshold: theta, the goodness at which a sample is called positive with probability 1/2.
      logit_scale: tau, how fast the log-odds grow with the goodness.
      measure: m, one of `MEASURES`.

    Returns:
      Log-odds that each sample is positive, in nats.

    Raises:
      ValueError: for an unknown measure or a number out of range.

    Reference: Hinton 2022, arXiv:2212.13345, section 2 (sum of squares). Differs from it: the
    mean, as in the released SFFA code, so that one threshold serves every width; the logit scale
    (1 there).
    """
    check_range("energy", "threshold", threshold)
    check_range("energy", "logit_scale", logit_scale, above=0)
    return logit_scale * (_measure("energy", measure)(h) - threshold)


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
    logit_scale: float | Array = 1.0,
    eps: float | Array = 1e-9,
    measure: str = "sum_square",
) -> Float[Array, "*samples"]:
    """SFFA's log-odds: tau [log(m(h_P) + epsilon) - log(m(h_N) + epsilon)], m the sum of squares.

    With tau = 1, sigmoid of it is the paper's goodness
    (sum_P h^2 + epsilon) / (sum h^2 + 2 epsilon): the share of the activity that lies in the
    positive neurons. Exchanging P and N negates it, which is the symmetry of the loss.

    Args:
      h: activity of the layer, one row a sample; positive neurons first.
      logit_scale: tau. A ratio of sums over hundreds of neurons moves little; tau > 1 makes up
        for it.
      eps: epsilon > 0, in units of the measure: keeps the logarithm finite at rest and makes weak
        activity say little.
      measure: m, one of `MEASURES`.

    Returns:
      Log-odds that each sample is positive, in nats; 0 at zero activity.

    Raises:
      ValueError: if the number of units is odd, for an unknown measure or a number out of range.

    Reference: Terres-Escudero et al., CoLLAs 2024, arXiv:2409.07387. Differs from it: log-odds
    instead of a clipped probability, and the logit scale (1 there).
    """
    check_range("polar_ratio", "logit_scale", logit_scale, above=0)
    check_range("polar_ratio", "eps", eps, above=0)
    plus, minus = map(_measure("polar_ratio", measure), split_polarity(h))
    return logit_scale * (jnp.log(plus + eps) - jnp.log(minus + eps))


def polar_difference(
    h: Float[Array, "*samples units"],
    *,
    threshold: float | Array = 0.0,
    logit_scale: float | Array = 1.0,
    measure: str = "mean_square",
) -> Float[Array, "*samples"]:
    """Polar-FFA's log-odds under its sigmoid: tau (m(h_P) - m(h_N) - theta).

    Args:
      h: activity of the layer, one row a sample; positive neurons first.
      threshold: theta; 0 keeps the symmetry.
      logit_scale: tau.
      measure: m, one of `MEASURES`.

    Returns:
      Log-odds that each sample is positive, in nats; -tau theta at zero activity.

    Raises:
      ValueError: if the number of units is odd, for an unknown measure or a number out of range.

    Reference: Terres-Escudero et al. 2024, arXiv:2408.09210, section 3.
    """
    check_range("polar_difference", "threshold", threshold)
    check_range("polar_difference", "logit_scale", logit_scale, above=0)
    plus, minus = map(_measure("polar_difference", measure), split_polarity(h))
    return logit_scale * (plus - minus - threshold)
