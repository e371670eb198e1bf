"""A network whose second term has a head of its own."""

from sffa_jax import sffa
from sffa_jax.core import class_units, network, overlays, second_terms
from sffa_jax.core.architectures import dense_layers
from sffa_jax.core.rules import with_class_units, with_second_term


def with_heads():
    """Three classes; layers with running statistics."""
    rule = with_class_units(sffa(normalize="whole"), class_units.learned())
    rule = with_second_term(rule, second_terms.supervised_contrast(size=3))
    layers = dense_layers([8, 6, 4], normalization="batch")
    return network.Network(layers, rule, overlays.none(), 3)
