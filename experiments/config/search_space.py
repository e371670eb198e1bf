"""The values that tuning tries: a declared range of each number, and points of a Sobol sequence."""

import math
from typing import NamedTuple

from experiments.config.effects import is_used
from experiments.config.recipe import Recipe

EDGE = 0.05
"""Fraction of a range: a chosen value this close to an end is "at the edge"."""

FIRST_SEED = 1000
"""First seed of tuning; no run that is reported has it."""


class Range(NamedTuple):
    """Range of a number. Attributes: low, high: its ends; log: whether its logarithm is uniform."""

    low: float
    high: float
    log: bool = True

    def at(self, place: float) -> float:
        """Returns the number at a place from 0 to 1, with three digits, as a user types it."""
        if self.log:
            value = self.low * (self.high / self.low) ** place
        else:
            value = self.low + (self.high - self.low) * place
        return float(f"{value:.3g}")

    def place(self, value: float) -> float:
        """Returns the place of a number, from 0 to 1; the inverse of `at`."""
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def edge(self, value: float) -> str:
        """Returns "lower" or "upper" for a value near that end, else "". Zero is no edge: no value
        lies below it.

        >>> Range(1e-4, 1e-2).edge(1.1e-4), Range(0.0, 0.5, log=False).edge(0.01)
        ('lower', '')
        """
        place = self.place(value)
        if place < EDGE and self.low:
            return "lower"
        return "upper" if place > 1 - EDGE else ""


SHARED = {
    "learning_rate": Range(1e-4, 3e-2),
    "weight_decay": Range(1e-4, 1.0),
    "input_dropout": Range(0.0, 0.5, log=False),
    "label_smoothing": Range(0.0, 0.3, log=False),
}
"""Numbers of all algorithms."""


def own_ranges(recipe: Recipe, algorithm: str) -> dict[str, Range]:
    """Returns the ranges of the numbers that only "sffa" or "ffa" has; none for "bp"."""
    if algorithm == "sffa":
        # Softmax and learned class units need an eps that is small against the activity.
        small = recipe.loss == "softmax" or recipe.class_units == "learned"
        eps = Range(1e-6, 1e-1) if small or recipe.measure == "mean_square" else Range(1e-2, 1e2)
        return {"logit_scale": Range(1.0, 30.0), "eps": eps}
    if algorithm == "ffa":
        units = 1 if recipe.ffa_measure == "mean_square" else 300  # a sum over hundreds of units
        scale = {"ffa_logit_scale": Range(1 / units, 100 / units)}
        if not is_used(recipe, "ffa", "ffa_threshold"):
            return scale
        return scale | {"ffa_threshold": Range(0.03 * units, 3.0 * units)}
    return {}


def search_space(recipe: Recipe, algorithm: str) -> dict[str, Range]:
    """Returns the range of each number that tuning sets for an algorithm."""
    shared = {name: r for name, r in SHARED.items() if is_used(recipe, algorithm, name)}
    return shared | own_ranges(recipe, algorithm)


def draw_trials(recipe: Recipe, algorithm: str, number: int) -> list[dict[str, float]]:
    """Returns the first points of a scrambled Sobol sequence in an algorithm's space.

    All algorithms have the same points in the numbers that they share.

    Reference: Joe and Kuo 2008, SIAM J. Sci. Comput. 30(5).

    >>> draw_trials(Recipe(), "bp", 2)[0].keys() == search_space(Recipe(), "bp").keys()
    True
    """
    from scipy.stats import qmc  # slow to import

    own = own_ranges(recipe, algorithm)
    sequence = qmc.Sobol(len(SHARED) + 2, rng=0)
    # A power of two, as the sequence is balanced; its start does not depend on the number.
    places = sequence.random_base2(max(0, math.ceil(math.log2(number))))[:number]
    ranges = search_space(recipe, algorithm)
    columns = {name: column for column, name in enumerate([*SHARED, *own])}
    return [
        {name: of.at(float(place[columns[name]])) for name, of in ranges.items()}
        for place in places
    ]
