"""Bad arguments of `sffa_jax.core`; see `arguments`."""

import numpy as np
import pytest
from arguments import (
    LABELS,
    LOGITS,
    TARGETS,
    Case,
    H,
    check_rejected,
    choice,
    key,
    missing,
    number,
    pairs,
    public_functions,
    users_settings,
    whole,
    wholes,
)
from flax import linen as nn
from hypothesis import given, settings
from hypothesis import strategies as st

from sffa_jax.core import (
    architectures,
    class_units,
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

__all__ = ["users_settings"]

SCALED = {"logit_scale": number(above=0), "measure": choice(goodness.MEASURES)}
OPTIONS = {
    "loss": choice(losses.LOSSES),
    "normalize": choice(rules.NORMALIZE, none=True),
    "score": choice(rules.SCORES),
    "activity_rate": number(above=0, none=True),
    "clip": number(above=0, at_most=0.4, none=True),
}
LAYERS = {
    "activation": choice(architectures.ACTIVATIONS),
    "winners": whole(1, none=True),
    "initializer": choice(architectures.INITIALIZERS),
    "precision": choice(architectures.DTYPES),
    "normalization": choice(architectures.NORMALIZATIONS, none=True),
    "dropout": number(at_least=0, at_most=0.99),
}


CASES = [
    Case(goodness.energy, SCALED | {"threshold": number()}, lambda: {"h": H}),
    Case(goodness.polar_ratio, SCALED | {"eps": number(above=0)}, lambda: {"h": H}),
    Case(
        layer.Layer,
        {
            "winners": whole(1, none=True),
            "pool": choice(image_layout.POOLS, none=True),
            "dropout": number(at_least=0, at_most=0.99),
        },
        lambda: {"body": nn.Conv(4, (3, 3)), "grid": image_layout.Grid(4, 4, 1)},
    ),
    Case(
        image_layout.Grid,
        dict.fromkeys(("height", "width", "channels"), whole(1)),
        lambda: {"height": 4, "width": 4, "channels": 1},
    ),
    Case(
        architectures.conv_layers,
        LAYERS
        | {
            "shape": wholes(1),
            "channels": wholes(1),
            "kernel": whole(1),
            "stride": whole(1),
            "padding": choice(architectures.PADDINGS),
            "pool": choice(image_layout.POOLS, none=True),
            "pooled": wholes(0).filter(lambda value: value is not None and value != ()),
        },
        lambda: {"shape": (8, 8), "channels": (4,)},
    ),
    Case(architectures.dense_layers, LAYERS | {"hidden": wholes(1)}, lambda: {"hidden": (4,)}),
    Case(
        losses.softmax_cross_entropy,
        {"label_smoothing": number(at_least=0, at_most=1)},
        lambda: {"logits": LOGITS, "targets": TARGETS},
    ),
    Case(
        losses.activity_factor,
        {"rate": number(above=0)},
        lambda: {"h": H, "targets": TARGETS},
    ),
    *(
        Case(
            function,
            {"num_classes": whole(2)},
            lambda: {"key": key(), "labels": LABELS, "scores": lambda: H[:, 0]},
        )
        for function in (negatives.uniform, negatives.hard)
    ),
    Case(
        negatives.targets,
        {"num_classes": whole(2)},
        lambda: {"candidates": None, "labels": LABELS},
    ),
    Case(
        network.Network,
        {
            "num_classes": whole(2),
            "first_scored": whole(0),
            "last_scored": whole(0, none=True),
        },
        lambda: {
            "layers": architectures.dense_layers([4]),
            "rule": rules.sffa(),
            "make_overlay": overlays.none(),
            "num_classes": 4,
        },
    ),
    Case(overlays.corner_one_hot, {"value": number()}),
    Case(
        overlays.appended_pattern,
        {"size": whole(1), "density": number(above=0, at_most=1), "value": number()},
    ),
    Case(overlays.appended_gaussian, {"size": whole(1), "value": number()}),
    Case(
        overlays.image_wave,
        {"image_shape": wholes(1), "lowest": number(above=0), "highest": number(at_least=0)},
        lambda: {"image_shape": (4, 4)},
    ),
    Case(rules.make_rule, OPTIONS, lambda: {"logit": np.mean}),
    Case(rules.ffa, SCALED | OPTIONS | {"threshold": number(above=0)}),
    Case(rules.sffa, SCALED | OPTIONS | {"eps": number(above=0)}),
    Case(
        rules.linear_head,
        {name: OPTIONS[name] for name in ("loss", "normalize")} | {"places": whole(1, none=True)},
    ),
    Case(class_units.linear, {"places": whole(1, none=True)}),
    Case(class_units.learned, {"places": whole(1, none=True), "rate": number(above=0)}),
    Case(
        second_terms.supervised_contrast,
        {"weight": number(above=0), "temperature": number(above=0), "size": whole(1, none=True)},
    ),
    Case(second_terms.similarity_matching, {"weight": number(above=0)}),
    Case(
        second_terms.polarity_of_pairs,
        {name: number(above=0) for name in ("weight", "logit_scale", "eps")},
    ),
    Case(winners.kth_largest, {"k": whole(1)}, lambda: {"h": H}),
    Case(winners.keep_largest, {"k": whole(1)}, lambda: {"h": H}),
    Case(winners.keep_winners, {"k": whole(1)}, lambda: {"h": H}),
    Case(
        winners.measure_of_winners,
        {"measure": choice(goodness.MEASURES), "k": whole(1)},
        lambda: {"measure": "sum_square", "k": 2},
    ),
]

EXEMPT = {
    **dict.fromkeys(
        (
            *("core.goodness.energy.unit_axes", "core.goodness.polar_ratio.unit_axes"),
            *("core.image_layout.over_units", "core.winners.keep_winners.unit_axes"),
            *("core.image_layout.unflatten_maps", "core.image_layout.flatten_maps"),
            *("core.rules.unit_length", "core.rules.unit_length_halves", "core.rules.identity"),
            "core.rules.euclidean_halves",
        ),
        "shapes are those of an activity",
    ),
    "core.bodies.init_body": "the name is for messages",
    "core.bodies.Body": "the name is for messages",
    "core.layer.init_layer": "the name is for messages",
    "core.layer.check_layers": "a check",
    "core.negatives.check_candidates": "a check",
    "core.negatives.try_negatives": "a check",
    "core.class_units.ClassUnits": "made by the functions of its module",
    "core.second_terms.SecondTerm": "made by the functions of its module",
    "core.image_layout.average_places": "part of class_units and second_terms, which check",
    "core.conv_cpu.convolve": "replaces XLA's convolution in Flax, which passes the arguments",
    "core.network.scored_layers": "part of Network and Learner, which check",
    "core.negatives.every": "uses none of its arguments",
    "core.rules.LocalRule": "made by make_rule",
    "core.overlays.Part": "made by parts and next_input",
    "core.winners.kth_by_groups": "part of kth_largest, which checks",
    "core.winners.kth_by_bisection": "part of kth_largest, which checks",
    "core.winners.kth_by_top_k": "part of kth_largest, which checks",
    "core.winners_gpu.kth_in_registers": "part of kth_largest, which checks",
}
"""Functions that are not in the table, and why."""


@pytest.mark.parametrize(
    "make",
    [
        overlays.corner_one_hot,
        overlays.appended_pattern,
        overlays.appended_gaussian,
        lambda: overlays.image_wave((4, 4)),
    ],
)
@given(num_classes=whole(2))
def test_a_bad_number_of_classes_is_rejected_when_an_overlay_is_drawn(make, num_classes):
    case = Case(lambda num_classes: make()(key(), (16,), num_classes), {})
    check_rejected(case, "num_classes", num_classes)


def test_an_unknown_option_of_a_rule_is_rejected():
    with pytest.raises(TypeError, match="unexpected keyword argument 'margin'"):
        rules.ffa(margin=1.0)


@pytest.mark.parametrize(("case", "argument"), pairs(CASES))
@settings(deadline=5000, max_examples=10)  # a hang
@given(drawn=st.data())
def test_a_bad_argument_is_rejected_by_name_and_value(case, argument, drawn):
    check_rejected(case, argument, drawn.draw(case.bad[argument]))


def test_every_public_function_is_in_the_table():
    assert missing(public_functions("core"), CASES, EXEMPT) == []
