"""Edited folders are refused in one sentence, by the commands and by their report."""

import dataclasses
import importlib
import json
import re
import shlex
import shutil

import pytest
from commands import run_command
from run_records import write_results

from experiments.claims.doc_tables import ROOT
from experiments.config.cli import parse
from experiments.config.options import GRID_OPTIONS, RESUMABLE_OPTIONS, Common
from experiments.harness.records import changed_options, read_config, read_records
from experiments.harness.results import load_results

FOLDER = ROOT / "results" / "compare" / "digits"
REMOVE = object()


@pytest.fixture
def folder(tmp_path):
    """Six runs of the committed comparison on digits."""
    copy = tmp_path / "copy"
    copy.mkdir()
    shutil.copy(FOLDER / "config.json", copy)
    lines = (FOLDER / "results.jsonl").read_text().splitlines(keepends=True)
    (copy / "results.jsonl").write_text("".join(lines[::5]))
    return copy


def edit(content, path, value):
    """Sets or removes the item at `path` of nested JSON."""
    *above, last = path
    for key in above:
        content = content[key]
    if value is REMOVE:
        del content[last]
    else:
        content[last] = value


def edit_line(folder, number, path, value):
    file = folder / "results.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    edit(lines[number], path, value)
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["seed"], REMOVE, "`seed` is missing"),
        (["seed"], "0", "`seed` must be a whole number from 0, got '0'"),
        (["seed"], True, "`seed` must be a whole number"),
        (["seed"], 10, "`seed` must be below 10, as in config.json, got 10"),
        (["seed"], 10**400, "`seed` must be a whole number"),
        (["dataset"], "mnist", "`dataset` must be 'digits', as in config.json, got 'mnist'"),
        (["algorithm"], "gan", "`algorithm` must be one of ffa, sffa, bp, head, got 'gan'"),
        (["algorithm"], ["ffa"], "`algorithm` must be one of"),
        (["epochs"], 3, "`epochs` must be 40, as in config.json, got 3"),
        (["test_accuracy"], 98.2, "`test_accuracy` must be a number from 0 to 1, got 98.2"),
        (["test_accuracy"], None, "`test_accuracy` must be null only if it diverged"),
        (["test_accuracy"], float("inf"), "`test_accuracy` must be a number"),
        (["status"], "ok", "`status` must be one of done, diverged"),
        (["history"], [], "`history` must be an object"),
        (["history", "validation_accuracy"], "x", "`validation_accuracy` must be a list"),
        (["history", "validation_accuracy", 3], {}, "`validation_accuracy[3]` must be a number"),
        (["history", "validation_accuracy", 3], REMOVE, "`history.validation_accuracy` must be"),
        (["layer_accuracies", 0], [0.5], "`layer_accuracies[0]` must be a number"),
    ],
)
def test_a_line_that_is_no_run_of_the_grid(folder, path, value, message):
    edit_line(folder, 1, path, value)
    with pytest.raises(ValueError, match=r"line \d is no record .*" + re.escape(message)):
        load_results(folder)


@pytest.mark.parametrize("line", ["12", "[]", "null", "{", "", "\xff", "[" * 100_000, '{"a": NaN}'])
def test_a_line_that_is_no_record(folder, line):
    file = folder / "results.jsonl"
    file.write_bytes(line.encode("latin-1") + b"\n" + file.read_bytes())
    with pytest.raises(ValueError, match=r"results.jsonl line 1 is no record .* is repeated"):
        load_results(folder)


def test_a_repeated_line_is_named_with_its_first(folder):
    file = folder / "results.jsonl"
    file.write_text(file.read_text() * 2)
    with pytest.raises(ValueError, match="line 7 .* it repeats the run of line 1"):
        load_results(folder)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["experiment"], REMOVE, "`experiment` is missing"),
        (["experiment"], "other", "`experiment` must be one of ablation, benchmark, compare"),
        (["options"], 3, "`options` must be an object, got 3"),
        (["options", "dataset"], REMOVE, "`dataset` is missing"),
        (["options", "seeds"], None, "`seeds` must be a whole number"),
        (["options", "hidden"], "400", "`hidden` must be a list"),
        (["options", "algorithms"], ["ffa", 1], "`algorithms[1]` must be one of"),
        (["device"], {}, "`platform` is missing"),
        (["versions", "jax"], 1, "`jax` must be text"),
        (["data", "sha256"], REMOVE, "`sha256` is missing"),
    ],
)
def test_a_damaged_config(folder, path, value, message):
    file = folder / "config.json"
    config = json.loads(file.read_text())
    edit(config, path, value)
    file.write_text(json.dumps(config))
    with pytest.raises(ValueError, match="config.json is damaged") as refused:
        load_results(folder)
    assert message in str(refused.value)
    assert "delete" not in str(refused.value).lower()


