"""Bad arguments of `sffa_jax.data`; see `arguments`."""

import numpy as np
import pytest
from arguments import (
    IMAGES,
    LABELS,
    SPLIT,
    Case,
    Records,
    check_rejected,
    choice,
    missing,
    number,
    pairs,
    users_settings,
    whole,
    wholes,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from sffa_jax import data

__all__ = ["users_settings"]


def read_ahead(**options):
    return data.batches(None, np.zeros((1, 2), int), reading=data.Reading(**options))


SIZES = wholes(1).filter(lambda sizes: sizes not in ([], ()))

CASES = [
    Case(data.check_name, {"name": choice(data.NAMES)}, names={"name": "dataset"}),
    *(
        Case(
            function,
            {
                "name": choice(data.NAMES),
                "image_size": SIZES,
                "color": choice(data.COLORS),
                "test_fraction": number(above=0, at_most=0.9, none=True),
            },
            lambda: {"name": "folder:tests"},
            names={"name": "dataset"},
        )
        for function in (data.load, data.open_on_disk)
    ),
    Case(
        data.from_arrays,
        {"test_fraction": number(above=0, at_most=0.9, none=True)},
        lambda: {"images": IMAGES, "labels": LABELS},
    ),
    Case(
        data.from_iterable,
        {"image_size": SIZES, "color": choice(data.COLORS)},
        lambda: {"pairs": zip(IMAGES, LABELS, strict=True)},
    ),
    Case(
        data.check_image_size,
        {"image_size": SIZES},
        lambda: {"where": "f"},
    ),
    Case(
        data.check_test_fraction,
        {"test_fraction": number(above=0, at_most=0.9, none=True)},
        lambda: {"where": "f"},
    ),
    Case(
        data.unify,
        {
            "image_size": SIZES,
            "color": choice(data.COLORS),
        },
        lambda: {"images": IMAGES, "image_size": (), "color": "auto"},
    ),
    Case(
        data.resize,
        {"height": whole(1), "width": whole(1)},
        lambda: {"images": IMAGES, "height": 2, "width": 2},
    ),
    Case(
        data.stratified_split,
        {"fraction": number(above=0, at_most=1), "seed": whole(0)},
        lambda: {"labels": SPLIT, "fraction": 0.5, "seed": 0},
    ),
    Case(data.to_labels, {"num_classes": whole(1, none=True)}, lambda: {"labels": SPLIT}),
    Case(data.Reading, {"threads": whole(0), "buffer": whole(1)}, call=read_ahead),
    Case(
        data.batches,
        {"start": whole(0), "process": whole(0), "num_processes": whole(1)},
        lambda: {"records": Records(), "order": np.zeros((1, 2), int)},
    ),
]

EXEMPT = {
    "data.load.data_dir": "a path",
    "data.check_image_size.where": "the caller's name",
    "data.check_test_fraction.where": "the caller's name",
    "data.Dataset": "texts",
    "data.OnDisk": "texts",
    **{
        f"data.{name}.{text}": "a text"
        for name, text in (
            *(("from_arrays", "name"), ("from_arrays", "source"), ("from_iterable", "name")),
            *(
                ("from_pandas", "label"),
                ("from_hugging_face", "image"),
                ("from_hugging_face", "label"),
            ),
        )
    },
    "data.to_images.where": "the library's own",
    "data.to_labels.where": "the library's own",
    "data.read_idx": "axes that a file is rejected for not having",
}
"""Functions that are not in the table, and why."""


@pytest.mark.parametrize(("case", "argument"), pairs(CASES))
@settings(deadline=5000, max_examples=10)  # a hang
@given(drawn=st.data())
def test_a_bad_argument_is_rejected_by_name_and_value(case, argument, drawn):
    check_rejected(case, argument, drawn.draw(case.bad[argument]))


def test_every_public_function_is_in_the_table():
    functions = [value for name in data.__all__ if callable(value := getattr(data, name))]
    assert missing(functions, CASES, EXEMPT) == []
