"""Forward-only learning in JAX: the Forward-Forward Algorithm (FFA) and its symmetric form (SFFA).

Reading order: `core` defines the algorithms, `training` the learners, `fit`, `evaluate` and saving,
`scale` many runs, devices and processes, `continual` learning task by task, `analysis` measurements
of trained networks, `data` the data sets, `sklearn` the estimators. The docstrings of the first
five list their modules in reading order.
"""

from typing import TYPE_CHECKING

from sffa_jax._lazy import lazy

if TYPE_CHECKING:
    from sffa_jax import analysis, continual, core, data, scale, sklearn, training
    from sffa_jax.core import (
        bodies,
        class_units,
        goodness,
        losses,
        negatives,
        overlays,
        rules,
        second_terms,
    )
    from sffa_jax.core.architectures import conv_layers, dense_layers
    from sffa_jax.core.image_layout import Grid
    from sffa_jax.core.layer import Layer
    from sffa_jax.core.network import Network, init_network, label_scores
    from sffa_jax.core.rules import LocalRule, ffa, make_rule, sffa, with_class_units
    from sffa_jax.training.backprop import backprop_learner
    from sffa_jax.training.evaluate import Accuracy, evaluate, predict
    from sffa_jax.training.fit import FitResult, Schedule, fit, start, train_epoch
    from sffa_jax.training.learner import Learner
    from sffa_jax.training.local import local_learner
    from sffa_jax.training.samples import Samples, make_samples, samples_from
    from sffa_jax.training.saved import load, save
    from sffa_jax.training.update_order import greedy

__version__ = "0.1.0"

__all__ = [
    "Accuracy",
    "FitResult",
    "Grid",
    "Layer",
    "Learner",
    "LocalRule",
    "Network",
    "Samples",
    "Schedule",
    "analysis",
    "backprop_learner",
    "bodies",
    "class_units",
    "continual",
    "conv_layers",
    "core",
    "data",
    "dense_layers",
    "evaluate",
    "ffa",
    "fit",
    "goodness",
    "greedy",
    "init_network",
    "label_scores",
    "load",
    "local_learner",
    "losses",
    "make_rule",
    "make_samples",
    "negatives",
    "overlays",
    "predict",
    "rules",
    "samples_from",
    "save",
    "scale",
    "second_terms",
    "sffa",
    "sklearn",
    "start",
    "train_epoch",
    "training",
    "with_class_units",
]

__getattr__, __dir__ = lazy(
    __name__,
    {
        **dict.fromkeys(("analysis", "continual", "data", "scale", "sklearn", "training"), ()),
        "core": (
            "bodies",
            "class_units",
            "goodness",
            "losses",
            "negatives",
            "overlays",
            "rules",
            "second_terms",
        ),
        "core.architectures": ("conv_layers", "dense_layers"),
        "core.image_layout": ("Grid",),
        "core.layer": ("Layer",),
        "core.network": ("Network", "init_network", "label_scores"),
        "core.rules": ("LocalRule", "ffa", "make_rule", "sffa", "with_class_units"),
        "training.backprop": ("backprop_learner",),
        "training.evaluate": ("Accuracy", "evaluate", "predict"),
        "training.fit": ("FitResult", "Schedule", "fit", "start", "train_epoch"),
        "training.learner": ("Learner",),
        "training.local": ("local_learner",),
        "training.samples": ("Samples", "make_samples", "samples_from"),
        "training.saved": ("load", "save"),
        "training.update_order": ("greedy",),
    },
)
