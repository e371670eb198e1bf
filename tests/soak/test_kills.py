"""Commands that are killed or get signals at random: the last checkpoint stays whole, each end has
the right status and one line, and the results are those of an undisturbed run."""

import collections
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from commands import ROOT, run_command
from PIL import Image

from experiments.harness.signals import SIGNALS
from sffa_jax import data
from soak.campaign import SEED, campaign

pytestmark = pytest.mark.slow
GIVEN = ["--epochs", "4", "--hidden", "16", "--seeds", "2"]
COMMON = [*GIVEN, "--algorithms", "sffa", "--parallel", "map", "--checkpoint-seconds", "0"]
NO_WIDTH = [word for word in COMMON if word not in ("--hidden", "16")]
COMPARE = ["compare", *COMMON, "--save-networks"]
PARTS = ["compare", *COMMON, "--shard"]
GRID = ["--learning-rates", "1e-3", "--densities", "0.1", "--shares", "1", "--widths", "16"]
COMMANDS = {
    "compare": COMPARE,
    # Nothing is saved before a kill, but the placement that was measured first.
    "compare-auto": ["compare", *GIVEN, "--algorithms", "sffa", "--checkpoint-seconds", "9999"],
    "continual": [
        *("continual", *COMMON, "--scenarios", "class", "--tasks", "2"),
        *("--strategies", "replay", "ewc"),
    ],
    "latents": ["latents", *COMMON, "--probes", "60", "--embedded", "50"],
    "symmetry": ["symmetry", "--hidden", "8", "--epochs", "2", "--seeds", "2", "--no-sizes"],
    "ablation": ["ablation", *COMMON, "--start", "default", "--end", "default"],
    "robustness": ["robustness", *NO_WIDTH, *GRID, "--activations", "relu", "sigmoid"],
    "tune": ["tune", *COMMON, "--trials", "2"],
    "benchmark": [
        *("benchmark", "--cases", "networks", "--networks", "1x16", "--images", "128"),
        *("--score-images", "150", "--batch-size", "64", "--features", "12", "--repeats", "1"),
        *("--winners", "3", "--negatives", "uniform"),
    ],
    "estimators": [
        *("estimators", "--seeds", "2", "--max-iter", "5", "--dataset", "breast_cancer"),
        *("--algorithms", "sffa", "logistic"),
    ],
    "report": ["report", "{root}/compare"],
    "merge": ["merge", "--parts", "{root}/parts"],
    "predict": ["predict", "{root}/compare", "{root}/pictures"],
}
NEEDS = {"report": ["compare"], "merge": ["parts"], "predict": ["compare", "pictures"]}
MEASURED = {"train_seconds", "task_seconds", "seconds", "floor_ratio", "floor_ratios", "peak_mib"}
"""Fields that are never twice the same."""

KILLS = 4
"""Kills and signals that a run survives before its results are compared."""
LONGEST = 900
"""Seconds after which a start counts as hanging, on a busy machine, too."""


