"""Signals end a command with one line, and go on to the processes that it started."""

import os
import signal
import threading

import pytest

from experiments import compare
from experiments.harness import experiment, signals
from sffa_jax.scale import resumable


class Ended(BaseException):
    """Stands for the end of the process."""


@pytest.fixture(autouse=True)
def restored():
    before = {number: signal.getsignal(number) for number in signals.SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_the_library_handles_the_same_signals():
    assert signals.SIGNALS == resumable.SIGNALS


@pytest.mark.parametrize("number", signals.SIGNALS)
def test_a_signal_ends_the_process_with_one_line(monkeypatch, number):
    lines = []

    def leave(status):
        raise Ended(status)

    monkeypatch.setattr(signals.os, "_exit", leave)
    monkeypatch.setattr(signals.os, "write", lambda _, text: lines.append(text))
    signals.handle_signals()
    with pytest.raises(Ended) as ended:
        signal.raise_signal(number)
    assert ended.value.args == (128 + number,)
    assert lines == [f"Interrupted. {signals.SAVED}\n".encode()]
    for further in signals.SIGNALS:
        signal.raise_signal(further)
    assert len(lines) == 1


def test_signals_are_ignored_when_a_command_has_ended(monkeypatch):
    """Python restores their default action while it ends, but not that of ignored ones."""
    monkeypatch.setattr(experiment, "set_up", lambda _: None)
    monkeypatch.setattr("sys.argv", ["compare"])
    assert experiment.execute(lambda _: None, compare.Options, "compare") == 0
    assert {signal.getsignal(number) for number in signals.SIGNALS} == {signal.SIG_IGN}


def test_ignored_signals_stay_ignored():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signals.handle_signals()
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    assert signal.getsignal(signal.SIGTERM) is signals.end


CHILD = """
import signal, sys
def end(number, _):
    print("ended", flush=True)
    sys.exit(128 + number)
signal.signal(signal.SIGTERM, end)
print("ready", flush=True)
signal.pause()
"""


def test_a_child_receives_the_signal_and_its_status_is_returned(capfd):
    assert signals.run_python("-S", "-c", "raise SystemExit(2)") == 2

    def send():
        while "ready" not in capfd.readouterr().out:
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    sender = threading.Thread(target=send)
    sender.start()
    with pytest.raises(SystemExit) as ended:
        signals.run_python("-S", "-c", CHILD)
    sender.join()
    assert ended.value.code == 143
    assert "ended" in capfd.readouterr().out
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
