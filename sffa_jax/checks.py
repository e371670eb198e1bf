"""Checks of arguments, and the one form of their error messages.

Every message reads ``<function>: `<argument>` must <rule>, got <value>. <What to do.>`` so
that a user sees the error and the remedy without reading a traceback.
"""

import contextlib
import difflib
import inspect
import operator
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from numbers import Real
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])

LARGEST = 2**31 - 1
"""Largest integer argument; integers in JAX have 32 bits."""

FINITE = (2 - 2**-23) * 2.0**127
"""Largest finite number in float32."""


def _message(where: str, argument: str, rule: str, got: object, advice: str) -> str:
    message = f"{where}: `{argument}` must {rule}, got {got}."
    return f"{message} {advice}" if advice else message


def reject(where: str, argument: str, rule: str, got: object, advice: str = "") -> ValueError:
    """The error to raise: names the argument, its rule, its value and the remedy."""
    return ValueError(_message(where, argument, rule, got, advice))


def reject_type(where: str, argument: str, rule: str, got: object, advice: str = "") -> TypeError:
    """As `reject`, for a value of a wrong type."""
    return TypeError(_message(where, argument, rule, got, advice))


def check_type(
    where: str,
    argument: str,
    value: object,
    types: type | tuple[type, ...],
    rule: str,
    advice: str = "",
) -> None:
    """Raises TypeError unless `value` is an instance of `types`, which `rule` names."""
    if not isinstance(value, types):
        raise reject_type(where, argument, rule, type(value).__name__, advice)


def check_function(where: str, argument: str, value: Any, takes: str, advice: str = "") -> None:
    """Raises TypeError unless `value` is a function of the positional arguments in `takes`.

    A function that makes such a function is none: `overlays.none` in place of `overlays.none()`.
    """
    try:
        inspect.signature(value).bind(*takes.split(", "))
    except ValueError:  # a built-in function without a signature
        pass
    except TypeError:
        name = repr(value) if isinstance(value, str) else type(value).__name__
        got = getattr(value, "__name__", name)
        rule = f"be a function of ({takes})"
        raise reject_type(where, argument, rule, got, advice) from None


def check_choice(
    where: str, argument: str, value: object, choices: Collection[str], advice: str = ""
) -> None:
    """Raises ValueError unless `value` is one of the names in `choices`."""
    if not isinstance(value, str) or value not in choices:
        close = difflib.get_close_matches(str(value), choices, n=1)
        advice = f"Did you mean {close[0]!r}?" if close else advice
        rule = f"be one of {', '.join(sorted(choices))}"
        raise reject(where, argument, rule, repr(value), advice)


def choose(
    where: str, argument: str, value: str | Function, choices: Mapping[str, Function]
) -> Function:
    """Returns the function that `value` names in `choices`, or `value` itself if it is a function.

    Raises:
      ValueError: if `value` is neither a function nor a name in `choices`.

    >>> choose("f", "loss", "abs", {"abs": abs})(-1)
    1
    """
    if callable(value):
        return value
    check_choice(where, argument, value, choices, "A function is accepted, too.")
    return choices[value]


def check_integer(where: str, argument: str, value: Any, minimum: int, advice: str = "") -> None:
    """Raises TypeError unless `value` is a whole number, ValueError if it is below `minimum` or
    above `LARGEST`."""
    number = None
    if type(value).__name__ != "bool":  # NumPy's is an index, too, before 2.3
        with contextlib.suppress(TypeError):  # of traced values, too: their number is unknown
            number = operator.index(value)
    if number is None:
        raise reject_type(where, argument, "be a whole number", repr(value), advice)
    if number < minimum:
        raise reject(where, argument, f"be at least {minimum}", value, advice)
    if number > LARGEST:
        raise reject(where, argument, f"be at most {LARGEST}", value, advice)


def check_integers(
    where: str, argument: str, values: Iterable[int], minimum: int
) -> tuple[int, ...]:
    """Returns the integers in `values`; raises TypeError if it is not a sequence of integers."""
    try:
        numbers = None if isinstance(values, str | bytes) else tuple(values)
    except TypeError:
        numbers = None
    if numbers is None:
        rule = "be a sequence of whole numbers"
        raise reject_type(where, argument, rule, repr(values))
    for number in numbers:
        check_integer(where, argument, number, minimum)
    return numbers


def check_image_shape(
    where: str, shape: Sequence[int], argument: str = "shape"
) -> tuple[int, int, int]:
    """Height, width and channels of (height, width[, channels]); ValueError for another shape,
    TypeError unless its entries are integers."""
    sizes = check_integers(where, argument, shape, 1)
    if len(sizes) not in (2, 3):
        raise reject(where, argument, "be (height, width[, channels])", sizes)
    return sizes[0], sizes[1], sizes[2] if len(sizes) == 3 else 1


def _is_number(value: Any) -> bool:
    if isinstance(value, Real):
        return not isinstance(value, bool)
    if getattr(value, "shape", None) != ():
        return False
    import jax.numpy as jnp

    return any(jnp.issubdtype(value.dtype, kind) for kind in (jnp.floating, jnp.integer))


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
    """Raises TypeError unless `value` is a number, ValueError unless it lies in the range and is
    finite (in float32); NaN is neither.

    A traced value passes, because its number is unknown; sweeps trace hyperparameters.
    """
    if not isinstance(value, Real):
        import jax  # not above: a command's help needs no JAX, which takes a second to import

        if isinstance(value, jax.core.Tracer):
            return
    if not _is_number(value):
        raise reject_type(where, argument, "be a number", repr(value), advice)
    number: Any = value if isinstance(value, Real) else float(value)
    bounds = [
        ("above", operator.gt, above),
        ("at least", operator.ge, at_least),
        ("at most", operator.le, at_most),
    ]
    stated = [(word, holds, bound) for word, holds, bound in bounds if bound is not None]
    inside = all(holds(number, bound) for _, holds, bound in stated)
    if not inside or not abs(number) <= FINITE:
        rules = [f"{word} {bound:g}" for word, _, bound in stated]
        rule = " and ".join(["finite in float32"] * inside + rules)
        raise reject(where, argument, f"be a number {rule}", value, advice)
