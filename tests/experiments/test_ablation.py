import dataclasses
import itertools
import json

import pytest
from commands import read, run_command

from experiments.ablation import Options, settings_between
from experiments.config.grids import STEPS
from experiments.config.presets import PRESETS
from experiments.config.recipe import Recipe


@pytest.mark.parametrize("start", PRESETS)
def test_the_path_leads_from_one_preset_to_the_other(start):
    best = PRESETS["best"]
    same_epochs = dataclasses.replace(PRESETS[start], epochs=best.epochs)
    settings = settings_between(same_epochs, best, "sffa")
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


def test_a_path_has_the_presets_own_values_of_an_algorithm():
    ends = Options(start="paper", end="best", epochs=3, hidden=(8,)).ends
    (sffa, best), (ffa, same) = ends("sffa"), ends("ffa")
    assert best == same == dataclasses.replace(PRESETS["best"], epochs=3, hidden=(8,))
    assert (sffa.activation, sffa.learning_rate) == ("sigmoid", 1e-3)
    assert (ffa.activation, ffa.learning_rate) == ("relu", 1e-4)


@pytest.mark.parametrize(("hidden", "expected"), [((), False), ((8,), True)])
def test_a_step_of_deep_networks_counts_convolutions(hidden, expected):
    """One convolution has no layer to skip to; with a dense layer above it, it has."""
    start = dataclasses.replace(PRESETS["best_convolution"], channels=(8,), hidden=hidden)
    end = dataclasses.replace(start, input_skip=True)
    assert ("input skip" in [s.name for s in settings_between(start, end, "sffa")]) == expected


def test_backprop_skips_changes_that_have_no_effect_on_it():
    best = PRESETS["best"]
    start = dataclasses.replace(PRESETS["default"], epochs=best.epochs)
    names = {
        algorithm: [
            setting.name
            for setting in settings_between(start, best, algorithm)
            if not setting.name.startswith("without: ")
        ]
        for algorithm in ("sffa", "bp")
    }
    # Overlay, negatives, the local loss and SFFA's eps are none of backprop's.
    used = ["epoch chosen without the test set", "batch size", "input dropout"]
    assert names["bp"] == ["start", *used, "adversarial images", "layers"]
    assert [name for name in names["sffa"] if name not in names["bp"]] == [
        "logit scale, eps and threshold",
        "all wrong labels",
        "softmax over the labels",
    ]


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


@pytest.mark.parametrize(
    ("ends", "message"),
    [
        (["--end", "worst"], "`end` must be one of best, best_convolution,"),
        (
            ["--start", "default", "--end", "best_convolution"],
            "ablation, setting 'first layer not scored': Network: `first_scored` must be below 1 "
            "layers, got 1. The start has 1 layers and the end 3: choose ends of the same depth.",
        ),
    ],
)
def test_bad_ends(tmp_path, ends, message):
    out = tmp_path / "out"
    run = run_command("ablation", *ends, "--epochs", "1", "--out", out)
    assert run.status == 2
    assert message in run.err
    assert not out.exists()
