"""FFA and SFFA as pure functions, without training loops, input or output.

Reading order: `image_layout` (rows and maps), `goodness` (a layer's logit), `losses`,
`second_terms` (losses of pairs of samples), `rules` (FFA and SFFA), `negatives` (wrong labels),
`overlays` (how a label enters an image), `winners` (sparse activity), `class_units` (no label in
the input), `bodies` (modules and functions with parameters), `layer`, `architectures` (stacks of
layers), `conv_cpu` (a faster convolution on CPUs), `network`.
"""

from typing import TYPE_CHECKING

from sffa_jax._lazy import lazy

if TYPE_CHECKING:
    from sffa_jax.core import (
        architectures,
        bodies,
        class_units,
        conv_cpu,
        goodness,
        image_layout,
        layer,
        losses,
        negatives,
        network,
        overlays,
        rules,
        second_terms,
        winners,
    )

__all__ = [
    "architectures",
    "bodies",
    "class_units",
    "conv_cpu",
    "goodness",
    "image_layout",
    "layer",
    "losses",
    "negatives",
    "network",
    "overlays",
    "rules",
    "second_terms",
    "winners",
]

__getattr__, __dir__ = lazy(__name__, dict.fromkeys(__all__, ()))
