"""Bad arguments of `sffa_jax.training`; see `arguments`."""

import jax.numpy as jnp
import numpy as np
import pytest
from arguments import (
    ADAM,
    IMAGES,
    LABELS,
    Case,
    check_rejected,
    choice,
    key,
    missing,
    number,
    pairs,
    public_functions,
    small_network,
    users_settings,
    whole,
    wholes,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from sffa_jax import data
from sffa_jax.core import architectures
from sffa_jax.core.negatives import NEGATIVES
from sffa_jax.training import (
    adversarial,
    augment,
    averages,
    backprop,
    fit,
    local,
    samples,
    update_order,
)

__all__ = ["users_settings"]


def small_dataset():
    """Four blank images of two classes."""
    images, labels = np.zeros((4, 3, 3), np.uint8), np.array([0, 1, 0, 1])
    return data.Dataset("blank", images, labels, images, labels, ("a", "b"), "test")


BACKGROUND = number().filter(lambda value: np.ndim(value) == 0)

CASES = [
    Case(
        adversarial.perturb,
        {"size": number(at_least=0)},
        lambda: {"losses": lambda x: jnp.sum(x, axis=-1), "x": jnp.ones((2, 3))},
    ),
    Case(augment.input_dropout, {"rate": number(at_least=0, at_most=0.99)}),
    Case(
        augment.shift,
        {
            "shape": wholes(1),
            "pixels": whole(0),
            "background": BACKGROUND,
            "edges": choice(augment.EDGES),
        },
        lambda: {"shape": (8, 8), "pixels": 1},
    ),
    Case(
        augment.cutout,
        {"shape": wholes(1), "side": whole(1), "background": BACKGROUND},
        lambda: {"shape": (8, 8), "side": 2},
    ),
    Case(
        augment.affine,
        {
            "shape": wholes(1),
            "degrees": number(at_least=0, at_most=180),
            "zoom": number(at_least=0, at_most=1),
            "background": BACKGROUND,
        },
        lambda: {"shape": (8, 8), "degrees": 10.0},
    ),
    Case(augment.flip, {"shape": wholes(1)}),
    Case(
        backprop.backprop_learner,
        {
            "num_classes": whole(2),
            "label_smoothing": number(at_least=0, at_most=1),
            "adversarial": number(above=0, none=True),
        },
        lambda: {
            "layers": architectures.dense_layers([4]),
            "num_classes": 3,
            "optimizer": ADAM,
        },
    ),
    Case(
        averages.averaged,
        {"decay": number(above=0, at_most=1)},
        lambda: {"learner": backprop.backprop_learner(architectures.dense_layers([4]), 3, ADAM)},
    ),
    Case(
        augment.mirrored,
        {"shape": wholes(1)},
        lambda: {
            "learner": backprop.backprop_learner(architectures.dense_layers([4]), 3, ADAM),
            "shape": (8, 8),
        },
    ),
    Case(
        local.local_learner,
        {
            "negatives": choice(NEGATIVES),
            "update_order": choice(update_order.UPDATE_ORDERS),
            "adversarial": number(above=0, none=True),
        },
        lambda: {"network": small_network(), "optimizer": ADAM},
    ),
    Case(update_order.greedy, {"steps_per_layer": whole(1)}),
    Case(
        samples.make_samples,
        {"num_classes": whole(1, none=True), "mean": number(), "std": number(at_least=0)},
        lambda: {
            "images": IMAGES,
            "labels": LABELS,
            "num_classes": 4,
            "mean": 0.0,
            "std": 1.0,
        },
    ),
    Case(
        samples.samples_from,
        {"validation": number(above=0, at_most=1, none=True), "seed": whole(0)},
        lambda: {"dataset": small_dataset(), "validation": 0.5},
        names={"validation": "fraction"},
    ),
    Case(
        fit.fit,
        {"select": choice(("best", "last"), none=True)},
        lambda: {
            "learner": backprop.backprop_learner(architectures.dense_layers([4]), 4, ADAM),
            "schedule": fit.Schedule(1, 2),
            "key": key(),
            "train": samples.make_samples(IMAGES, LABELS, num_classes=4, mean=0.0, std=1.0),
        },
    ),
    Case(
        samples.pixel_scale,
        {"mean": number(), "std": number(at_least=0)},
        lambda: {"mean": 0.0, "std": 1.0, "image_shape": (4, 4)},
    ),
    Case(
        fit.Schedule,
        {"epochs": whole(1), "batch_size": whole(1)},
        lambda: {"epochs": 1, "batch_size": 1},
    ),
]

EXEMPT = {
    "training.evaluate.chunk_size": "sizes of arrays",
    "training.evaluate.filled_rows": "images that were counted",
    "training.learner.check_batch": "a check",
    "training.learner.check_label_array": "a check",
    "training.learner.check_learner": "a check",
    "training.learner.check_optimizer": "a check",
    "training.learner.check_state": "a check",
    "training.learner.check_same_state": "a check",
    "training.samples.check_pixel_units": "a check",
    "training.samples.check_samples": "a check",
    "training.backprop.with_readout": "part of backprop_learner and end_to_end, which check",
    "training.fit.check_run": "a check",
    "training.fit.selection": "a check",
    "training.fit.plan_epoch": "the number of samples is that of an array",
    "training.learner.Learner": "made by the learners' functions",
    "training.local.layer_loss": "part of local_learner, which checks",
    "training.local.layer_step": "part of local_learner, which checks",
    "training.saved.Saved": "made by load",
    "training.samples.pixel_scale.image_shape": "images have a shape",
}
"""Functions that are not in the table, and why."""


@pytest.mark.parametrize(("case", "argument"), pairs(CASES))
@settings(deadline=5000, max_examples=10)  # a hang
@given(drawn=st.data())
def test_a_bad_argument_is_rejected_by_name_and_value(case, argument, drawn):
    check_rejected(case, argument, drawn.draw(case.bad[argument]))


def test_every_public_function_is_in_the_table():
    assert missing(public_functions("training"), CASES, EXEMPT) == []