def test_a_later_version_is_refused(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"schema": 99}))
    with pytest.raises(ValueError, match="has version 99, and this program reads up to 1"):
        load_results(folder)


def test_a_diverged_run_of_symmetry_is_a_record(tmp_path):
    """`symmetry` writes null for its accuracy; a later start must read it."""
    run = {"dataset": "digits", "algorithm": "sffa", "setting": "default", "seed": 0}
    run |= {"status": "diverged", "gradient_norms": [[[None, None]]], "probe_accuracy": None}
    write_results(tmp_path / "out", [run], "symmetry")
    assert load_results(tmp_path / "out").records == [run]


def test_settings_belong_to_their_algorithm():
    grid = ROOT / "results" / "ablation" / "mnist"
    config = read_config(grid)
    assert len(read_records(grid, config, {"ffa": []})) == 140
    with pytest.raises(ValueError, match="`setting` must be 'start', as in config.json"):
        read_records(grid, config, {"sffa": ["start"]})


def without_config(folder):
    (folder / "config.json").unlink()


def folder_for_config(folder):
    without_config(folder)
    (folder / "config.json").mkdir()


def folder_for_results(folder):
    (folder / "results.jsonl").unlink()
    (folder / "results.jsonl").mkdir()


def link_for_checkpoint(folder):
    (folder / "checkpoints" / "ffa").mkdir(parents=True)
    (folder / "checkpoints" / "ffa" / "3").symlink_to(folder, target_is_directory=True)


def file_for_checkpoints(folder):
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "ffa").write_text("")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without_config, "has no config.json, which names the options of its runs. Restore"),
        (folder_for_config, "config.json is a folder, not a file"),
        (folder_for_results, "results.jsonl is a folder, not a file"),
        (lambda f: (f / "accuracy.png").mkdir(), "accuracy.png is a folder, not a file"),
        (lambda f: (f / "networks").write_text(""), "networks is a file, not a folder"),
        (link_for_checkpoint, "3 is a link, not a folder. Delete the link."),
        (file_for_checkpoints, "ffa is a file, not a folder"),
    ],
)
def test_a_command_refuses_an_edited_folder(folder, change, message):
    """Before it trains: status 2 and one line."""
    change(folder)
    run = run_command("compare", "--out", folder)
    assert run.status == 2
    assert message in run.err
    assert run.err.count("\n") == 1


@pytest.mark.slow
def test_committed_folders_are_continued_by_their_own_commands():
    """An option that a folder lacks means its default."""
    for file in (ROOT / "results").glob("*/*/config.json"):
        config = json.loads(file.read_text())
        if config["experiment"] == "benchmark":
            continue
        _, _, module, *arguments = shlex.split(config["command"])
        options = importlib.import_module(module).Options
        given = parse(options, config["experiment"], arguments)
        if issubclass(options, Common):
            given = given.resolve()
            before, now = {**given.absent(), **config["options"]}, given.flat()
        else:
            before, now = map(dataclasses.asdict, (options(), given))
            before |= config["options"]
        before, now = (json.loads(json.dumps(x, default=str)) for x in (before, now))
        assert changed_options(before, now, RESUMABLE_OPTIONS) == [], file
        # The command lists the whole grid.
        grid = {name: now[name] for name in GRID_OPTIONS if name in now}
        assert grid == {name: config["options"][name] for name in grid}, file


def test_committed_folders_pass():
    for config in (ROOT / "results").glob("*/*/config.json"):
        assert load_results(config.parent).records
