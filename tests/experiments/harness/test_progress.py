"""What is seen of runs under way: on a terminal, in a log, in TensorBoard's event files."""

import io
import re
from pathlib import Path

import numpy as np
import pytest
from commands import run_command
from rich.console import Console
from tensorboard_events import curves

from experiments.compare import Options
from experiments.harness import progress
from experiments.harness.experiment import parse
from experiments.harness.progress import Watcher, scalars, status
from experiments.harness.run_folder import RunFolder, file_name

LOSSES = np.array([[0.25, 0.75], [1.0, 2.0]], np.float32)
ACCURACIES = np.array([[0.5, 0.25, 0.75], [1.0, 0.75, 0.5]])


def terminal(width):
    return Console(
        force_terminal=True,
        file=io.StringIO(),
        width=width,
        color_system=None,
        _environ={"TERM": "xterm"},
    )


def shown(console):
    """What the terminal was sent, without the controls."""
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", console.file.getvalue())


def test_status_means_over_runs():
    said = status(LOSSES, ACCURACIES, "validation")
    assert said == "loss 1, validation 75.00 %, layers 50.00 / 62.50 %"
    assert status(LOSSES, None, "validation") == "loss 1"
    # End to end there is one layer, which is the network.
    assert status(LOSSES[:, :1], ACCURACIES[:, :2], "tasks so far").endswith("tasks so far 75.00 %")


def test_runs_that_diverged_are_counted_apart():
    for bad in (np.nan, np.inf):
        losses = np.array([[0.5, 1.5], [0.5, bad], [3e38, 3e38]], np.float32)
        assert status(losses[:2], None, "x") == "loss 1 (1 of 2 diverged)"
        assert status(losses, None, "x") == "loss 1.5e+38 (1 of 3 diverged)"
        assert status(losses[1:2], None, "x") == "loss nan (1 of 1 diverged)"


def test_a_log_has_the_first_the_middle_and_the_last_line():
    console = Console(file=io.StringIO(), width=20)
    with Watcher(console, "[1/2] SFFA", 6, "epoch", "validation") as watcher:
        for epoch in range(1, 7):
            watcher.show(epoch, LOSSES / epoch, ACCURACIES)
    said = "validation 75.00 %, layers 50.00 / 62.50 %"
    assert console.file.getvalue().splitlines() == [
        f"[1/2] SFFA: epoch 1/6, loss 1, {said}",
        f"[1/2] SFFA: epoch 3/6, loss 0.3333, {said}",
        f"[1/2] SFFA: epoch 6/6, loss 0.1667, {said}",
    ]
    with Watcher(console, "SFFA", 2000, "epoch", "validation") as watcher:
        watcher.show(2000, LOSSES, None)
    assert console.file.getvalue().splitlines()[-1] == "SFFA: epoch 2000/2000, loss 1"


def test_a_log_shows_where_a_run_resumes_and_a_line_a_minute(monkeypatch):
    console, now = Console(file=io.StringIO()), 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    with Watcher(console, "SFFA", 40, "epoch", "validation") as watcher:
        for epoch in range(7, 13):
            now += 25.0
            watcher.show(epoch, LOSSES, None)
    lines = console.file.getvalue().splitlines()
    assert lines == [f"SFFA: epoch {epoch}/40, loss 1" for epoch in (7, 10)]


def test_what_leaves_a_line_of_its_own_only_shows_that_it_goes_on(monkeypatch):
    console = Console(file=io.StringIO())
    with Watcher(console, "cell", 2, "task", "tasks so far", keep=False) as watcher:
        watcher.show(1, LOSSES, None)
        assert not console.file.getvalue()
        monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
        watcher.show(4 / 3, LOSSES, ACCURACIES)
    assert console.file.getvalue().startswith("cell: task 1.33/2, loss 1, tasks so far 75.00 %")


@pytest.mark.parametrize("width", [80, 120])
def test_a_terminal_has_a_bar(width):
    console = terminal(width)
    with Watcher(console, "SFFA", 4, "epoch", "validation") as watcher:
        watcher.show(1, LOSSES, None)
        watcher.show(2, LOSSES, ACCURACIES)
    *_, bar, said = shown(console).splitlines()
    assert re.search(r"SFFA ━+╸? +epoch 2/4 0:00:0\d 0:00:0\d left", bar)
    assert len(bar.rstrip()) <= width
    assert said.strip() == "loss 1, validation 75.00 %, layers 50.00 / 62.50 %"


def test_a_long_name_leaves_room_for_the_bar():
    console = terminal(80)
    with Watcher(console, "setting, " * 20, 5, "task", "x") as watcher:
        watcher.show(2.5, LOSSES, None)
    bar = shown(console).splitlines()[-2]
    assert re.search(r"^setting, .*… ━+╸? +task 2/5 0:00:0\d -:--:-- left", bar)


