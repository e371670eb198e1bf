"""Presets: complete recipes, so that a name stands for every choice that is made."""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import optax

from sffa_jax import overlays, rules
from sffa_jax.checks import check_range
from sffa_jax.layers import dense_layers
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


def make_network(
    preset: Preset,
    algorithm: str,
    *,
    hidden: tuple[int, ...],
    num_classes: int,
    winners: int | None = None,
    rule: rules.LocalRule | None = None,
) -> Network:
    """The forward-only network of a preset, or the same with another rule."""
    return Network(
        layers=dense_layers(hidden, winners=winners),
        rule=rule or {"sffa": preset.sffa, "ffa": preset.ffa}[algorithm],
        overlay=lambda key: preset.overlay(key, num_classes),
        num_classes=num_classes,
    )


def make_optimiser(learning_rate: float, num_steps: int) -> optax.GradientTransformation:
    """Adam, its learning rate falling to 0 along a half cosine.

    Raises:
      ValueError: for a learning rate that is not positive.
    """
    check_range("make_optimiser", "learning_rate", learning_rate, above=0)
    return optax.adam(optax.cosine_decay_schedule(learning_rate, num_steps))
