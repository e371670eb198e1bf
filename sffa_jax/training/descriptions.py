"""Learners as JSON: names of functions of this library, of JAX and of Flax, and plain values.

A description contains no code, and `build` accepts only the names that are listed here.
"""

import dataclasses
import importlib
from functools import partial
from typing import Any

import jax
import numpy as np
from flax import linen as nn

from sffa_jax.checks import reject
from sffa_jax.core.image_layout import Grid
from sffa_jax.core.layer import Layer
from sffa_jax.core.network import Network
from sffa_jax.core.rules import LocalRule
from sffa_jax.core.second_terms import SecondTerm
from sffa_jax.training.update_order import UpdateOrder

_ALLOWED: dict[str, tuple[str, ...]] = {
    "jax.nn": (
        *("relu", "relu6", "sigmoid", "log_sigmoid", "softplus", "silu", "swish", "gelu", "elu"),
        *("selu", "celu", "leaky_relu", "soft_sign", "hard_tanh", "tanh", "identity"),
    ),
    "jax.numpy": ("tanh", "abs", "square", "bfloat16", "float16", "float32", "float64"),
    "sffa_jax.core.class_units": ("_make_groups", "_make_learned", "_make_linear"),
    "sffa_jax.core.conv_cpu": ("convolve",),
    "sffa_jax.core.goodness": ("energy", "polar_ratio", "_sum_square", "_mean_square"),
    "sffa_jax.core.losses": (
        *("binary_cross_entropy", "softmax_cross_entropy", "symba", "activity_factor"),
    ),
    "sffa_jax.core.negatives": ("uniform", "hard", "every"),
    "sffa_jax.core.overlays": (
        *("_draw_corner_one_hot", "_draw_appended_pattern", "_draw_appended_gaussian"),
        *("_draw_image_wave", "_draw_none"),
    ),
    "sffa_jax.core.rules": (
        *("_clipped", "identity", "unit_length", "unit_length_halves", "euclidean_halves"),
        "_first_unit",
    ),
    "sffa_jax.core.second_terms": (
        *("_no_head", "_draw_linear", "_draw_same_size"),
        *("_contrast", "_match_similarity", "_pairs"),
    ),
    "sffa_jax.core.winners": ("_measure_largest",),
    "sffa_jax.training.augment": ("_build_mirrored",),
    "sffa_jax.training.averages": ("_build",),
    "sffa_jax.training.backprop": ("backprop_learner",),
    "sffa_jax.training.local": ("local_learner",),
    "sffa_jax.training.update_order": (
        *("simultaneous", "sequential", "_update_greedily", "_started"),
    ),
}
"""Functions and types that a description may name, by module."""

_RECORDS: dict[str, Any] = {
    record.__name__: record for record in (Grid, Layer, LocalRule, Network, SecondTerm, UpdateOrder)
}
_BODIES: dict[str, Any] = {
    body.__name__: body for body in (nn.Dense, nn.Conv, nn.BatchNorm, nn.GroupNorm)
}
_NO_DATA = ("parent", "name", "kernel_init", "bias_init", "scale_init")
"""Fields of a Flax module that its trained parameters do not depend on."""


class Undescribed(Exception):
    """A value that cannot be described."""


def _names() -> dict[int, str]:
    """Name of each allowed function, by identity."""
    return {
        id(function): f"{module}:{name}"
        for module, names in _ALLOWED.items()
        for name in names
        if (function := getattr(importlib.import_module(module), name, None)) is not None
    }


UNKNOWN = {"unknown": True}
"""Stands for a value that cannot be described."""


def describe(value: Any, *, strict: bool = True) -> Any:
    """Returns JSON for a value that consists of allowed functions, records and plain values.

    Args:
      value: the value.
      strict: whether a part that cannot be described is an error; otherwise `UNKNOWN` stands for
        it.

    Raises:
      Undescribed: for such a part.
    """
    of = partial(describe, strict=strict)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.ndarray | np.generic | jax.Array) and value.shape == ():
        return value.item()
    name = _names().get(id(value))
    if name is not None:
        return {"function": name}
    if isinstance(value, partial):
        keywords = {key: of(of_key) for key, of_key in value.keywords.items()}
        return {
            "partial": of(value.func),
            "arguments": [*map(of, value.args)],
            "keywords": keywords,
        }
    if type(value) in _RECORDS.values():
        names = getattr(value, "_fields", None) or [f.name for f in dataclasses.fields(value)]
        fields = {field: of(getattr(value, field)) for field in names}
        return {"record": type(value).__name__, "fields": fields}
    if type(value) in _BODIES.values():
        fields = {
            field.name: of(getattr(value, field.name))
            for field in dataclasses.fields(value)
            if field.name not in _NO_DATA and getattr(value, field.name) != field.default
        }
        return {"body": type(value).__name__, "fields": fields}
    if isinstance(value, tuple | list):
        return [*map(of, value)]
    if strict:
        raise Undescribed(repr(value))
    return UNKNOWN


def agree(given: Any, described: Any) -> bool:
    """Whether two descriptions are equal wherever the given one is known."""
    if given == UNKNOWN:
        return True
    if isinstance(given, dict) and isinstance(described, dict):
        same = given.keys() == described.keys()
        return same and all(agree(given[key], described[key]) for key in given)
    if isinstance(given, list) and isinstance(described, list):
        return len(given) == len(described) and all(map(agree, given, described))
    return bool(given == described)


def build(description: Any) -> Any:
    """Rebuilds a value from its description; looks up allowed names only."""
    if isinstance(description, list):
        return tuple(build(item) for item in description)
    if not isinstance(description, dict):
        return description
    if "function" in description:
        module, _, name = str(description["function"]).partition(":")
        if name not in _ALLOWED.get(module, ()):
            raise reject("load", "path", "name known functions only", description["function"])
        return getattr(importlib.import_module(module), name)
    if "partial" in description:
        arguments = [build(argument) for argument in description["arguments"]]
        keywords = {key: build(value) for key, value in description["keywords"].items()}
        return partial(build(description["partial"]), *arguments, **keywords)
    fields = {key: build(value) for key, value in description["fields"].items()}
    kind = "record" if "record" in description else "body"
    types, name = {"record": _RECORDS, "body": _BODIES}[kind], description[kind]
    if name not in types:
        raise reject("load", "path", "name known types only", name)
    return types[name](**fields)
