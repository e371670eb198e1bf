"""Goodness: a layer's evidence that a sample is positive, as a logit.

Both algorithms use logits l: p(positive) = sigmoid(l), and the local loss is softplus(-l) for a
positive sample and softplus(l) for a negative one. No clipping is needed, and values and gradients
are finite at zero activity.

Symbols: h is a layer's activity, P its positive neurons (first half), N its negative neurons
(second half), m a measure of activity, tau the logit scale, theta the threshold and epsilon a
small positive number.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sffa_jax.checks import check_range, choose, reject
from sffa_jax.core.image_layout import over_units

Measure = Callable[[Array], Array]
"""Amount of activity: [..., units] -> [...]."""


def _sum_square(h: Array, unit_axes: int = 1) -> Array:
    return jnp.sum(jnp.square(h), axis=tuple(range(-unit_axes, 0)))


def _mean_square(h: Array, unit_axes: int = 1) -> Array:
    return jnp.mean(jnp.square(h), axis=tuple(range(-unit_axes, 0)))


MEASURES: dict[str, Measure] = {"sum_square": _sum_square, "mean_square": _mean_square}
"""Measures by name."""


def energy(
    h: Float[Array, "*samples_and_units"],
    *,
    threshold: float | Array = 2.0,
    logit_scale: float | Array = 1.0,
    measure: str | Measure = "mean_square",
    unit_axes: int = 1,
) -> Float[Array, "*samples"]:
    """FFA's logit: tau (m(h) - theta).

    Args:
      h: activity of the layer, one row per sample.
      threshold: theta, the goodness at which the probability of a positive sample is 1/2.
      logit_scale: tau, the slope of the logit as a function of the goodness.
      measure: m, one of `MEASURES` or a function.
      unit_axes: number of last axes of `h` that contain units: 3 for maps [h, w, c].

    Returns:
      Logit that each sample is positive, in nats.

    Raises:
      ValueError: for an unknown measure or a number out of range.

    Reference: Hinton 2022, arXiv:2212.13345, section 2 (sum of squares, logit scale 1). Differs
    from it: the default is the mean, as in the released SFFA code, so that one threshold suits
    every width.

    >>> energy(jnp.array([[2.0, 2.0], [0.0, 0.0]]), threshold=2.0)
    Array([ 2., -2.], dtype=float32)
    """
    check_range("energy", "threshold", threshold)
    check_range("energy", "logit_scale", logit_scale, above=0)
    amount = over_units(choose("energy", "measure", measure, MEASURES), h, unit_axes)
    return logit_scale * (amount - threshold)


def split_polarity(
    h: Float[Array, "*samples units"],
) -> tuple[Float[Array, "*samples half"], Float[Array, "*samples half"]]:
    """Splits the units or maps of a layer into its positive (first) and negative (second) half.

    Raises:
      ValueError: if the number of units is odd.

    >>> split_polarity(jnp.array([1.0, 2.0, 3.0, 4.0]))
    (Array([1., 2.], dtype=float32), Array([3., 4.], dtype=float32))
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
    h: Float[Array, "*samples_and_units"],
    *,
    logit_scale: float | Array = 1.0,
    eps: float | Array = 1e-9,
    measure: str | Measure = "sum_square",
    unit_axes: int = 1,
) -> Float[Array, "*samples"]:
    """SFFA's logit: tau [log(m(h_P) + epsilon) - log(m(h_N) + epsilon)].

    With tau = 1 and m the sum of squares, its sigmoid is the paper's goodness
    (sum_P h^2 + epsilon) / (sum h^2 + 2 epsilon): the fraction of the activity that lies in the
    positive neurons. Exchanging P and N negates the logit, which is the symmetry of the loss.

    Args:
      h: activity of the layer, one row per sample; positive neurons first.
      logit_scale: tau. A ratio of sums over hundreds of neurons varies little; tau > 1 compensates.
      eps: epsilon > 0, in units of the measure: keeps the logarithm finite at zero activity, and
        the logit small at weak activity.
      measure: m, one of `MEASURES` or a function.
      unit_axes: number of last axes of `h` that contain units: 3 for maps [h, w, c].

    Returns:
      Logit that each sample is positive, in nats; 0 at zero activity.

    Raises:
      ValueError: if the number of units is odd, for an unknown measure or a number out of range.

    Reference: Terres-Escudero et al., CoLLAs 2024, arXiv:2409.07387. Differs from it: a logit
    instead of a clipped probability, and the logit scale (1 there).

    >>> polar_ratio(jnp.array([[2.0, 1.0], [1.0, 2.0], [0.0, 0.0]]))
    Array([ 1.3862944, -1.3862944,  0.       ], dtype=float32)
    """
    check_range("polar_ratio", "logit_scale", logit_scale, above=0)
    check_range("polar_ratio", "eps", eps, above=0)
    measure = choose("polar_ratio", "measure", measure, MEASURES)
    measured = _measure_halves if measure in MEASURES.values() else _measure_each_half
    positive, negative = measured(measure, h, unit_axes)
    return logit_scale * (jnp.log(positive + eps) - jnp.log(negative + eps))


def _measure_each_half(measure: Measure, h: Array, unit_axes: int) -> tuple[Array, Array]:
    positive, negative = (over_units(measure, half, unit_axes) for half in split_polarity(h))
    return positive, negative


_measure_halves = jax.custom_jvp(_measure_each_half, nondiff_argnums=(0, 2))
"""`_measure_each_half` for `MEASURES`: the same numbers, in half the time or less on a CPU.

The gradient of a slice is padding, and XLA's CPU backend does not compute it in one loop with the
rest of the gradient. The gradient of a mask is element-wise.
"""


@_measure_halves.defjvp
def _measure_halves_jvp(
    measure: Measure, unit_axes: int, primals: tuple[Array], tangents: tuple[Array]
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    (h,), axes = primals, tuple(range(-unit_axes, 0))
    is_positive = jnp.arange(h.shape[-1]) < h.shape[-1] // 2
    units = math.prod(h.shape[-unit_axes:]) // 2 if measure is _mean_square else 1
    # Divided before the sum, which could be too large for float16.
    change = jax.jvp(jnp.square, primals, tangents)[1] / units
    positive = jnp.where(is_positive, change, 0).sum(axes)
    negative = jnp.where(is_positive, 0, change).sum(axes)
    return _measure_halves(measure, h, unit_axes), (positive, negative)
