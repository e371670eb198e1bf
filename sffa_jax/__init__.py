"""Forward-only learning in JAX: the Forward-Forward Algorithm and its symmetric form.

`rules` holds the algorithms, `layers` and `network` what they train, `local` the layer-wise
update, `train` a whole fit, `sweep` many of them at once, `data` the images, `report` the
tables and figures (imported only when asked for, since plotting is slow to load).
"""

from sffa_jax import (
    data,
    goodness,
    layers,
    losses,
    negatives,
    network,
    overlays,
    rules,
    sweep,
    train,
)
from sffa_jax.backprop import backprop_learner
from sffa_jax.layers import Layer, conv_layers, dense_layers
from sffa_jax.learner import Learner
from sffa_jax.local import local_learner
from sffa_jax.network import Network, label_scores, predict
from sffa_jax.rules import LocalRule, ffa, sffa
from sffa_jax.train import Schedule, evaluate, fit, make_samples

__version__ = "0.1.0"

__all__ = [
    "Layer",
    "Learner",
    "LocalRule",
    "Network",
    "Schedule",
    "backprop_learner",
    "conv_layers",
    "data",
    "dense_layers",
    "evaluate",
    "ffa",
    "fit",
    "goodness",
    "label_scores",
    "layers",
    "local_learner",
    "losses",
    "make_samples",
    "negatives",
    "network",
    "overlays",
    "predict",
    "rules",
    "sffa",
    "sweep",
    "train",
]
