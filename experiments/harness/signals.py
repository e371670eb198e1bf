"""Signals end a command with one line, from its first moment on.

Imports next to nothing: `experiments` calls `handle_signals` before the imports that take seconds.
"""

import os
import signal
import sys
from types import FrameType

SAVED = "Finished work is saved; the same command with the same --out resumes"

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
"""Signals that end a command: of a terminal, of the system and of job schedulers."""


def handle_signals() -> None:
    """Lets every signal of `SIGNALS` call `end`; ignored ones (nohup) stay ignored."""
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, end)


def ignore_signals() -> None:
    """Ignores further signals: the process is about to end."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def end(number: int, _: FrameType | None = None) -> None:
    """Ends the process at once, with one line and status 128 + `number`.

    An exception at an arbitrary point could be printed and dropped in a callback of the garbage
    collector, and unwinding would run into the next signal. Files are replaced atomically, so
    nothing on disk needs unwinding.
    """
    ignore_signals()
    try:
        if sys.stdout.isatty():
            os.write(1, b"\x1b[?25h\n")  # a progress bar hides the cursor
        os.write(2, f"Interrupted. {SAVED}\n".encode())
    except (OSError, ValueError, AttributeError):  # no reader, closed, none
        pass
    os._exit(128 + number)


def run_python(*words: str) -> int:
    """Runs Python in a child process and returns its status; passes signals on to it.

    Raises:
      SystemExit: if a signal ended the child, which has printed so.
    """
    import subprocess

    received: list[int] = []
    children: list[subprocess.Popen[bytes]] = []

    def forward(number: int, _: FrameType | None) -> None:
        received.append(number)
        for child in children:
            child.send_signal(number)

    handled = [n for n in SIGNALS if signal.getsignal(n) is not signal.SIG_IGN]
    before = {number: signal.signal(number, forward) for number in handled}
    try:
        child = subprocess.Popen([sys.executable, *words])
        children.append(child)
        for number in received:  # those that came before the child was known
            child.send_signal(number)
        status = child.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if status in {128 + number for number in SIGNALS}:
        raise SystemExit(status)
    if received:
        end(received[0])
    return status
