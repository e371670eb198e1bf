import json
from datetime import datetime as real_datetime

import numpy as np
import pytest
from run_records import OPTIONS, trained

from experiments.harness import run_folder
from experiments.harness.run_folder import RunFolder
from experiments.reports.html_report import run_facts
from sffa_jax.scale.placement import Placement

GIVEN = OPTIONS | {"algorithms": ["ffa"], "seeds": 2, "epochs": 2}
RUN = trained("ffa", 0)


def open_folder(path, free=("seeds", "algorithms"), **changes):
    return RunFolder(path, "compare", GIVEN | changes, free=free)


def test_records_survive_and_are_found_again(tmp_path):
    with open_folder(tmp_path) as folder:
        folder.append(RUN | {"history": {"validation_accuracy": [], "loss": [float("nan")]}})
    with open_folder(tmp_path, seeds=5) as folder:
        assert folder.records[0]["history"]["loss"] == [None]
    config = json.loads((tmp_path / "config.json").read_text())
    assert {"versions", "device", "git_commit", "started", "schema"} <= config.keys()
    # A later start with a smaller grid leaves the runs of the larger one in the folder.
    open_folder(tmp_path, seeds=1, algorithms=["bp"]).__exit__()
    grid = json.loads((tmp_path / "config.json").read_text())["options"]
    assert grid == GIVEN | {"seeds": 5, "algorithms": ["ffa", "bp"]}


@pytest.mark.parametrize("rest", ["", '\n{"seed": 2, "te'])
def test_only_a_truncated_last_line_is_dropped(tmp_path, rest):
    """A complete record is kept, with a newline or without."""
    with open_folder(tmp_path) as folder:
        folder.append(RUN)
    with (tmp_path / "results.jsonl").open("a") as file:
        file.write(json.dumps(RUN | {"seed": 1}) + rest)
    with open_folder(tmp_path, seeds=4) as folder:
        assert [record["seed"] for record in folder.records] == [0, 1]
        folder.append(RUN | {"seed": 3})
    lines = (tmp_path / "results.jsonl").read_text().splitlines()
    assert [json.loads(line)["seed"] for line in lines] == [0, 1, 3]


def test_refusals(tmp_path):
    with open_folder(tmp_path) as folder:
        with pytest.raises(ValueError, match="is in use by another process"):
            open_folder(tmp_path)
        folder.append(RUN)
    with pytest.raises(ValueError, match="other options: epochs was 2 and is now 4"):
        open_folder(tmp_path, epochs=4)
    with open_folder(tmp_path) as folder:  # a refusal releases the folder
        assert len(folder.records) == 1
    data = {"source": "a", "sha256": {"x": "1"}}
    with pytest.raises(ValueError, match="the data's content changed"):
        RunFolder(tmp_path, "compare", GIVEN, extra={"data": data})
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="cannot be written"):
        open_folder(tmp_path / "file")


def test_a_folder_without_work_takes_other_options(tmp_path):
    """An option that is refused late must not refuse the corrected command."""
    open_folder(tmp_path).__exit__()
    with open_folder(tmp_path, epochs=9) as folder:
        assert folder.config["options"]["epochs"] == 9
    (tmp_path / "config.json").write_text('{"name": "of another program"}')
    with pytest.raises(ValueError, match=r"config.json is damaged: `experiment` is missing"):
        open_folder(tmp_path)


def test_a_measured_placement_is_kept(tmp_path):
    """A start that resumes before the first checkpoint does not measure again."""
    with open_folder(tmp_path) as folder:
        assert folder.placement("FFA", 1, lambda: Placement("vmap")) == Placement("vmap")
        assert folder.placement("FFA", 2, lambda: Placement("map")) == Placement("map")
        assert folder.placement("FFA", 1, lambda: Placement("vmap")) == Placement("map")
    with open_folder(tmp_path) as folder:
        assert folder.placement("FFA", 2, lambda: Placement("vmap")) == Placement("map")
        assert folder.placement("SFFA", 2, lambda: Placement("vmap")) == Placement("vmap")


