"""Forward-only learning in JAX: the Forward-Forward Algorithm and its symmetric form.

`rules` holds the algorithms, `layers` and `network` what they train, `local` the layer-wise
update, `train` a whole fit, `sweep` many of them at once, `data` the images, `report` the
tables and figures (imported only when asked for, since plotting is slow to load).
"""

from sffa_jax import data
from sffa_jax.core import goodness, losses, negatives, network, overlays, rules
from sffa_jax.core.architectures import conv_layers, dense_layers
from sffa_jax.core.layer import Layer
from sffa_jax.core.network import Network, label_scores
from sffa_jax.core.rules import LocalRule, ffa, sffa
from sffa_jax.scale import sweep
from sffa_jax.training.backprop import backprop_learner
from sffa_jax.training.evaluate import evaluate
from sffa_jax.training.fit import Schedule, fit
from sffa_jax.training.learner import Learner
from sffa_jax.training.local import local_learner
from sffa_jax.training.samples import make_samples

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
    "local_learner",
    "losses",
    "make_samples",
    "negatives",
    "network",
    "overlays",
    "rules",
    "sffa",
    "sweep",
]
