"""Output folders that were edited or damaged: the command ends right, or refuses in one line."""

import json
import shutil
from unittest import mock

import numpy as np
import pytest
from commands import read, run_command

from sffa_jax.scale.checkpoints import Checkpoints
from sffa_jax.training.saved import load
from soak.campaign import campaign, check_refusal
from soak.test_data_files import damage

pytestmark = pytest.mark.slow
COMPARE = ["--algorithms", "sffa", "--hidden", "8", "--seeds", "2", "--epochs", "3"]
COMPARE += ["--parallel", "map", "--checkpoint-seconds", "0"]
VALUES = (None, True, -1, 0, 1e400, "x", "", [], [1], {}, {"a": 1}, "\ud800", 10**30)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A finished folder with networks, and one that was interrupted after two checkpoints."""
    root = tmp_path_factory.mktemp("folders")
    finished, stopped = root / "finished", root / "stopped"
    assert run_command("compare", *COMPARE, "--save-networks", "--out", finished).status == 0
    save, left = Checkpoints.save, [2]

    def save_and_stop(self, *given):
        save(self, *given)
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt

    with mock.patch.object(Checkpoints, "save", save_and_stop):
        assert run_command("compare", *COMPARE, "--out", stopped).status == 130
    return {"finished": finished, "stopped": stopped}


def edit(rng, value):
    """Changes one entry of JSON, deep or shallow: another value, none, one more."""
    if not isinstance(value, dict | list) or not value or rng.random() < 0.15:
        return VALUES[rng.integers(len(VALUES))]
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    key = keys[rng.integers(len(keys))]
    change = rng.integers(4)
    if change == 0:
        del value[key]
    elif change == 1 and isinstance(value, dict):
        value[f"{key}x"] = value.pop(key)
    else:
        value[key] = edit(rng, value[key])
    return value


def tamper(rng, folder):
    """Changes one file of the folder; returns a description."""
    names = ["config.json", "results.jsonl", "networks/sffa-0.npz", "checkpoints"]
    weights = [0.3, 0.3, 0.1, 0.3]
    name = str(rng.choice(names, p=weights))
    path = folder / name
    if name == "checkpoints":
        files = sorted(file for file in folder.glob("checkpoints/**/*"))
        path = files[rng.integers(len(files))] if files else folder / "summary.csv"
    if not path.exists():
        path = folder / "config.json"
    change = str(rng.choice(["edit", "lines", "damage", "delete", "folder", "link", "loop"]))
    if change in ("edit", "lines") and path.suffix in (".json", ".jsonl"):
        lines = path.read_text(encoding="utf-8").splitlines()
        if change == "edit" and path.suffix == ".json":
            lines = json.dumps(edit(rng, json.loads("\n".join(lines)))).splitlines()
        elif change == "edit":
            row = rng.integers(len(lines))
            lines[row] = json.dumps(edit(rng, json.loads(lines[row])))
        else:
            row = rng.integers(len(lines))
            lines = [lines[i] for i in rng.permutation(len(lines))] + [lines[row]]
        path.write_text("\n".join(lines) + "\n" * bool(rng.integers(2)), encoding="utf-8")
        return f"{change} {path}"
    if path.is_file() and change in ("damage", "edit", "lines"):
        path.write_bytes(damage(path.read_bytes(), rng))
        return f"damage {path}"
    (shutil.rmtree if path.is_dir() else type(path).unlink)(path)
    if change == "folder":
        path.mkdir()
    elif change == "link":
        path.symlink_to(folder.parent / "elsewhere")
    elif change == "loop":
        path.symlink_to(path)
    return f"{change} {path}"


def test_tampered_folders(tmp_path, folders):
    expected = {record["seed"]: record["test_accuracy"] for record in read(folders["finished"])}

    def attempt(rng, number):
        kind = "stopped" if number % 4 == 0 else "finished"
        folder = tmp_path / str(number) / "folder"
        shutil.copytree(folders[kind], folder)
        what = tamper(rng, folder)
        try:
            for network in sorted(folder.glob("networks/*.npz")):
                try:
                    load(network)
                except ValueError as error:
                    assert "\n" not in str(error), error  # noqa: PT017
            report = run_command("report", folder, "--out", tmp_path / "report")
            if report.status:
                check_refusal(report)
            run = run_command("compare", *COMPARE, "--out", folder)
            if run.status:
                check_refusal(run)
                return "refused"
            records = read(folder)
            assert {record["seed"] for record in records} == {0, 1}
            assert len(records) == 2
            for record in records:
                # A changed number in a record cannot be noticed; a trained one is right.
                if "results.jsonl" not in what:
                    assert record["test_accuracy"] == expected[record["seed"]]
                assert np.isfinite(record["test_accuracy"])
        except Exception as error:
            raise AssertionError(what) from error
        shutil.rmtree(folder)
        return "continued"

    campaign("folders", 200, attempt)
