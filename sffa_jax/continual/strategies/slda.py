"""Streaming linear discriminant analysis of every layer's activity."""

from jaxtyping import Array

from sffa_jax.checks import check_range
from sffa_jax.continual.readout import readout
from sffa_jax.continual.statistics import ClassStatistics, discriminant, linear_scores
from sffa_jax.continual.strategy import Strategy


def slda(
    *,
    ridge: float | Array | None = 1e-3,
    online: bool = False,
) -> Strategy:
    """Keeps running class means and one covariance, and scores by the sum of the layers' linear
    discriminants, in closed form.

    Args:
      ridge: added to the covariance's diagonal, in units of its mean; None: the covariance is the
        oracle approximating shrinkage (OAS) estimate, as in RanDumb.
      online: see `readout`.

    Raises:
      ValueError: for a ridge that is not positive.

    Reference: Hayes & Kanan 2020, arXiv:1909.01520 (there on a pretrained network, and the
    covariance is shrunk by 1e-4 toward the identity); RanDumb, the same on random Fourier features:
    Prabhu et al. 2024, arXiv:2402.08823.
    """
    if ridge is not None:
        check_range("slda", "ridge", ridge, above=0, advice="None: OAS.")

    def solve(statistics: ClassStatistics) -> tuple[Array, Array]:
        return discriminant(statistics, ridge=ridge)

    return readout(solve, linear_scores, scatter="shared", online=online)
