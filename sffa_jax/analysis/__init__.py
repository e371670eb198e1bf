"""Measurements on rules and trained networks; training does not use them."""

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
