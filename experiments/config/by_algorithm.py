"""Values of a recipe that only one algorithm has, set by e.g. `--bp.learning-rate 3e-3`."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from experiments.config.choices import ALGORITHMS, CONTROLS
from experiments.config.recipe import Recipe
from sffa_jax.checks import check_choice, reject

ByAlgorithm = Mapping[str, Mapping[str, Any]]
"""Values of fields of the recipe, by algorithm and field."""

OF_DATA = ("selection", "scaling")
"""Fields that all algorithms share: they train and are tested on the same images."""


def recipe_for(recipe: Recipe, values: Mapping[str, Any]) -> Recipe:
    """Returns the recipe with an algorithm's own values; JSON has lists for tuples."""
    changes: Any = {n: tuple(v) if isinstance(v, list) else v for n, v in values.items()}
    return dataclasses.replace(recipe, **changes)


def options_of(options: Mapping[str, Any], algorithm: str) -> dict[str, Any]:
    """Returns recorded options with an algorithm's own values in place of the common ones."""
    return {**options, **options.get("by_algorithm", {}).get(algorithm, {})}


def check_own_values(recipe: Recipe, by_algorithm: ByAlgorithm) -> None:
    """Raises ValueError for an unknown algorithm, and for a value that is invalid."""
    for algorithm, values in by_algorithm.items():
        check_choice("options", "by_algorithm", algorithm, (*ALGORITHMS, *CONTROLS))
        for field, value in values.items():
            name, flag = f"{algorithm}.{field}", f"--{field.replace('_', '-')}"
            if field in OF_DATA:
                rule = "be the same for all algorithms, which share the data"
                raise reject("options", name, rule, repr(value), f"Use {flag}.")
        recipe_for(recipe, values).check()


def own_flags(values: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Returns the own values that differ from those of default options, by algorithm.

    Args:
      values, defaults: all options by name, with `algorithms` and `by_algorithm`.
    """
    differing: dict[str, dict[str, Any]] = {}
    for algorithm in values["algorithms"]:
        own, usual = (v.get("by_algorithm", {}).get(algorithm, {}) for v in (values, defaults))
        for field in dict.fromkeys([*own, *usual]):
            # What is not an own value is the recipe's.
            value = own.get(field, values[field])
            if value != usual.get(field, values[field]):
                differing.setdefault(algorithm, {})[field] = value
    return differing
