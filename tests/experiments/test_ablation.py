import dataclasses
import itertools
import json

import pytest
from commands import read, run_command

from experiments.ablation import settings_between
from experiments.config.grids import STEPS
from experiments.config.presets import PRESETS
from experiments.config.recipe import Recipe


@pytest.mark.parametrize("start", PRESETS)
def test_the_path_leads_from_one_preset_to_the_other(start):
    best = PRESETS["best"]
    settings = settings_between(dataclasses.replace(PRESETS[start], epochs=best.epochs), best)
    along = [s for s in settings if not s.name.startswith("without: ")]
    assert along[-1].recipe == best
    for before, after in itertools.pairwise(along):
        assert after.changes
        for field, value in after.changes.items():
            assert getattr(after.recipe, field) == value != getattr(PRESETS[start], field)
        assert before.recipe != after.recipe
    for setting in settings[len(along) :]:
        assert setting.recipe != best
        redone = {field: getattr(best, field) for field in setting.changes}
        assert dataclasses.replace(setting.recipe, **redone) == best


def test_every_choice_of_a_recipe_is_some_step_but_those_the_command_fixes():
    named = {field for fields in STEPS.values() for field in fields}
    recipes = [dataclasses.asdict(recipe) for recipe in PRESETS.values()]
    differ = {
        field.name
        for field in dataclasses.fields(Recipe)
        if len({json.dumps(recipe[field.name]) for recipe in recipes}) > 1
    }
    assert differ - named == {"epochs"}


def test_the_command(tmp_path, monkeypatch):
    few = ("loss", "input_dropout", "adversarial")
    best = {name: getattr(PRESETS["best"], name) for name in few}
    monkeypatch.setitem(PRESETS, "best", dataclasses.replace(PRESETS["default"], **best))
    arguments = ["--start", "default", "--hidden", "8", "--epochs", "1", "--seeds", "2"]
    arguments += ["--batch-size", "32", "--end", "best", "--parallel", "map"]
    arguments += ["--out", str(tmp_path)]
    run = run_command("ablation", *arguments)
    assert run.status == 0, run.err
    records = read(tmp_path)
    names = list(dict.fromkeys(record["setting"] for record in records))
    assert names[0] == "start"
    assert {"softmax over the labels", "without: input dropout"} <= set(names)
    assert len(records) == 2 * len(names)
    assert "softmax over the labels" in run.out
    assert {"path.png", "report.html"} <= {path.name for path in tmp_path.iterdir()}


def test_bad_ends(tmp_path):
    out = tmp_path / "out"
    run = run_command("ablation", "--end", "worst", "--out", out)
    assert run.status == 2
    assert "`end` must be one of best, best_convolution," in run.err
    assert not out.exists()
