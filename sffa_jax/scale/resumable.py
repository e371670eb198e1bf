"""A loop that can be stopped: it saves on the way, and when it is asked to end."""

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any, TypeVar

import jax

from sffa_jax.checks import check_integer, check_range
from sffa_jax.scale.processes import highest
from sffa_jax.scale.snapshots import Checkpoints, PyTree

Carry = TypeVar("Carry")


class Stopped(KeyboardInterrupt):
    """A run was asked to stop, and stopped where it can go on from.

    Attributes: signal: that asked for it.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.signal = number


class _Request:
    """What the handlers and the loops below tell each other."""

    loops = 0
    signal: int | None = None


def _handle(number: int, _: FrameType | None) -> None:
    if _Request.loops and _Request.signal is None:
        _Request.signal = number
        return
    raise Stopped(number)


@contextmanager
def graceful_stop() -> Iterator[None]:
    """Inside, SIGTERM and SIGINT let a `drive` save first; a second one stops at once.

    Outside of a `drive` they raise `Stopped` at once. For the main thread only: elsewhere it
    changes nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, _handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        _Request.signal = None
        for number, handler in before.items():
            signal.signal(number, handler)


def drive(
    begin: Callable[[], Carry],
    advance: Callable[[int, Carry], Carry],
    length: int,
    checkpoints: Checkpoints | None = None,
    *,
    info: Mapping[str, Any] | None = None,
    every_seconds: float = 60.0,
    every_steps: int | None = None,
    like: PyTree | None = None,
) -> Carry:
    """Goes through all steps from wherever the last start was stopped.

    Args:
      begin: makes the carry that the first step takes. Not called if a snapshot is there.
      advance: (number of the step from 0, carry) -> carry. It must depend on nothing else that
        differs from start to start; a resumed run then ends bit-identical to an undisturbed one.
      length: number of steps.
      checkpoints: where snapshots are kept; None keeps none.
      info: JSON that names the run and goes with each snapshot. Snapshots of another run are
        removed, not gone on with.
      every_seconds: time between snapshots, at least.
      every_steps: steps between snapshots, whatever the time; None: time alone counts.
      like: structure of the carry, see `Checkpoints.latest`; None: that of `begin`.

    Returns:
      The carry after the last step. It is not saved: who called keeps what matters and clears
      the snapshots.

    Raises:
      Stopped: if SIGTERM or SIGINT came, see `graceful_stop`; the carry is then on disk.
      ValueError: for a negative length, an interval that is negative or no step, or snapshots of
        another structure.
    """
    check_integer("drive", "length", length, 0)
    check_range("drive", "every_seconds", every_seconds, at_least=0)
    if every_steps is not None:
        check_integer("drive", "every_steps", every_steps, 1)
    number, carry = 0, None
    if checkpoints is not None:
        named = dict(info or {})
        found = checkpoints.latest(jax.eval_shape(begin) if like is None else like, named)
        if found is not None:
            number, carry = found.step, found.tree
        else:
            checkpoints.clear()
    carry = begin() if carry is None else carry
    saved = time.monotonic()
    _Request.loops += 1
    try:
        while number < length:
            carry = advance(number, carry)
            number += 1
            # A signal to one process stops them all, and all save at the same step.
            late = time.monotonic() - saved >= every_seconds
            asked, due = highest(_Request.signal or 0, int(late))
            due = due or asked or (every_steps is not None and number % every_steps == 0)
            if checkpoints is not None and due and number < length:
                checkpoints.save(number, carry, info)
                saved = time.monotonic()
            if asked and number < length:
                raise Stopped(asked)
    finally:
        _Request.loops -= 1
    return carry
