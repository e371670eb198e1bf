"""The parts of a grid, joined, are the grid."""

import json
import shutil

import pytest
from commands import read, run_program

from experiments import compare, merge
from experiments.harness.experiment import execute

# In a process without type checks of shapes, which stacked runs do not pass.
PROGRAM = """
import sys
from experiments import compare, merge
from experiments.harness.experiment import execute
given, folder = sys.argv[1].split(), sys.argv[2]
def run(*arguments):
    assert execute(compare.main, compare.Options, "compare", [*given, *arguments]) == 0
for i in (1, 2, 3, 4):
    run("--shard", f"{i}/4", "--out", f"{folder}/parts")
run("--out", f"{folder}/whole")
joined = ["--parts", f"{folder}/parts", "--out", f"{folder}/joined"]
for _ in range(2):  # joined again, nothing is there twice
    print("MERGED")
    assert execute(merge.main, merge.Options, "merge", joined) == 0
print("RUN AGAIN")
run("--out", f"{folder}/joined")
"""

GIVEN = ["--hidden", "8", "--epochs", "1", "--seeds", "3", "--batch-size", "64"]
GIVEN += ["--algorithms", "sffa", "bp", "--parallel", "map"]


def join(parts, out):
    arguments = ["--parts", str(parts), "--out", str(out)]
    return execute(merge.main, merge.Options, "merge", arguments)


def run(*arguments):
    return execute(compare.main, compare.Options, "compare", [*GIVEN, *map(str, arguments)])


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """Six runs in four parts; one of them spans both algorithms."""
    folder = tmp_path_factory.mktemp("parts")
    (folder / "said").write_text(run_program(PROGRAM, " ".join(GIVEN), folder))
    return folder / "parts"


def by_run(folder):
    return {(r["algorithm"], r["seed"]): r["test_accuracy"] for r in read(folder)}


def test_every_run_is_in_one_part(parts):
    sizes = [len(read(parts / f"shard-{i}-of-4")) for i in range(1, 5)]
    assert sizes == [1, 2, 1, 2]


def test_the_parts_are_the_whole(parts):
    folder = parts.parent
    _, said, *_, again = (folder / "said").read_text().split("MERGED")
    assert "4 parts, 6 runs" in said
    command = said.split("The report: ")[1]
    assert command.startswith("python -m experiments.compare --algorithms sffa bp --seeds 3")
    assert "--shard" not in command
    assert by_run(folder / "joined") == by_run(folder / "whole")
    assert len(read(folder / "joined")) == 6
    # The experiment finds nothing to do but its report.
    assert "epoch" not in again.partition("RUN AGAIN")[2].partition("Algorithm")[0]
    assert (folder / "joined" / "report.html").exists()


@pytest.fixture
def copied(parts, tmp_path):
    return shutil.copytree(parts, tmp_path / "copied")


def change_config(part):
    config = json.loads((part / "config.json").read_text())
    config["options"]["epochs"] = 7
    (part / "config.json").write_text(json.dumps(config))


def repeat_run(part):
    file = part / "results.jsonl"
    file.write_text(file.read_text() * 2)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda p: p.rename(p.with_name("away")), "`parts` must hold all 4 parts, got no part [2]"),
        (lambda p: (p.parent / "shard-1-of-3").mkdir(), "divisions into [3, 4] parts"),
        (change_config, "other ['epochs']"),
        (repeat_run, "must hold each run once"),
        (lambda p: (p / "config.json").unlink(), "holds no results that can be read"),
    ],
)
def test_parts_that_do_not_fit(copied, tmp_path, capsys, damage, message):
    damage(copied / "shard-2-of-4")
    assert join(copied, tmp_path / "out") == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_no_parts(tmp_path, capsys):
    assert join(tmp_path, tmp_path / "out") == 2
    assert "must hold the parts of one division" in capsys.readouterr().err


@pytest.mark.parametrize("shard", ["0/4", "5/4", "1", "a/b", "1/4/2"])
def test_bad_parts(tmp_path, capsys, shard):
    assert run("--shard", shard, "--out", tmp_path / "out") == 2
    assert f"`shard` must be i/n with 1 <= i <= n, got {shard!r}" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