def test_the_commits_that_made_runs_are_named_in_order(tmp_path, monkeypatch):
    def start(commit, *seeds):
        monkeypatch.setattr(run_folder, "_git_commit", lambda: commit)
        with open_folder(tmp_path, seeds=4) as folder:
            for seed in seeds:
                folder.append(RUN | {"seed": seed})
        return json.loads((tmp_path / "config.json").read_text())["git_commit"]

    assert start("a") == "a"
    assert start("b", 0) == "b", "a made no run"
    assert start("c") == "b"
    assert start("d", 1) == "b, d"
    assert start("b", 2) == "b, d"
    assert start(None, 3) == "b, d, unknown"


def test_the_devices_and_versions_that_made_runs_are_named(tmp_path, monkeypatch):
    there = {"platform": "gpu", "kind": "H100", "count": 1, "host_cores": 16}
    with open_folder(tmp_path, seeds=2) as folder:
        folder.append(RUN)
        here = folder.config["device"]
        now = run_folder.environment()
        elsewhere = {"device": there, "versions": now["versions"] | {"jax": "9"}}
        monkeypatch.setattr(run_folder, "environment", lambda: now | elsewhere)
        folder.append(RUN | {"seed": 1})
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["device"]["kind"] == f"{here['kind']}, H100"
    assert config["device"]["host_cores"] is None
    assert config["versions"] == now["versions"] | {"jax": f"{now['versions']['jax']}, 9"}
    with open_folder(tmp_path, seeds=2) as folder:  # the report's facts and the schema accept it
        assert run_facts(folder.config)["Device"] == f"several: {here['kind']}, H100"


def test_data_may_move(tmp_path):
    """What binds a folder is the data's content."""

    def start(path, content="1"):
        extra = {"data": {"source": path, "sha256": {"train_images": content}}}
        return RunFolder(tmp_path, "compare", GIVEN | {"dataset": f"npz:{path}"}, extra=extra)

    with start("a.npz") as folder:
        folder.append(RUN | {"dataset": "npz:a.npz"})
    with start("b.npz") as folder:
        assert folder.config["options"]["dataset"] == "npz:a.npz"
    with pytest.raises(ValueError, match=r"dataset was 'npz:a.npz' and is now 'npz:b.npz'; the"):
        start("b.npz", content="2")


def test_an_error_before_any_work_leaves_no_folder(tmp_path):
    with pytest.raises(ValueError, match="late"), open_folder(tmp_path / "new"):
        raise ValueError("late")
    assert not (tmp_path / "new").exists()
    with pytest.raises(KeyboardInterrupt), open_folder(tmp_path / "new"):
        raise KeyboardInterrupt
    with open_folder(tmp_path / "new") as folder:
        folder.append(RUN)
    with pytest.raises(ValueError, match="late"), open_folder(tmp_path / "new"):
        raise ValueError("late")
    assert (tmp_path / "new" / "results.jsonl").exists()


def test_no_records_are_written_without_their_options(tmp_path):
    """A folder that was moved is made again, by a checkpoint, without config.json."""
    with open_folder(tmp_path / "out") as folder:
        (tmp_path / "out").rename(tmp_path / "moved")
        (tmp_path / "out" / "checkpoints").mkdir(parents=True)
        with pytest.raises(FileNotFoundError, match=r"config\.json"):
            folder.append(RUN)
    assert not (tmp_path / "out" / "results.jsonl").exists()


def test_two_starts_in_one_second_have_two_folders(tmp_path, monkeypatch):
    class Clock:
        now = staticmethod(lambda: real_datetime(2026, 1, 2, 3, 4, 5))

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run_folder, "datetime", Clock)
    with open_folder(None) as one, open_folder(None) as other:
        assert [folder.path.name for folder in (one, other)] == [
            "20260102-030405",
            "20260102-030405-2",
        ]


def test_checkpoints_of_finished_runs_go_and_others_stay(tmp_path):
    """A run that is killed after its records leaves them; those of a larger start are work."""
    with open_folder(tmp_path) as folder:
        checkpoints = folder.checkpoints("sffa")
        checkpoints.save(1, {"x": np.zeros(2)}, info={"seeds": [0, 1]})
        folder.clear_finished("sffa", {0})
        folder.clear_finished("ffa", {0, 1})
        assert checkpoints.folder.exists()
        folder.clear_finished("sffa", {0, 1, 2})
    assert not (tmp_path / "checkpoints").exists()
