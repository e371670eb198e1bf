"""The run-time type checker of the tests: an int is a float, as static checkers have it."""

import functools
import inspect
import threading
import types

import jaxtyping
from beartype import BeartypeConf, beartype

checker = beartype(conf=BeartypeConf(is_pep484_tower=True))


def reuse_checks():
    """Writes the checks of a function within a function once, not each time that it is defined.

    jaxtyping writes and compiles two functions for each one that it decorates. A network's update
    defines dozens, and training a small one took a fifth of its time for that.
    """
    jaxtyped = jaxtyping.jaxtyped
    checked = {}
    calls = threading.local()

    def decorate_once(decorate, function):
        if not inspect.isfunction(function) or not function.__code__.co_flags & inspect.CO_NESTED:
            return decorate(function)
        if function.__code__ not in checked:

            def call(*args, **kwargs):
                return calls.pending.pop()(*args, **kwargs)

            stand_in = types.FunctionType(
                call.__code__, function.__globals__, function.__name__, None, call.__closure__
            )
            stand_in.__module__ = function.__module__
            stand_in.__qualname__ = function.__qualname__
            stand_in.__signature__ = inspect.signature(function)
            checked[function.__code__] = decorate(stand_in)
        check = checked[function.__code__]

        @functools.wraps(function)
        def with_checks(*args, **kwargs):
            if not hasattr(calls, "pending"):
                calls.pending = []
            depth = len(calls.pending)
            calls.pending.append(function)
            try:
                return check(*args, **kwargs)
            finally:
                del calls.pending[depth:]  # bad arguments: it was never called

        return with_checks

    def jaxtyped_once(*arguments, **options):
        decorate = jaxtyped(*arguments, **options)
        return decorate if arguments else functools.partial(decorate_once, decorate)

    jaxtyping.jaxtyped = jaxtyped_once
