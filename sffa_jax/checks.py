"""The one place that words an error about an argument.

Every message reads ``<function>: `<argument>` must <rule>, got <value>. <What to do.>`` so
that a user sees what was wrong and what to change without reading a traceback.
"""

from collections.abc import Collection, Sequence
from typing import Any

import jax


def reject(where: str, argument: str, rule: str, got: object, advice: str = "") -> ValueError:
    """The error to raise: names the argument, the rule it breaks, its value and the way out."""
    message = f"{where}: `{argument}` must {rule}, got {got}."
    return ValueError(f"{message} {advice}" if advice else message)


def check_choice(where: str, argument: str, value: object, choices: Collection[str]) -> None:
    """Raises ValueError unless `value` is one of the names in `choices`."""
    if value not in choices:
        raise reject(where, argument, f"be one of {', '.join(sorted(choices))}", repr(value))


def check_integer(where: str, argument: str, value: object, minimum: int, advice: str = "") -> None:
    """Raises TypeError unless `value` is a whole number, ValueError if it is below `minimum`."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{where}: `{argument}` must be a whole number, got {value!r}. {advice}")
    if value.__index__() < minimum:
        raise reject(where, argument, f"be at least {minimum}", value, advice)


def check_image_shape(where: str, shape: Sequence[int]) -> tuple[int, int, int]:
    """Height, width and channels of (height, width[, channels]); ValueError for another shape."""
    if len(shape) not in (2, 3) or min(shape) < 1:
        raise reject(where, "shape", "be (height, width[, channels])", tuple(shape))
    return shape[0], shape[1], shape[2] if len(shape) == 3 else 1


def check_range(
    where: str,
    argument: str,
    value: Any,
    *,
    above: float | None = None,
    at_least: float | None = None,
    at_most: float | None = None,
    advice: str = "",
) -> None:
    """Raises ValueError unless the number lies in the range; NaN lies in none.

    A traced value passes: its number is not known yet, and a sweep traces hyperparameters.
    """
    if isinstance(value, jax.core.Tracer):
        return
    bounds = [
        ("above", above, lambda bound: value > bound),
        ("at least", at_least, lambda bound: value >= bound),
        ("at most", at_most, lambda bound: value <= bound),
    ]
    stated = [(word, bound, holds) for word, bound, holds in bounds if bound is not None]
    if not all(holds(bound) for _, bound, holds in stated):
        rule = "be a number " + " and ".join(f"{word} {bound:g}" for word, bound, _ in stated)
        raise reject(where, argument, rule, value, advice)
