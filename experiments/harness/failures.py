"""The one translation of errors of the input, the system and memory into a sentence and a status.

What is not translated is a bug of this project and keeps its traceback.
"""

import dis
import os
import re
import sys
import threading
from typing import NamedTuple

import jax

from experiments.harness.signals import SAVED


class Failure(NamedTuple):
    """Attributes: status: exit status of the command; sentence: for stderr, in one line."""

    status: int
    sentence: str


def describe(error: BaseException) -> Failure | None:
    """Returns the failure that an error stands for; None for a bug.

    >>> describe(OSError(28, "No space left on device", "runs/x")).status
    1
    >>> describe(MemoryError("Unable to allocate 8. GiB")).sentence.partition(". ")[0]
    'memory is exhausted: Unable to allocate 8'
    """
    text = " ".join(str(error).split())
    if isinstance(error, OSError):
        return Failure(1, f"{text}. {SAVED}.")
    exhausted = isinstance(error, jax.errors.JaxRuntimeError) and "RESOURCE_EXHAUSTED" in text
    if isinstance(error, MemoryError) or exhausted:
        return Failure(1, f"memory is exhausted{_amount(text)}. {SMALLER} {SAVED}.")
    if isinstance(error, RuntimeError) and "can't start new thread" in text:
        return Failure(1, f"the system allows no further thread (ulimit -u, ulimit -v). {SAVED}.")
    if isinstance(error, RuntimeError) and "home directory" in text:  # pathlib, for "~"
        return Failure(2, "There is no home directory that ~ could stand for. Set HOME.")
    if isinstance(error, ValueError | TypeError) and _is_ours(error):
        return Failure(2, text)
    return None


SMALLER = "Choose a smaller --hidden, --channels or --batch-size, or raise the limit of memory."


def _amount(text: str) -> str:
    """Returns the sentence of the error that names the allocation, after a colon."""
    if match := re.search(r"allocat\w* (\d+) bytes", text):
        return f": {int(match[1]) / 2**30:.1f} GiB could not be allocated"
    return f": {text[:200]}" if text else ""


def _is_ours(error: BaseException) -> bool:
    """Returns whether a `raise` of this project made the error, and not a library."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return False
    # Functions in C have no frame: their errors come from another operation of ours, a bug.
    operation = trace.tb_frame.f_code.co_code[trace.tb_lasti]
    # Not `__name__`, which is "__main__" for the started module.
    spec = trace.tb_frame.f_globals.get("__spec__")
    ours = spec is not None and spec.name.split(".")[0] in ("sffa_jax", "experiments")
    return ours and dis.opname[operation] == "RAISE_VARARGS"


def end_on_thread_failure() -> None:
    """Ends the process, with one line, if the system or memory fails in a thread.

    Python would print a traceback, and the main thread would wait for that thread for ever.
    """
    original = threading.excepthook

    def hook(arguments: threading.ExceptHookArgs) -> None:
        error = arguments.exc_value
        failure = None if error is None else describe(error)
        if failure is None:
            original(arguments)
            return
        print(f"error: {failure.sentence}", file=sys.stderr)
        os._exit(failure.status)

    threading.excepthook = hook
