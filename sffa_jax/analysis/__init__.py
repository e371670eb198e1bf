"""Measurements on rules and trained networks; training does not use them.

Reading order: `sparsity`, `specialization`, `separability` and `precision` (measures of a layer),
`measures` (these as scalars by name), `latents` (activities and logits of a trained network),
`drift` (units before and after a task), `unit_turnover` (the same of a whole run), `symmetry`
(losses and gradients of positive and negative samples).
"""

from typing import TYPE_CHECKING

from sffa_jax._lazy import lazy

if TYPE_CHECKING:
    from sffa_jax.analysis import (
        drift,
        latents,
        measures,
        precision,
        separability,
        sparsity,
        specialization,
        symmetry,
        unit_turnover,
    )

__all__ = [
    "drift",
    "latents",
    "measures",
    "precision",
    "separability",
    "sparsity",
    "specialization",
    "symmetry",
    "unit_turnover",
]

__getattr__, __dir__ = lazy(__name__, dict.fromkeys(__all__, ()))