def test_time_left_is_known_however_long_an_epoch_takes(monkeypatch):
    console = terminal(80)
    with Watcher(console, "SFFA", 10, "epoch", "validation") as watcher:
        for epoch in (1, 2, 3):
            monkeypatch.setattr(watcher._bar, "get_time", lambda now=1000.0 * epoch: now)
            watcher.show(epoch, LOSSES, None)
        (task,) = watcher._bar.tasks
        assert task.time_remaining == 7000


def points(run, piece):
    """Two steps a piece."""
    for step in (2 * piece, 2 * piece + 1):
        yield step, {"loss/layer_1": 10.0 * run + step, "nan": float("nan")}


def test_event_files_are_the_history_also_after_a_crash(tmp_path):
    folders = [tmp_path / "a", tmp_path / "b"]
    console = Console(quiet=True)

    def write(*pieces):
        with Watcher(console, "x", 9, "epoch", "x", folders) as watcher:
            for piece in pieces:
                watcher.write(piece, points)

    write(0, 1, 2, 3)
    (tmp_path / "a" / "notes").write_text("mine")
    # The snapshot was from before the third piece; and what came before may be lost.
    write(2, 3)
    write(3, 4)
    for run, folder in enumerate(folders):
        found = curves(folder)
        steps = list(range(10))
        assert found["loss/layer_1"] == (steps, [10.0 * run + step for step in steps])
        assert np.isnan(found["nan"][1]).all()
    assert (tmp_path / "a" / "notes").read_text() == "mine"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_an_error_of_the_disk_ends_the_run(tmp_path, monkeypatch):
    """It is not waited for: tensorboardX's own writer is."""
    monkeypatch.setattr(progress, "FLUSH_SECONDS", 0.0)
    console = Console(quiet=True)
    with Watcher(console, "x", 9, "epoch", "x", [tmp_path]) as watcher:
        watcher.write(0, points)
        (writer,) = watcher._files._writers
        whole, full = writer._writer, open("/dev/full", "wb", buffering=0)  # noqa: SIM115
        writer._writer = full
        with pytest.raises(OSError, match="No space left"):
            watcher.write(1, points)
        full.close()
        writer._writer = whole


def test_only_the_leading_process_writes(tmp_path, monkeypatch):
    monkeypatch.setattr(progress, "is_main_process", lambda: False)
    with Watcher(Console(quiet=True), "x", 9, "epoch", "x", [tmp_path / "a"]) as watcher:
        watcher.write(0, points)
    assert not (tmp_path / "a").exists()


def test_tags_name_the_split_that_was_scored():
    """Under `--selection test`, the accuracies are those of test images."""
    history = {
        "loss": np.ones((1, 1, 1)),
        "validation_accuracy": np.full((1, 1), 0.5),
        "validation_layer_accuracies": np.full((1, 1, 1), 0.25),
    }
    expected = {"loss/layer_1": 1.0, "test_accuracy/network": 0.5, "test_accuracy/layer_1": 0.25}
    assert scalars(history, "test", 0, 0) == [(1, expected)]


def test_names_of_folders(tmp_path):
    assert file_name("without: label code") == "without-label-code-7d54bd6e"
    names = ["a b", "a  b", "a-b", "A-b", "hidden (8,), τ 6", "../x", "", ".", "x" * 500]
    made = [file_name(name) for name in names]
    assert len({*made}) == len(names)
    assert all(re.fullmatch(r"[a-z0-9._-]{1,140}", name) for name in made)
    assert not {".", ".."} & {*made}
    words = [("sffa", "without: label code", "seed-0"), ("sffa", "start", "seed-1")]
    with RunFolder(tmp_path, "benchmark", {}, tensorboard=True) as folder:
        assert [path.relative_to(tmp_path).as_posix() for path in folder.events(words)] == [
            "tensorboard/sffa-without-label-code-7d54bd6e-seed-0",
            "tensorboard/sffa-start-seed-1",
        ]
    with RunFolder(tmp_path, "benchmark", {}) as folder:
        assert folder.events(words) is None


def test_the_option():
    assert not parse(Options, "compare", []).tensorboard
    options = parse(Options, "compare", ["--tensorboard"])
    assert options.tensorboard
    assert options.command("compare") == "python -m experiments.compare"


def test_where_nothing_is_seen_under_way_it_is_refused(tmp_path):
    run = run_command("symmetry", "--tensorboard", "--hidden", "8", "--out", tmp_path / "out")
    assert run.status == 2
    assert "symmetry: `tensorboard` must be left out" in run.err
    assert run.err.count("\n") == 1
    assert not (tmp_path / "out").exists()
