"""Learners and training.

Reading order: `learner` (the interface), `update_order` and `local` (layer-local learning),
`backprop` (the baseline), `averages` (of weights), `adversarial` and `augment` (changed images),
`samples`, `fit`, `evaluate` (accuracy and predictions), `descriptions` and `saved` (networks on
disk), `sharding` (a batch on several devices).
"""

from typing import TYPE_CHECKING

from sffa_jax._lazy import lazy

if TYPE_CHECKING:
    from sffa_jax.training import (
        adversarial,
        augment,
        averages,
        backprop,
        descriptions,
        evaluate,
        fit,
        learner,
        local,
        samples,
        saved,
        sharding,
        update_order,
    )

__all__ = [
    "adversarial",
    "augment",
    "averages",
    "backprop",
    "descriptions",
    "evaluate",
    "fit",
    "learner",
    "local",
    "samples",
    "saved",
    "sharding",
    "update_order",
]

__getattr__, __dir__ = lazy(__name__, dict.fromkeys(__all__, ()))
