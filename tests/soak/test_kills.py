"""Commands that are killed or get signals at random: the last checkpoint stays whole, each end has
the right status and one line, and the results are those of an undisturbed run."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from commands import ROOT

from experiments.harness.signals import SIGNALS
from soak.campaign import campaign

pytestmark = pytest.mark.slow
COMMON = ["--epochs", "6", "--seeds", "2", "--checkpoint-seconds", "0", "--parallel", "map"]
SFFA = ["--algorithms", "sffa", "--hidden", "32"]
COMMANDS = {
    "compare": [*SFFA, *COMMON],
    "continual": [*SFFA, *COMMON, "--scenarios", "class", "--strategies", "replay", "ewc"],
    "latents": ["--algorithms", "sffa", "--hidden", "16", *COMMON, "--probes", "60"],
    "symmetry": ["--hidden", "8", "--epochs", "2", "--seeds", "2"],
    "report": ["{root}/compare"],
}
TIMES = ("train_seconds", "task_seconds")
LONGEST = 900
"""Seconds after which a start counts as hanging, on a busy machine, too."""


def launch(name, root, folder):
    def restored():  # a shell's background jobs ignore SIGINT
        for number in SIGNALS:
            signal.signal(number, signal.SIG_DFL)

    words = [word.format(root=root) for word in COMMANDS[name]]
    return subprocess.Popen(
        [sys.executable, "-m", f"experiments.{name}", *words, "--out", str(folder)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=restored,
    )


def finish(process):
    """What a command printed to stderr until its end."""
    try:
        return process.communicate(timeout=LONGEST)[1]
    finally:
        process.kill()


def handles_signals(process):
    """Whether the command has begun: before that, the signals are the interpreter's."""
    while process.poll() is None:
        with open(f"/proc/{process.pid}/status", encoding="utf-8") as file:
            caught = next(int(line.split()[1], 16) for line in file if line.startswith("SigCgt"))
        if caught >> (signal.SIGUSR2 - 1) & 1:
            return True
        time.sleep(0.005)
    return False


def results(folder):
    """The records without what is never twice the same; a report has none."""
    assert (folder / "report.html").stat().st_size > 1000
    if folder.name.startswith("report"):
        return []
    lines = (folder / "results.jsonl").read_text(encoding="utf-8").splitlines()
    records = [{k: v for k, v in json.loads(line).items() if k not in TIMES} for line in lines]
    return sorted(json.dumps(record, sort_keys=True) for record in records)


def without_time(error):
    """What a command wrote to stderr, without the line of its time, which ends a whole run."""
    return "".join(line for line in error.splitlines(True) if not line.startswith("Time: "))


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="reads /proc")
def test_random_kills_and_signals(tmp_path):
    expected, seconds = {}, {}
    for name in COMMANDS:
        began = time.monotonic()
        process = launch(name, tmp_path, tmp_path / name)
        error = finish(process)
        assert process.returncode == 0, (name, error)
        expected[name], seconds[name] = results(tmp_path / name), time.monotonic() - began
    ends = {"killed": 0, "signaled": 0, "ended": 0}

    def disturb(process, rng, longest):
        """Returns the signals that were sent."""
        if not handles_signals(process):
            return []
        time.sleep(rng.uniform(0, longest))
        if rng.random() < 0.4:
            process.kill()
            return [signal.SIGKILL]
        sent = []
        for _ in range(rng.integers(1, 6)):
            sent.append(SIGNALS[rng.integers(len(SIGNALS))])
            process.send_signal(sent[-1])
            time.sleep(rng.choice([0, 0.002, 0.02, 0.15]))
        return sent

    def attempt(rng, number):
        name = list(COMMANDS)[number % len(COMMANDS)]
        folder = tmp_path / f"{name}-{number}"
        for disturbance in range(3):
            process = launch(name, tmp_path, folder)
            sent = disturb(process, rng, seconds[name] * (1 if disturbance else 0.7))
            error = finish(process)
            status = process.returncode
            if status == -signal.SIGKILL:
                ends["killed"] += 1
            elif status > 128:
                ends["signaled"] += 1
                assert status in {128 + number for number in sent}, (name, status, sent)
                assert error.count("\n") == 1, (name, sent, error[-3000:])
                assert error.startswith("Interrupted. "), error[-3000:]
            else:
                ends["ended"] += 1
                assert (status, without_time(error)) == (0, ""), (name, sent, status, error[-3000:])
            if status == 0:
                break
        else:
            process = launch(name, tmp_path, folder)
            error = finish(process)
            assert (process.returncode, without_time(error)) == (0, ""), (name, error[-3000:])
        assert results(folder) == expected[name], name
        assert not (folder / "checkpoints").exists()
        return name

    campaign("kills", 40, attempt, seconds=4 * LONGEST)
    print(f"SOAK kills: {ends}")
