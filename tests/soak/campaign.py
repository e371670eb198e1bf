"""A campaign: many random attempts, counted by outcome; any failure fails it at its end."""

import collections
import contextlib
import os
import signal
import traceback

import numpy as np

SEED = int(os.environ.get("SFFA_SOAK_SEED", "0"))
FRACTION = float(os.environ.get("SFFA_SOAK", "1"))
"""Fraction of the attempts of each campaign, for a quick trial."""


def campaign(name, count, attempt, seconds=120):
    """Calls `attempt(rng, number)` so many times; it returns a word for the outcome, or raises.

    Args:
      name: printed with the counts.
      count: number of attempts; `SFFA_SOAK` scales it.
      attempt: its generator depends only on `SFFA_SOAK_SEED` and the number of the attempt, so a
        failure can be repeated alone.
      seconds: an attempt that takes longer hangs, which is a failure.
    """
    count = max(1, round(count * FRACTION))
    outcomes, failures = collections.Counter(), []
    for number in range(count):
        try:
            with time_limit(seconds):
                outcomes[attempt(np.random.default_rng([SEED, number]), number)] += 1
        except Exception:
            failures.append((number, traceback.format_exc()))
    counts = ", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items()))
    print(f"SOAK {name}: {count} attempts: {counts}; {len(failures)} failures (seed {SEED})")
    for number, trace in failures[:10]:
        print(f"--- {name}, attempt {number}\n{trace}")
    assert not failures


@contextlib.contextmanager
def time_limit(seconds):
    """Raises TimeoutError in the main thread after so many seconds."""

    def end(*_):
        raise TimeoutError(f"no end within {seconds} s")

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def check_refusal(run):
    """A command that is refused has status 1 or 2 and one line on stderr."""
    assert run.status in (1, 2), (run.status, run.err[-2000:])
    lines = [line for line in run.err.splitlines() if not line.startswith("warning: ")]
    assert len(lines) == 1, run.err[-2000:]
    assert lines[0].startswith("error: "), lines
