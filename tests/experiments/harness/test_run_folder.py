import json

import pytest

from experiments.harness.run_folder import RunFolder

OPTIONS = {"epochs": 3, "seeds": 2}


def open_folder(path, free=("seeds",), **changes):
    return RunFolder(path, "compare", OPTIONS | changes, free=free)


def test_records_survive_and_are_found_again(tmp_path):
    with open_folder(tmp_path) as folder:
        folder.append({"algorithm": "ffa", "seed": 0, "loss": float("nan")})
    with open_folder(tmp_path, seeds=5) as folder:
        assert folder.records == [{"algorithm": "ffa", "seed": 0, "loss": None}]
        assert folder.is_done(algorithm="ffa", seed=0)
        assert not folder.is_done(algorithm="ffa", seed=1)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["options"] == OPTIONS
    assert {"versions", "device", "git_commit", "started"} <= config.keys()


def test_a_torn_line_is_dropped(tmp_path):
    with open_folder(tmp_path) as folder:
        folder.append({"seed": 0})
    with (tmp_path / "results.jsonl").open("a") as file:
        file.write('{"seed": 1, "te')
    with open_folder(tmp_path) as folder:
        assert folder.records == [{"seed": 0}]
        folder.append({"seed": 1})
    lines = (tmp_path / "results.jsonl").read_text().splitlines()
    assert [json.loads(line)["seed"] for line in lines] == [0, 1]


def test_refusals(tmp_path):
    with open_folder(tmp_path), pytest.raises(ValueError, match="is in use by another process"):
        open_folder(tmp_path)
    with pytest.raises(ValueError, match="other options: epochs was 3 and is now 4"):
        open_folder(tmp_path, epochs=4)
    with pytest.raises(ValueError, match="the data's content changed"):
        RunFolder(
            tmp_path, "compare", OPTIONS, extra={"data": {"source": "a", "sha256": {"x": "1"}}}
        )
    (tmp_path / "results.jsonl").write_text("not json\n")
    with pytest.raises(ValueError, match="results.jsonl line 1 is damaged"):
        open_folder(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match="config.json is damaged"):
        open_folder(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="cannot be written"):
        open_folder(tmp_path / "file")


def test_a_refusal_releases_the_folder(tmp_path):
    open_folder(tmp_path).__exit__()
    with pytest.raises(ValueError, match="other options"):
        open_folder(tmp_path, epochs=9)
    with open_folder(tmp_path) as folder:
        assert folder.records == []
