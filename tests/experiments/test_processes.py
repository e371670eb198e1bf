"""One device, eight, or two processes: the same runs, and one folder of results."""

import os
import signal
import time
from unittest import mock

import jax
import pytest
from commands import end, experiment_together, host_devices, read, run_command, start

COMPARE = ["--hidden", "16", "--epochs", "2", "--seeds", "3", "--batch-size", "64"]
COMPARE += ["--algorithms", "sffa"]
CONTINUAL = ["--hidden", "12", "--epochs", "12", "--seeds", "2", "--memory", "50"]
CONTINUAL += ["--scenarios", "class", "--strategies", "replay", "--algorithms", "sffa"]


def runs(folder, *fields):
    """Each run's fields, by algorithm and seed."""
    found = {(r["algorithm"], r["seed"]): [r[f] for f in fields] for r in read(folder)}
    assert len(found) == len(read(folder))
    return found


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """One run after another, in one process."""
    out = tmp_path_factory.mktemp("alone")
    run = run_command("compare", *COMPARE, "--parallel", "map", "--out", out)
    assert run.status == 0, run.err
    return runs(out, "test_accuracy", "layer_accuracies", "history")


def test_eight_devices(alone, tmp_path):
    run = run_command("compare", *COMPARE, "--parallel", "devices", "--out", tmp_path)
    assert run.status == 0, run.err
    assert runs(tmp_path, "test_accuracy", "layer_accuracies", "history") == alone


def test_two_processes(alone, tmp_path):
    kept = ["--out", str(tmp_path), "--save-networks", "--tensorboard"]
    ended = end(experiment_together("compare", *COMPARE, *kept))
    assert [status for status, *_ in ended] == [0, 0], ended
    assert runs(tmp_path, "test_accuracy", "layer_accuracies", "history") == alone
    assert "Report:" in ended[0][1]
    assert "Report:" not in ended[1][1]
    assert len(list((tmp_path / "networks").iterdir())) == 3
    # One of them wrote the events.
    assert len(list((tmp_path / "tensorboard").glob("*/events.*"))) == 3
    # The folder is whole: a start without company finds nothing to do.
    again = run_command("compare", *COMPARE, "--out", tmp_path)
    assert again.status == 0, again.err
    assert "epoch" not in again.out.split("Algorithm")[0]


@pytest.mark.slow
def test_two_processes_stop_together_and_go_on(tmp_path):
    """A signal to one process stops both; what they saved goes on to the undisturbed end."""
    given = [*CONTINUAL, "--checkpoint-seconds", "0"]
    jobs = experiment_together("continual", *given, "--out", str(tmp_path / "two"))
    folder = tmp_path / "two" / "checkpoints" / "run"
    late = time.monotonic() + 120
    while time.monotonic() < late and not list(folder.glob("[1-9]")):
        time.sleep(0.02)
    jobs[1].send_signal(signal.SIGTERM)
    ended = end(jobs)
    assert [status for status, *_ in ended] == [128 + signal.SIGTERM] * 2, ended
    assert list(folder.glob("[1-9]"))
    assert not (tmp_path / "two" / "results.jsonl").exists()
    ended = end(experiment_together("continual", *given, "--out", str(tmp_path / "two")))
    assert [status for status, *_ in ended] == [0, 0], ended
    # Each device's program is the same: so is every bit. Against --parallel map, whose loop is
    # compiled otherwise, sums can differ in the last bit.
    with mock.patch.dict(os.environ, host_devices(2)):
        given = [*CONTINUAL, "--parallel", "devices"]
        whole = start("continual", *given, "--out", str(tmp_path / "one"))
    assert whole.returncode == 0, whole.stderr
    fields = ("accuracy_matrix", "layer_accuracies", "task_losses", "stored_bytes")
    assert runs(tmp_path / "two", *fields) == runs(tmp_path / "one", *fields)


def test_bad_input_ends_every_process(tmp_path):
    out = tmp_path / "file"
    out.write_text("")
    ended = end(experiment_together("compare", *COMPARE, "--out", str(out)))
    assert [status for status, *_ in ended] == [2, 2]
    assert all("cannot be written" in said for *_, said in ended)


def test_several_processes_need_their_devices(monkeypatch):
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    ended = run_command("compare", *COMPARE, "--parallel", "vmap")
    assert ended.status == 2
    assert "`parallel` must be one of auto, devices, got 'vmap'" in ended.err
