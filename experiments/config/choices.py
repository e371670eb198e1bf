"""The names that a recipe may choose from, and the check of a recipe's choices."""

from typing import Any

from sffa_jax import core, training
from sffa_jax.checks import check_choice, check_integer, check_integers, check_range, reject

ALGORITHMS = ("ffa", "sffa", "bp")
CONTROLS = ("head",)
"""Controls: a plain linear head on each layer, trained by a local loss."""
OVERLAYS = ("corner", "appended_pattern", "appended_gaussian", "image_wave", "none")
CLASS_UNITS = ("none", "groups", "learned")
UPDATE_ORDERS = ("simultaneous", "sequential", "greedy")
LR_SCHEDULES = ("constant", "cosine", "one_cycle", "steps")
SELECTIONS = ("validation", "last", "test")
SCALINGS = ("training", "mnist")
PRECISIONS = ("float32", "bfloat16")


def check_choices(recipe: Any) -> None:
    """Raises ValueError for the first invalid choice of a `Recipe`.

    The functions that receive a choice also check it.
    """
    for name, choices in (
        ("overlay", OVERLAYS),
        ("class_units", CLASS_UNITS),
        ("update_order", UPDATE_ORDERS),
        ("score", core.rules.SCORES),
        ("lr_schedule", LR_SCHEDULES),
        ("selection", SELECTIONS),
        ("scaling", SCALINGS),
        ("precision", PRECISIONS),
        ("ffa_measure", core.goodness.MEASURES),
        ("padding", core.architectures.PADDINGS),
        ("edges", training.augment.EDGES),
        ("loss", core.losses.LOSSES),
        ("negatives", core.negatives.NEGATIVES),
        ("measure", core.goodness.MEASURES),
    ):
        check_choice("options", name, getattr(recipe, name), choices)
    if (recipe.overlay == "none") != (recipe.class_units != "none"):
        wanted = "be none" if recipe.class_units != "none" else "mark the label"
        advice = "Class units need no label in the image: use --overlay none with"
        advice += " --class-units groups or learned."
        raise reject("options", "overlay", wanted, repr(recipe.overlay), advice)
    for name in ("learning_rate", "overlay_value", "ffa_threshold", "ffa_logit_scale"):
        check_range("options", name, getattr(recipe, name), above=0)
    if recipe.last_scored is not None:
        check_integer("options", "last_scored", recipe.last_scored, 0, "None: the top layer.")
    if recipe.weight_average is not None:
        average = recipe.weight_average
        check_range("options", "weight_average", average, above=0, at_most=1)
    check_range("options", "weight_decay", recipe.weight_decay, at_least=0)
    check_range("options", "overlay_density", recipe.overlay_density, above=0, at_most=1)
    check_range("options", "input_dropout", recipe.input_dropout, at_least=0, at_most=0.99)
    check_integers("options", "channels", recipe.channels, 1)
    for name in ("kernel", "stride", "overlay_size"):
        check_integer("options", name, getattr(recipe, name), 1)
    if recipe.pool is not None:
        check_choice("options", "pool", recipe.pool, core.image_layout.POOLS)
    if recipe.places is not None:
        check_integer("options", "places", recipe.places, 1, "None: each position by itself.")
    check_range("options", "polarity_rate", recipe.polarity_rate, above=0)
    if recipe.second_term is not None:
        check_choice("options", "second_term", recipe.second_term, core.second_terms.SECOND_TERMS)
        if recipe.class_units == "none":
            advice = "Use --overlay none --class-units learned."
            got = repr(recipe.second_term)
            raise reject("options", "second_term", "be None without class units", got, advice)
    if recipe.second_weight is not None:
        check_range("options", "second_weight", recipe.second_weight, above=0)
    if recipe.normalization is not None:
        known = core.architectures.NORMALIZATIONS
        check_choice("options", "normalization", recipe.normalization, known)
    check_range("options", "dropout", recipe.dropout, at_least=0, at_most=0.99)
    check_integers("options", "pooled", recipe.pooled, 0)
    check_integer("options", "shift", recipe.shift, 0)
    check_integer("options", "cutout", recipe.cutout, 0)
    check_range("options", "rotation", recipe.rotation, at_least=0, at_most=180)
    check_range("options", "zoom", recipe.zoom, at_least=0, at_most=1)
    if recipe.ffa_winners is not None:
        check_integer("options", "ffa_winners", recipe.ffa_winners, 1, "None keeps all units.")
