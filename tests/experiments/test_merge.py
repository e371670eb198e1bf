"""The parts of a grid, joined, are the grid."""

import json
import re
import shutil

import pytest
from commands import programs_once, read, run_command

from experiments.merge import check_cells

GIVEN = ["--hidden", "8", "--epochs", "1", "--seeds", "3", "--batch-size", "64"]
GIVEN += ["--algorithms", "sffa", "bp", "--parallel", "map", "--save-networks"]


def join(parts, out):
    return run_command("merge", "--parts", parts, "--out", out)


def run(*arguments):
    return run_command("compare", *GIVEN, *arguments)


@pytest.fixture(scope="module", autouse=True)
def shared_programs():
    with programs_once():
        yield


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """Six runs in four parts; one of them spans both algorithms."""
    folder = tmp_path_factory.mktemp("grid") / "parts"
    for i in (1, 2, 3, 4):
        part = run("--shard", f"{i}/4", "--out", folder)
        assert part.status == 0, part.err
    return folder


def by_run(folder):
    return {(r["algorithm"], r["seed"]): r["test_accuracy"] for r in read(folder)}


def test_every_run_is_in_one_part(parts):
    sizes = [len(read(parts / f"shard-{i}-of-4")) for i in range(1, 5)]
    assert sizes == [1, 2, 1, 2]


def test_the_parts_are_the_whole(parts):
    folder = parts.parent
    assert run("--out", folder / "whole").status == 0
    for _ in range(2):  # joined again, nothing is there twice
        joined = join(parts, folder / "joined")
        assert joined.status == 0, joined.err
        assert "4 parts, 6 runs" in joined.out
    command = joined.out.split("The report: ")[1]
    assert command.startswith("python -m experiments.compare --algorithms sffa bp --seeds 3")
    assert "--shard" not in command
    assert by_run(folder / "joined") == by_run(folder / "whole")
    assert len(read(folder / "joined")) == len([*(folder / "joined" / "networks").iterdir()]) == 6
    # The experiment has nothing left to do but its report.
    again = run("--out", folder / "joined")
    assert again.status == 0, again.err
    assert "epoch" not in again.out.partition("Algorithm")[0]
    assert (folder / "joined" / "report.html").exists()


@pytest.fixture
def copied(parts, tmp_path):
    return shutil.copytree(parts, tmp_path / "copied")


def change_config(part):
    config = json.loads((part / "config.json").read_text())
    config["options"]["batch_size"] = 7
    (part / "config.json").write_text(json.dumps(config))


def test_a_part_without_runs(tmp_path, copied):
    """Of nine parts of two runs, seven are empty."""
    empty = run("--shard", "1/9", "--out", tmp_path / "parts", "--seeds", "1")
    assert (empty.status, "Part 1/9 has no runs" in empty.out) == (0, True), empty.err
    config = json.loads((tmp_path / "parts" / "shard-1-of-9" / "config.json").read_text())
    assert config["part"] == {"number": 1, "of": 9, "runs": 0}
    part = copied / "shard-2-of-4"
    (part / "results.jsonl").unlink()
    config = json.loads((part / "config.json").read_text())
    (part / "config.json").write_text(json.dumps(config | {"part": config["part"] | {"runs": 0}}))
    joined = join(copied, tmp_path / "joined")
    assert "4 parts, 4 runs" in joined.out, joined.err


def repeat_run(part):
    file = part / "results.jsonl"
    file.write_text(file.read_text() * 2)


def copy_runs(part):
    shutil.copy(part.with_name("shard-4-of-4") / "results.jsonl", part)


def swap(part, other):
    part.rename(part.with_name("away"))
    shutil.copytree(other, part)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda p: p.rename(p.with_name("away")),
            "`parts` must contain all 4 parts, got no part [2]",
        ),
        (lambda p: (p.parent / "shard-1-of-3").mkdir(), "divisions into [3, 4] parts"),
        (change_config, "different ['batch_size']"),
        (repeat_run, "it repeats the run of line 1"),
        (copy_runs, "must contain each run once"),
        (lambda p: (p / "config.json").unlink(), "has no config.json"),
        (lambda p: (p / "results.jsonl").unlink(), "must be finished, got 0 of 2 runs"),
        (lambda p: swap(p, p.with_name("shard-4-of-4")), "got part 4 of 4"),
    ],
)
def test_parts_that_do_not_fit(copied, tmp_path, damage, message):
    damage(copied / "shard-2-of-4")
    joined = join(copied, tmp_path / "out")
    assert joined.status == 2
    assert message in joined.err
    assert not (tmp_path / "out").exists()


def test_parts_that_chose_other_numbers_are_refused():
    """Parts of one cell that search by themselves may end at different values."""
    runs = {("mnist", "class", "ewc", "bp", None, seed): {"strength": 10.0} for seed in (0, 1)}
    check_cells(runs)
    runs["mnist", "class", "ewc", "bp", None, 2] = {"strength": 100.0}
    runs["mnist", "class", "ewc", "ffa", None, 2] = {"strength": 1.0}
    message = (
        "`strength` must be the same for all seeds of mnist, class, ewc, bp, got 10.0 (seed 0)"
    )
    with pytest.raises(ValueError, match=re.escape(f"{message} and 100.0 (seed 2). Each part")):
        check_cells(runs)
    # The layers that `records` chose.
    rows = {("mnist", "sffa", "deep", i): {"recipe": {"first_scored": i}} for i in (0, 1)}
    with pytest.raises(ValueError, match=r"`first_scored` must be the same for all seeds of mnist"):
        check_cells(rows)


def test_the_commits_and_devices_of_all_parts_are_named(copied, tmp_path):
    for number, commit in enumerate("abba", 1):
        file = copied / f"shard-{number}-of-4" / "config.json"
        config = json.loads(file.read_text()) | {"git_commit": commit}
        config["device"]["kind"] = commit.upper()
        file.write_text(json.dumps(config))
    for _ in range(2):
        assert join(copied, tmp_path / "joined").status == 0
        config = json.loads((tmp_path / "joined" / "config.json").read_text())
        assert (config["git_commit"], config["device"]["kind"]) == ("a, b", "A, B")


def test_the_result_is_none_of_the_parts(copied):
    before = read(copied / "shard-1-of-4")
    joined = join(copied, copied / "shard-1-of-4")
    assert (joined.status, "`out` must be none of the parts" in joined.err) == (2, True)
    assert read(copied / "shard-1-of-4") == before


def test_a_part_of_another_grid_is_refused(copied):
    grown = run("--shard", "1/4", "--out", copied, "--seeds", "5")
    assert grown.status == 2
    assert "seeds was 3 and is now 5" in grown.err


def test_no_parts(tmp_path):
    joined = join(tmp_path, tmp_path / "out")
    assert joined.status == 2
    assert "must contain the parts of one division" in joined.err


@pytest.mark.parametrize("shard", ["0/4", "5/4", "1", "a/b", "1/4/2"])
def test_bad_parts(tmp_path, shard):
    part = run("--shard", shard, "--out", tmp_path / "out")
    assert part.status == 2
    assert f"`shard` must be i/n with 1 <= i <= n, got {shard!r}" in part.err
    assert not (tmp_path / "out").exists()
