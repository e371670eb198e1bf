"""Bad values of a recipe; see `arguments`."""

import pytest
from arguments import Case, check_rejected, choice, number, pairs, users_settings, whole, wholes
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.config import choices, recipe
from sffa_jax import core
from sffa_jax.core import architectures, goodness, image_layout
from sffa_jax.core.losses import LOSSES
from sffa_jax.core.negatives import NEGATIVES
from sffa_jax.core.rules import NORMALIZE, SCORES
from sffa_jax.training import augment

__all__ = ["users_settings"]


def built(**changes):
    """Make everything that a recipe describes."""
    made = recipe.Recipe(**changes)
    made.check()
    for algorithm in choices.ALGORITHMS:
        made.learner(algorithm, (4, 4), 4, 1000)
    made.schedule((4, 4))


CASES = [
    Case(
        recipe.Recipe,
        {
            "channels": wholes(1).filter(lambda value: not isinstance(value, tuple) or value),
            "kernel": whole(1),
            "stride": whole(1),
            "padding": choice(architectures.PADDINGS),
            "pool": choice(image_layout.POOLS, none=True),
            "hidden": wholes(1),
            "activation": choice(architectures.ACTIVATIONS),
            "initializer": choice(architectures.INITIALIZERS),
            "precision": choice(choices.PRECISIONS),
            "winners": whole(1, none=True),
            "ffa_winners": whole(1, none=True),
            "overlay": choice(choices.OVERLAYS),
            "overlay_size": whole(1),
            "overlay_density": number(above=0, at_most=1),
            "overlay_value": number(above=0),
            "class_units": choice(choices.CLASS_UNITS),
            "places": whole(1, none=True),
            "polarity_rate": number(above=0),
            "second_term": choice(tuple(core.second_terms.SECOND_TERMS), none=True),
            "second_weight": number(above=0, none=True),
            "loss": choice(LOSSES),
            "label_smoothing": number(at_least=0, at_most=1),
            "activity_rate": number(above=0, none=True),
            "clip": number(above=0, at_most=0.4, none=True),
            "score": choice(tuple(SCORES)),
            "logit_scale": number(above=0),
            "measure": choice(goodness.MEASURES),
            "normalize": choice(NORMALIZE, none=True),
            "eps": number(above=0),
            "ffa_threshold": number(above=0),
            "ffa_logit_scale": number(above=0),
            "ffa_measure": choice(goodness.MEASURES),
            "negatives": choice(NEGATIVES),
            "first_scored": whole(0),
            "last_scored": whole(0, none=True),
            "weight_average": number(above=0, at_most=1, none=True),
            "update_order": choice(choices.UPDATE_ORDERS),
            "epochs": whole(1),
            "batch_size": whole(1),
            "learning_rate": number(above=0),
            "weight_decay": number(at_least=0),
            "lr_schedule": choice(choices.LR_SCHEDULES),
            "input_dropout": number(at_least=0, at_most=0.99),
            "adversarial": number(above=0, none=True),
            "shift": whole(0),
            "edges": choice(augment.EDGES),
            "rotation": number(at_least=0, at_most=180),
            "zoom": number(at_least=0, at_most=1),
            "cutout": whole(0),
            "pooled": wholes(0).filter(lambda value: not isinstance(value, tuple) or value),
            "normalization": choice(architectures.NORMALIZATIONS, none=True),
            "dropout": number(at_least=0, at_most=0.99),
            "selection": choice(choices.SELECTIONS),
            "scaling": choice(choices.SCALINGS),
        },
        call=built,
    ),
]


@pytest.mark.parametrize(("case", "argument"), pairs(CASES))
@settings(deadline=5000, max_examples=10)  # a hang
@given(drawn=st.data())
def test_a_bad_argument_is_rejected_by_name_and_value(case, argument, drawn):
    check_rejected(case, argument, drawn.draw(case.bad[argument]))
