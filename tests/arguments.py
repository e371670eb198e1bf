"""Shared by the `test_arguments` files: a bad number or name is rejected by name and value.

The rejection must come from this library's own checks, before JAX or NumPy fail: the innermost
frame of the error lies in the library. Each file holds a table of the public functions of its
package; a function that is neither in the table nor exempt fails.
"""

import functools
import importlib
import inspect
import pkgutil
import traceback
import types
import typing
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
import jaxtyping
import numpy as np
import optax
import pytest
from flax import struct
from hypothesis import strategies as st

import sffa_jax
from sffa_jax.core import architectures, network, overlays, rules

LIBRARY = Path(sffa_jax.__file__).parent

NO_NUMBER = [
    *("1", "", "nan", b"1", True, False, np.True_, 1j),
    *([], (), {}, (1,), np.ones(2), object()),
]


def no_type_checks():
    """Turn off type checks in front of the library's own, and show all frames of JAX."""
    before = jaxtyping.config.jaxtyping_disable, jax.config.jax_traceback_filtering
    jaxtyping.config.update("jaxtyping_disable", True)
    jax.config.update("jax_traceback_filtering", "off")
    yield
    jaxtyping.config.update("jaxtyping_disable", before[0])
    jax.config.update("jax_traceback_filtering", before[1])


users_settings = pytest.fixture(scope="module", autouse=True)(no_type_checks)


# Bad values.


def number(above=None, at_least=None, at_most=None, none=False):
    """Values that are no finite number in the range; `none`: whether None is valid."""
    bad = st.sampled_from([float("nan"), float("inf"), -float("inf"), 1e39, -1e300, 10**400])
    bad |= st.sampled_from(NO_NUMBER + [None] * (not none))
    lowest = above if at_least is None else at_least
    if lowest is not None:
        bad |= st.floats(max_value=lowest, exclude_max=above is None, allow_infinity=False)
        bad |= st.integers(max_value=lowest - (above is None))
        bad |= st.sampled_from([np.float32(lowest - 1), np.array(lowest - 2)])
    if at_most is not None:
        bad |= st.floats(min_value=at_most, exclude_min=True)
    return bad


def whole(at_least=0, none=False, huge=True):
    """Values that are no integer of at least `at_least` and (`huge`) of 32 bits."""
    bad = st.floats() | st.sampled_from(
        [*NO_NUMBER, np.float32(2), np.array([1, 2])] + [None] * (not none)
    )
    if at_least is not None:
        bad |= st.integers(max_value=at_least - 1)
    return bad | st.integers(min_value=2**31) if huge else bad


def choice(names, none=False):
    """Values that are none of the names."""
    no_name = [3, 0.5, float("nan"), True, b"bce", [], (), {}, ["all"], {"all"}, np.ones(2)]
    misspelled = st.sampled_from(sorted(names)).flatmap(
        lambda name: st.sampled_from([name.swapcase(), f" {name}", name[:-1], f"{name}s"])
    )
    bad = misspelled | st.text().filter(lambda text: text not in names)
    return bad | st.sampled_from(no_name + [None] * (not none))


def wholes(at_least=0, huge=True):
    """Values that are no sequence of such integers."""
    no_sequence = st.sampled_from([5, 2.5, float("nan"), None, True, "12", b"12", object(), ()])
    among = st.sampled_from([1, 2, 3])
    bad = st.tuples(st.lists(among), whole(at_least, huge=huge), st.lists(among))
    return no_sequence | bad.map(lambda parts: (*parts[0], parts[1], *parts[2]))


# Good arguments.

H, TARGETS = np.ones((3, 2, 4), np.float32), np.eye(2, dtype=bool)[[0, 1, 0]]
LOGITS, LABELS, SPLIT = H[..., 0], np.arange(3), np.arange(12) % 4
IMAGES = np.zeros((3, 4, 4), np.uint8)
ADAM = optax.adam(1e-3)


@functools.cache
def key():
    return jax.random.key(0)


@functools.cache
def small_network():
    layers = architectures.dense_layers([4, 4])
    return network.Network(layers, rules.sffa(), overlays.appended_gaussian(), num_classes=4)


class Records:
    """The records of a data set on disk."""

    image_shape, labels = (4, 4), LABELS


# The table and its checks.


class Case(typing.NamedTuple):
    """A function, the bad values of each argument, and the other arguments of the call."""

    function: Callable
    bad: dict[str, st.SearchStrategy]
    good: Callable[[], dict] = dict
    call: Callable | None = None
    names: dict[str, str] = {}  # noqa: RUF012
    """Names of arguments in messages, where they differ."""

    def __repr__(self):
        return self.name

    @property
    def name(self):
        """Dotted name within the library; data's functions by the name users import."""
        module = self.function.__module__.removeprefix("sffa_jax.")
        return f"{'data' if module.startswith('data.') else module}.{self.function.__name__}"


def pairs(cases):
    """Pytest parameters: each argument of each case."""
    return [
        pytest.param(case, argument, id=f"{case.name}-{argument}")
        for case in cases
        for argument in case.bad
    ]


def shown(value):
    """The texts by which a message may show a value or the part of it that is wrong."""
    parts = value if isinstance(value, list | tuple) else ()
    nothing = {"none", "0 classes", "[]"} if isinstance(value, tuple) and not value else set()
    return {str(value), repr(value)}.union(nothing, *map(shown, parts))


def check_rejected(case, argument, value):
    """Assert that the library rejects the value by the argument's name and the value."""
    with pytest.raises((ValueError, TypeError)) as caught:
        (case.call or case.function)(**case.good() | {argument: value})
    message = str(caught.value)
    assert f"`{case.names.get(argument, argument)}`" in message
    assert any(text in message for text in shown(value))
    *_, (innermost_frame, _) = traceback.walk_tb(caught.tb)
    innermost = innermost_frame.f_code.co_filename
    assert LIBRARY in Path(innermost).parents, innermost


def checkable(annotation):
    """Whether an argument is a number, a name, or a sequence of integers."""
    union = typing.get_origin(annotation) in (typing.Union, types.UnionType)
    members = typing.get_args(annotation) if union else (annotation,)
    integers = (Sequence[int], tuple[int, ...], Sequence[Sequence[int]])
    # A path may be any string.
    return Path not in members and any(one in (int, float, str, *integers) for one in members)


def public_functions(package):
    """The public functions and classes of a package's modules."""
    path = importlib.import_module(f"sffa_jax.{package}").__path__
    for found in pkgutil.walk_packages(path, f"sffa_jax.{package}."):
        for name, value in vars(importlib.import_module(found.name)).items():
            if not name.startswith("_") and getattr(value, "__module__", None) == found.name:
                yield value


def arguments(function):
    """Names of a function's arguments that are numbers or names."""
    # Errors and dictionaries have no signature; the library builds the state of a run.
    if isinstance(function, type) and issubclass(function, Exception | dict | struct.PyTreeNode):
        return set()
    if not isinstance(function, type | types.FunctionType):
        return set()
    parameters = inspect.signature(function).parameters
    return {name for name, value in parameters.items() if checkable(value.annotation)}


def missing(functions, cases, exempt):
    """Names of the arguments that are neither in the table nor exempt."""
    table = {case.name: case.bad for case in cases}
    assert not set(table) & set(exempt)
    return sorted(
        f"{name}.{argument}"
        for function in functions
        for name in [Case(function, {}).name]
        if name not in exempt
        for argument in arguments(function)
        if f"{name}.{argument}" not in exempt and argument not in table.get(name, {})
    )
