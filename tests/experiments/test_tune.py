"""Tuning: the same budget for each algorithm, resumable, and repeatable without the search."""

import itertools
import json
import shlex
from unittest import mock

import numpy as np
import pytest
from commands import programs_once, run_command
from run_records import trained

from experiments import compare
from experiments.config.cli import parse
from experiments.config.presets import PRESETS
from experiments.config.recipe import Recipe
from experiments.config.search_space import Range, draw_trials, search_space
from experiments.harness import tuning
from experiments.harness.results import load_results
from experiments.harness.splits import make_splits
from experiments.harness.tuning import best_trial, read_trials
from experiments.reports import tuning_tables
from sffa_jax import data
from sffa_jax.scale.checkpoints import Checkpoints

BACKPROP = ["--algorithms", "bp", "--seeds", "1", "--hidden", "8", "--epochs", "2"]
BACKPROP += ["--parallel", "map", "--tune", "2", "--tune-seeds", "1", "--checkpoint-seconds", "0"]


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    """`compare --tune 2`, undisturbed and interrupted after the first epoch of its trials; a fake
    trains the runs after the search."""
    folder = tmp_path_factory.mktemp("tune")
    with mock.patch.object(compare, "train_runs", fake_runs), programs_once():
        tune_twice(folder)
    return folder


def fake_runs(recipe, algorithm, seeds, *_, **__):
    assert recipe.label_smoothing > 0, "the recipe is the tuned one"
    yield [trained(algorithm, seed) for seed in seeds]


def tune_twice(folder):
    assert run_command("compare", *BACKPROP, "--out", folder / "whole").status == 0
    save = Checkpoints.save

    def save_and_stop(self, *given):
        save(self, *given)
        raise KeyboardInterrupt

    with mock.patch.object(Checkpoints, "save", save_and_stop):
        assert run_command("compare", *BACKPROP, "--out", folder / "resumed").status == 130
    assert not read_trials(folder / "resumed")
    resumed = run_command("compare", *BACKPROP, "--out", folder / "resumed")
    assert resumed.status == 0, resumed.err


def without_times(records):
    return [{k: v for k, v in record.items() if k != "train_seconds"} for record in records]


def test_a_resumed_search_is_the_uninterrupted_one(tuned):
    trials, again = (without_times(read_trials(tuned / name)) for name in ("whole", "resumed"))
    assert trials == again
    assert [(t["setting"], t["seed"]) for t in trials] == [("trial 0", 1000), ("trial 1", 1000)]
    assert trials[0]["changes"] != trials[1]["changes"]
    assert "test_accuracy" not in trials[0]


def test_a_tuned_run_can_be_repeated_without_the_search(tuned):
    results = load_results(tuned / "whole")
    best, _ = best_trial(read_trials(results.path), "bp")
    assert results.config["tuned"] == {"bp": best}
    words = shlex.split(tuning_tables.command_without_tuning(results))[3:]
    assert "--tune" not in words
    options = parse(compare.Options, "compare", words)
    assert options.recipe_of("bp") == Recipe(hidden=(8,), epochs=2, **best)
    assert "--bp.learning-rate" in (results.path / "summary.csv").read_text()
    assert "expected best validation accuracy" in (results.path / "report.html").read_text()


def test_other_trials_are_refused(tuned):
    refused = run_command("compare", *BACKPROP, "--tune", "3", "--out", tuned / "whole")
    assert refused.status == 2
    assert "tune was 2 and is now 3" in refused.err


def test_algorithms_have_the_same_points_where_they_share_numbers():
    trials = {name: draw_trials(Recipe(), name, 5) for name in ("ffa", "sffa", "bp")}
    for name in ("learning_rate", "weight_decay", "input_dropout"):
        values = {tuple(trial[name] for trial in of_one) for of_one in trials.values()}
        assert len(values) == 1
        assert len({*values.pop()}) == 5
    assert draw_trials(Recipe(), "bp", 9)[:5] == trials["bp"]
    own = [{*trials[name][0]} - {*trials["bp"][0]} for name in ("ffa", "sffa")]
    assert own == [{"ffa_threshold", "ffa_logit_scale"}, {"logit_scale", "eps"}]
    # The bce of local layers has no label smoothing.
    assert "label_smoothing" not in trials["sffa"][0]
    assert "label_smoothing" in search_space(PRESETS["best"], "sffa")


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("algorithm", ["ffa", "sffa", "bp"])
def test_every_trial_is_a_recipe_of_its_space(preset, algorithm):
    space = search_space(PRESETS[preset], algorithm)
    for setting in tuning.settings_of(PRESETS[preset], algorithm, tuning.Budget(7, 1, 3)):
        setting.recipe.check()
        assert (setting.recipe.selection, setting.recipe.epochs) == ("validation", 3)
        assert setting.changes.keys() == space.keys()
        assert all(0 <= space[name].place(value) <= 1 for name, value in setting.changes.items())


@pytest.mark.parametrize("selection", ["validation", "last", "test"])
def test_no_trial_sees_the_test_split(selection):
    digits, recipe = data.load("digits"), Recipe(selection=selection)
    splits = make_splits(digits, recipe, 1 / 12)
    of_trials = tuning.validation_splits(splits, recipe, 1 / 12)
    assert of_trials.test is of_trials.validation is not splits.test
    images = np.concatenate([of_trials.train.images, of_trials.test.images])
    expected = digits.train_images.reshape(len(digits.train_labels), -1)
    np.testing.assert_array_equal(np.sort(images, axis=0), np.sort(expected, axis=0))


