"""Presets: complete recipes, so that a name stands for every choice that is made."""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import optax

from sffa_jax import overlays, rules
from sffa_jax.backprop import backprop_learner
from sffa_jax.checks import check_choice, check_range
from sffa_jax.layers import dense_layers
from sffa_jax.learner import Learner
from sffa_jax.local import local_learner
from sffa_jax.network import Network
from sffa_jax.overlays import Overlay


@dataclass(frozen=True)
class Preset:
    """A recipe for all three algorithms.

    Attributes:
      hidden, epochs, batch_size, learning_rate: defaults that the command line can change.
      sffa, ffa: each algorithm's rule.
      overlay: (key, num_classes) -> how a label enters an image.
    """

    hidden: tuple[int, ...]
    epochs: int
    batch_size: int
    learning_rate: float
    sffa: rules.LocalRule
    ffa: rules.LocalRule
    overlay: Callable[[jax.Array, int], Overlay]


PRESETS = {
    # The paper's two passes, with log-odds sharp enough to learn from. Sharpness, floor and
    # threshold were chosen on MNIST's validation split. Adam, with the learning rate falling to 0
    # along a half cosine, for all three.
    "two_pass": Preset(
        hidden=(400,),
        epochs=40,
        batch_size=128,
        learning_rate=1e-3,
        sffa=rules.sffa(sharpness=6.0, floor=1.0),
        ffa=rules.ffa(threshold=0.3, sharpness=20.0),
        overlay=lambda key, classes: overlays.appended_gaussian(key, classes),
    ),
}

ALGORITHMS = ("ffa", "sffa", "bp")


def make_learner(
    preset: Preset,
    algorithm: str,
    *,
    hidden: tuple[int, ...],
    num_classes: int,
    learning_rate: float,
    num_steps: int,
    negatives: str = "uniform",
    winners: int | None = None,
) -> Learner:
    """The learner that a preset and the command line describe.

    Raises:
      ValueError: for an unknown algorithm, a learning rate that is not positive, or widths and
        winners that do not fit.
    """
    check_choice("compare", "algorithms", algorithm, ALGORITHMS)
    check_range("compare", "learning_rate", learning_rate, above=0)
    optimiser = optax.adam(optax.cosine_decay_schedule(learning_rate, num_steps))
    if algorithm == "bp":
        return backprop_learner(dense_layers(hidden), num_classes, optimiser)
    network = Network(
        layers=dense_layers(hidden, winners=winners),
        rule={"sffa": preset.sffa, "ffa": preset.ffa}[algorithm],
        overlay=lambda key: preset.overlay(key, num_classes),
        num_classes=num_classes,
    )
    return local_learner(network, optimiser, negatives=negatives)
