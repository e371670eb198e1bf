"""Adversarial training: samples are moved by a small step that increases their loss."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sffa_jax.checks import check_range


def perturb(
    losses: Callable[[Float[Array, "batch *input"]], Float[Array, " batch"]],
    x: Float[Array, "batch *input"],
    size: float | Array,
) -> Float[Array, "batch *input"]:
    """Moves each sample by `size` along the gradient of its loss.

    Args:
      losses: samples -> loss of each sample, which depends on no other sample.
      x: the samples.
      size: Euclidean length of the step, in units of the scaled input.

    Returns:
      The moved samples; no gradient flows through the step. Samples with zero gradient do not move.

    Raises:
      ValueError: for a negative length.

    Reference: Goodfellow, Shlens & Szegedy 2015, arXiv:1412.6572, with the Euclidean norm instead
    of the largest coordinate (Miyato et al. 2016, arXiv:1605.07725, equation 3).
    """
    check_range("perturb", "size", size, at_least=0)
    gradient = jax.grad(lambda x: jnp.sum(losses(x)))(x)
    axes = tuple(range(1, x.ndim))
    # The squares of a confident sample's gradient may be too small for a float. It is scaled by a
    # power of two, which changes no digit.
    largest = jnp.max(jnp.abs(gradient), axis=axes, keepdims=True)
    gradient = jnp.ldexp(gradient, -jnp.frexp(largest)[1])
    length = jnp.sqrt(jnp.sum(jnp.square(gradient), axis=axes, keepdims=True))
    return jax.lax.stop_gradient(x + size * gradient / jnp.maximum(length, 1e-12))