@pytest.mark.parametrize("number", [1, 2, 3])
def test_the_expected_best_is_the_mean_over_all_draws(number):
    accuracies = [0.2, 0.9, 0.5, 0.5]
    draws = itertools.product(accuracies, repeat=number)
    expected = np.mean([max(draw) for draw in draws])
    assert tuning_tables.expected_best(accuracies, number) == pytest.approx(expected)


@pytest.mark.parametrize(("value", "edge"), [(1.2e-4, "lower"), (1e-3, ""), (9e-3, "upper")])
def test_edges_of_a_range(value, edge):
    assert Range(1e-4, 1e-2).edge(value) == edge


def fake_training(accuracy_of):
    """Stands in for `train_settings`: the accuracy of each trial comes from a function."""

    def train(_, missing, algorithm, *__, **___):
        yield [
            {
                **{"algorithm": algorithm, "setting": setting.name, "seed": seed},
                **{"changes": dict(setting.changes), "validation_accuracy": accuracy},
                **{"status": "done" if accuracy is not None else "diverged", "selected_epoch": 1},
                **{"epochs": setting.recipe.epochs, "train_seconds": 1.0, "parallel": "map"},
            }
            for setting, seeds in missing
            for seed in seeds
            for accuracy in [accuracy_of(setting, seed)]
        ]

    return train


TUNE = ["--algorithms", "sffa", "--trials", "4", "--seeds", "2"]


def test_the_command(tmp_path, monkeypatch):
    def accuracy(setting, seed):
        diverges = setting.name == "trial 2" and seed == 1001
        # Means: 0.8, 0.81, 0.45, 0.83.
        return None if diverges else 0.8 + 0.01 * int(setting.name[-1]) + 0.1 * (seed - 1000.5)

    monkeypatch.setattr(tuning, "train_settings", fake_training(accuracy))
    out = tmp_path / "out"
    run = run_command("tune", *TUNE, "--out", out)
    assert run.status == 0, run.err
    best = draw_trials(Recipe(), "sffa", 4)[3]
    assert f"--sffa.learning-rate {best['learning_rate']}" in run.out
    trials = read_trials(out)
    assert [(t["setting"], t["seed"]) for t in trials] == [
        (f"trial {i}", seed) for i in range(4) for seed in (1000, 1001)
    ]
    assert best_trial(trials, "sffa") == (best, pytest.approx(0.83))
    before = (out / "tuning.jsonl").read_text()
    # A second start adds only what is missing; seeds and algorithms may be added.
    lines = before.splitlines(keepends=True)
    (out / "tuning.jsonl").write_text("".join(lines[:-3]))
    assert run_command("tune", *TUNE, "--out", out).status == 0
    assert (out / "tuning.jsonl").read_text() == before
    more = ["--algorithms", "sffa", "bp", "--trials", "4", "--seeds", "3", "--out", out]
    assert run_command("tune", *more).status == 0
    assert len(read_trials(out)) == 2 * 4 * 3
    config = json.loads((out / "config.json").read_text())
    assert config["tuned"].keys() == {"sffa", "bp"}
    assert "--algorithms sffa bp --seeds 3" in config["command"]
    assert "Backprop" in (out / "report.html").read_text()
    assert run_command("report", out, "--out", tmp_path / "report").status == 0
    refused = run_command("tune", *TUNE, "--batch-size", "9", "--out", out)
    assert refused.status == 2
    assert "batch_size was 128 and is now 9" in refused.err


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda trial: trial["changes"].update(eps=7.0), "a trial of other values: sffa, trial 0"),
        (lambda trial: trial.pop("changes"), "`changes` is missing"),
        (lambda trial: trial.update(seed=-1), "`seed` must be a whole number from 0, got -1"),
    ],
)
def test_damaged_trials_are_refused(tmp_path, monkeypatch, damage, message):
    monkeypatch.setattr(tuning, "train_settings", fake_training(lambda *_: 0.5))
    assert run_command("tune", *TUNE, "--out", tmp_path).status == 0
    first, *others = (tmp_path / "tuning.jsonl").read_text().splitlines()
    trial = json.loads(first)
    damage(trial)
    (tmp_path / "tuning.jsonl").write_text("\n".join([json.dumps(trial), *others, ""]))
    refused = run_command("tune", *TUNE, "--out", tmp_path)
    assert refused.status == 2
    assert message in refused.err
    assert refused.err.count("\n") == 1


def test_a_search_without_any_result(tmp_path, monkeypatch):
    monkeypatch.setattr(tuning, "train_settings", fake_training(lambda *_: None))
    run = run_command("tune", *TUNE, "--out", tmp_path)
    assert run.status == 2
    assert "`sffa` must hold a trial that does not diverge, got 4 that did" in run.err


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("compare", ["--tune", "-1"], "`tune` must be at least 0"),
        ("compare", ["--tune", "2", "--tune-seeds", "0"], "`tune_seeds` must be at least 1"),
        ("compare", ["--tune", "2", "--tune-epochs", "0"], "`tune_epochs` must be at least 1"),
        ("compare", ["--tune", "2", "--shard", "1/2"], "`tune` must be 0 with --shard, got 2"),
        ("tune", ["--trials", "0"], "`trials` must be at least 1"),
        ("tune", ["--shard", "1/2"], "`shard` must be left out"),
    ],
)
def test_bad_options(tmp_path, name, arguments, message):
    run = run_command(name, *arguments, "--out", tmp_path / "out")
    assert run.status == 2
    assert message in run.err
    assert not (tmp_path / "out").exists()
