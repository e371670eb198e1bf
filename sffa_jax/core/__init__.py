"""FFA and SFFA as pure functions, without training loops, input or output.

Reading order: `image_layout` (rows and maps), `goodness` (a layer's logit), `losses`,
`class_units` (no label in the input), `second_terms` (losses of pairs of samples), `rules` (FFA and
SFFA), `overlays` (how a label enters an image), `negatives` (wrong labels), `winners` (sparse
activity), `bodies` (modules and functions with parameters), `layer`, `conv_cpu` (a faster
convolution on CPUs), `architectures` (stacks of layers), `network`.
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
