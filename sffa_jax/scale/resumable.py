"""A loop that can be interrupted: it saves checkpoints, and a last one when a signal arrives."""

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any, TypeVar

import jax

from sffa_jax.checks import check_integer, check_range, reject, reject_type
from sffa_jax.scale.checkpoints import Checkpoints, PyTree
from sffa_jax.scale.processes import all_reduce_max

Carry = TypeVar("Carry")


class Interrupted(KeyboardInterrupt):
    """A signal ended the program at a point from which it can resume.

    Attributes: signal: its number.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"interrupted by {signal.Signals(number).name}")
        self.signal = number


SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
"""Signals of terminals, systems and job schedulers that end a program."""


class _Pending:
    """The signal handler's message to the loop.

    Attributes: loops: number of loops that run now; signal: received and not yet handled; ending:
    whether a loop has raised `Interrupted`.
    """

    loops = 0
    signal: int | None = None
    ending = False


@contextmanager
def graceful_interrupts() -> Iterator[None]:
    """A context in which `SIGNALS` let `run_resumable` save before it ends.

    Further signals do not cut that short. Outside of `run_resumable`, a signal calls the handler
    that the program had set for it, or raises `Interrupted` at once. Ignored signals stay ignored.
    Works in the main thread; in other threads it has no effect.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before: dict[int, Any] = {number: signal.getsignal(number) for number in SIGNALS}

    def handle(number: int, frame: FrameType | None) -> None:
        if _Pending.ending:
            return
        handler = before[number]
        if _Pending.loops:
            _Pending.signal = _Pending.signal or number
        elif callable(handler) and handler is not signal.default_int_handler:
            handler(number, frame)
        else:
            raise Interrupted(number)

    _Pending.signal, _Pending.ending = None, False
    handled = [number for number in SIGNALS if before[number] is not signal.SIG_IGN]
    for number in handled:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number in handled:
            signal.signal(number, before[number])
        _Pending.signal, _Pending.ending = None, False


def run_resumable(
    init: Callable[[], Carry],
    step: Callable[[int, Carry], Carry],
    num_steps: int,
    checkpoints: Checkpoints | None = None,
    *,
    info: Mapping[str, Any] | None = None,
    every_seconds: float = 60.0,
    like: PyTree | None = None,
) -> Carry:
    """Calls `step` for each number from 0 to `num_steps` - 1; resumes from the last checkpoint.

    Args:
      init: returns the first carry, a pytree of JAX arrays, or what `like` describes. Not called if
        there is a checkpoint.
      step: (number, carry) -> carry. If it depends on nothing else, a resumed loop ends
        bit-identical to an uninterrupted one.
      num_steps: number of steps.
      checkpoints: where to save; None: nowhere.
      info: JSON that identifies the run. Checkpoints with another `info` are deleted.
      every_seconds: minimum time between two checkpoints; 0: one after each step.
      like: structure of the carry, see `Checkpoints.latest`; None: that of `init`.

    Returns:
      The carry after the last step. It is not saved: the caller saves the results, then clears the
      checkpoints.

    Raises:
      Interrupted: after a signal, see `graceful_interrupts`; the carry is saved.
      TypeError: for a folder in place of `Checkpoints`, or a first carry of other arrays, which
        would not come back as they are.
      ValueError: for a negative number of steps, a negative interval, or a checkpoint with another
        structure or more steps.

    >>> import jax.numpy as jnp
    >>> run_resumable(lambda: jnp.float32(1), lambda number, carry: 2 * carry, 5).tolist()
    32.0
    """
    check_integer("run_resumable", "num_steps", num_steps, 0)
    check_range("run_resumable", "every_seconds", every_seconds, at_least=0)
    number, carry = 0, None
    if checkpoints is not None:
        if not isinstance(checkpoints, Checkpoints):
            rule, got = "be `Checkpoints(folder)`", type(checkpoints).__name__
            raise reject_type("run_resumable", "checkpoints", rule, got)
        structure = jax.eval_shape(init) if like is None else like
        checkpoint = checkpoints.latest(structure, dict(info or {}))
        if checkpoint is not None:
            number, carry = checkpoint.step, checkpoint.tree
            if number > num_steps:
                rule = f"be at least {number}, the steps of the checkpoint"
                raise reject("run_resumable", "num_steps", rule, num_steps)
        else:
            checkpoints.clear()
    if carry is None:
        carry = init()
        if checkpoints is not None and like is None:
            _check_arrays(carry)
    last_saved = time.monotonic()
    _Pending.loops += 1
    try:
        while number < num_steps:
            carry = step(number, carry)
            number += 1
            # A signal to one process interrupts all, and all save after the same step.
            overdue = time.monotonic() - last_saved >= every_seconds
            interrupt, due = all_reduce_max(_Pending.signal or 0, int(overdue))
            if checkpoints is not None and (due or interrupt) and number < num_steps:
                checkpoints.save(number, carry, info)
                last_saved = time.monotonic()
            if interrupt and number < num_steps:
                _Pending.ending = True
                raise Interrupted(interrupt)
    finally:
        _Pending.loops -= 1
    return carry


def _check_arrays(carry: PyTree) -> None:
    """Raises TypeError for numbers and NumPy arrays: `jax.eval_shape` hides their type."""
    for leaf in jax.tree.leaves(carry):
        if not isinstance(leaf, jax.Array):
            advice = "Use `jnp.asarray`, or give `like`."
            rule, got = "return JAX arrays", type(leaf).__name__
            raise reject_type("run_resumable", "init", rule, got, advice)
