"""What every command does before its experiment begins."""

import pytest
from commands import read, start


@pytest.mark.slow
def test_a_second_start_compiles_nothing(tmp_path):
    kept = tmp_path / "programs"
    arguments = ["--algorithms", "sffa", "--hidden", "8", "--epochs", "1", "--seeds", "2"]
    arguments += ["--parallel", "devices", "--compilation-cache", str(kept)]
    accuracies, programs = [], []
    for name in ("first", "second"):
        run = start("compare", *arguments, "--out", str(tmp_path / name))
        assert run.returncode == 0, run.stderr
        accuracies.append([record["test_accuracy"] for record in read(tmp_path / name)])
        programs.append({path.name for path in kept.iterdir() if path.name.endswith("-cache")})
    assert accuracies[0] == accuracies[1]
    assert programs[0]
    assert programs[0] == programs[1]
