"""Timing programs side by side, so that whatever else the machine does falls on all alike."""

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np


class Timed(NamedTuple):
    """Attributes: names: the fields that name it; call: runs it to its end; extra: more fields."""

    names: dict[str, Any]
    call: Callable[[], Any]
    extra: dict[str, Any]


def compiled(function: Callable[..., Any], *arguments: Any) -> tuple[Callable[[], Any], float]:
    """The call, compiled ahead, and the seconds that took."""
    began = time.perf_counter()
    program = jax.jit(function).lower(*arguments).compile()
    seconds = time.perf_counter() - began
    return lambda: jax.block_until_ready(program(*arguments)), seconds


ENOUGH = 20.0
"""Seconds after which no more rounds are run than asked for."""

MOST = 10
"""Times as many rounds as asked for, at most."""


def in_turn(programs: Sequence[Timed], repeats: int) -> list[list[float]]:
    """Seconds of every program in each round; each round runs all of them once.

    Short rounds vary more: there are more of them, until they have lasted `ENOUGH` together.
    """
    seconds: list[list[float]] = [[] for _ in programs]
    first = time.perf_counter()
    for number in range(MOST * repeats + 1):
        if number > repeats and time.perf_counter() - first > ENOUGH:
            break
        for program, found in zip(programs, seconds, strict=True):
            began = time.perf_counter()
            program.call()
            if number:  # the first round touches fresh memory
                found.append(time.perf_counter() - began)
    return seconds


def ratios(name: str, seconds: Sequence[float], others: Sequence[float]) -> dict[str, Any]:
    """Ratio of the medians, and the ratio in each round."""
    return {
        f"{name}_ratio": float(np.median(seconds) / np.median(others)),
        f"{name}_ratios": [a / b for a, b in zip(seconds, others, strict=True)],
    }


def records_of(programs: Sequence[Timed], repeats: int) -> list[dict[str, Any]]:
    """Times programs that need no ratio."""
    seconds = in_turn(programs, repeats)
    return [p.names | {"seconds": s} | p.extra for p, s in zip(programs, seconds, strict=True)]
