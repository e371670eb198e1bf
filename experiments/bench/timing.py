"""Times programs in turn, so that other load on the machine affects all of them equally."""

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

LONG_ENOUGH = 20.0
"""Seconds after which no additional rounds run."""

MOST_ROUNDS = 10
"""Maximum number of rounds, as a multiple of the requested number."""


class Timed(NamedTuple):
    """A program to be timed.

    Attributes:
      names: fields of its record that name it.
      call: runs it and waits for its end.
    """

    names: dict[str, Any]
    call: Callable[[], Any]


def compiled(function: Callable[..., Any], *arguments: Any) -> tuple[Callable[[], Any], float]:
    """Compiles a call ahead of time; returns the compiled call and the seconds of compilation."""
    began = time.perf_counter()
    program = jax.jit(function).lower(*arguments).compile()
    seconds = time.perf_counter() - began
    return lambda: jax.block_until_ready(program(*arguments)), seconds


def seconds_in_turn(programs: Sequence[Timed], repeats: int) -> list[list[float]]:
    """Returns the seconds of every program in each round; a round runs each of them once.

    Short rounds vary more, so they are repeated until they have taken `LONG_ENOUGH` together.
    """
    seconds: list[list[float]] = [[] for _ in programs]
    first = time.perf_counter()
    for number in range(MOST_ROUNDS * repeats + 1):
        if number > repeats and time.perf_counter() - first > LONG_ENOUGH:
            break
        for program, of_program in zip(programs, seconds, strict=True):
            began = time.perf_counter()
            program.call()
            if number:  # round 0 allocates memory
                of_program.append(time.perf_counter() - began)
    return seconds


def ratios(name: str, seconds: Sequence[float], others: Sequence[float]) -> dict[str, Any]:
    """Returns the ratio of the medians, and the ratio of each round."""
    return {
        f"{name}_ratio": float(np.median(seconds) / np.median(others)),
        f"{name}_ratios": [a / b for a, b in zip(seconds, others, strict=True)],
    }


def timed_records(programs: Sequence[Timed], repeats: int) -> list[dict[str, Any]]:
    """Times programs and returns a record for each."""
    seconds = seconds_in_turn(programs, repeats)
    return [p.names | {"seconds": s} for p, s in zip(programs, seconds, strict=True)]