def launch(words, out):
    # A child would inherit that a shell's background job ignores SIGINT, or SIGHUP under nohup.
    ignored = [number for number in SIGNALS if signal.getsignal(number) is signal.SIG_IGN]
    for number in ignored:
        signal.signal(number, signal.SIG_DFL)
    process = subprocess.Popen(
        [sys.executable, "-m", f"experiments.{words[0]}", *words[1:], "--out", str(out)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)
    return process


def finish(process):
    """What a command printed to stderr, without what a whole run prints there."""
    try:
        error = process.communicate(timeout=LONGEST)[1]
    finally:
        process.kill()
    told = ("Time: ", "Network: ")
    return "".join(line for line in error.splitlines(True) if not line.startswith(told))


def handles_signals(process):
    """Whether the command has begun: before that, the signals are the interpreter's."""
    while process.poll() is None:
        with open(f"/proc/{process.pid}/status", encoding="utf-8") as file:
            caught = next(int(line.split()[1], 16) for line in file if line.startswith("SigCgt"))
        if caught >> (signal.SIGUSR2 - 1) & 1:
            return True
        time.sleep(0.005)
    return False


def disturb(process, rng, life):
    """Kills a command at any moment of its life, or sends signals; returns them."""
    pause = rng.uniform(0, life)
    if rng.random() < 0.4:
        time.sleep(pause)
        process.kill()
        return [signal.SIGKILL]
    if not handles_signals(process):
        return []
    time.sleep(pause)
    sent = []
    for _ in range(rng.integers(1, 6)):
        sent.append(SIGNALS[rng.integers(len(SIGNALS))])
        process.send_signal(sent[-1])
        time.sleep(rng.choice([0, 0.002, 0.02, 0.15]))
    return sent


def results(out):
    """What a command wrote, without what is never twice the same; a report is only looked at."""
    if out.is_file():
        return out.read_text(encoding="utf-8")
    assert not (out / "checkpoints").exists()
    if not out.name.startswith("merge"):
        assert (out / "report.html").stat().st_size > 1000
    if out.name.startswith("report"):
        return []
    name = "tuning.jsonl" if out.name.startswith("tune") else "results.jsonl"
    lines = (out / name).read_text(encoding="utf-8").splitlines()
    records = [{k: v for k, v in json.loads(line).items() if k not in MEASURED} for line in lines]
    return sorted(json.dumps(record, sort_keys=True) for record in records)


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="reads /proc")
def test_random_kills_and_signals(tmp_path):
    expected, life, ends = {}, {}, collections.Counter()

    def run_whole(name, words, out):
        """The results of an undisturbed run; its duration is the command's life."""
        began = time.monotonic()
        process = launch(words, out)
        error = finish(process)
        assert (process.returncode, error) == (0, ""), (name, error[-3000:])
        life[name] = time.monotonic() - began
        expected[name] = results(out)

    def need(name):
        """Makes a command's input, and the results that it must have."""
        if name in expected:
            return
        for needed in NEEDS.get(name, ()):
            need(needed)
        if name == "parts":
            for part in ("1/2", "2/2"):
                run = run_command(*PARTS, part, "--out", tmp_path / "parts")
                assert run.status == 0, run.err
        elif name == "pictures":
            (tmp_path / "pictures").mkdir()
            for i, image in enumerate(data.load("digits").test_images[:20]):
                Image.fromarray(image).save(tmp_path / "pictures" / f"{i}.png")
        elif name != "compare-auto":  # its results depend on the measured placement
            run_whole(name, words_of(name), tmp_path / name)
            return
        expected[name], life[name] = None, 10.0

    def words_of(name):
        return [word.format(root=tmp_path) for word in COMMANDS[name]]

    def compare(name, out):
        key, words = name, words_of(name)
        if name == "compare-auto":
            (mode,) = json.loads((out / "config.json").read_text())["placements"].values()
            key, words = f"compare-{mode}", [*words, "--parallel", mode]
        if key not in expected:
            run_whole(key, words, tmp_path / key)
        assert results(out) == expected[key], key

    def attempt(rng, number):
        name = list(COMMANDS)[(SEED + number) % len(COMMANDS)]
        need(name)
        out, disturbed = tmp_path / f"{name}-{number}", 0
        while True:
            process = launch(words_of(name), out)
            sent = disturb(process, rng, life[name]) if disturbed < KILLS else []
            error = finish(process)
            status = process.returncode
            if status == -signal.SIGKILL:
                ends["killed"] += 1
            elif status > 128:
                ends["signaled"] += 1
                assert status in {128 + number for number in sent}, (name, status, sent)
                assert error.count("\n") == 1, (name, sent, error[-3000:])
                assert error.startswith("Interrupted. "), (name, sent, error[-3000:])
            else:
                assert (status, error) == (0, ""), (name, sent, status, error[-3000:])
                compare(name, out)
                (shutil.rmtree if out.is_dir() else os.remove)(out)
                if disturbed == KILLS:
                    return name
                ends["too late"] += 1  # the next one is a new run
                life[name] *= 0.8
                continue
            disturbed += 1

    campaign("kills", len(COMMANDS), attempt, seconds=4 * LONGEST)
    print(f"SOAK kills: {dict(ends)}")
