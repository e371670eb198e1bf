import dataclasses
import json
import os
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from commands import read, start
from unchecked import no_shape_checks

from experiments import continual
from experiments.config.continual_methods import METHODS, Setup
from experiments.config.continual_options import Options, Setting
from experiments.config.continual_presets import STRENGTHS
from experiments.harness import continual_records, continual_runs
from experiments.harness.experiment import execute
from experiments.harness.run_folder import RunFolder
from experiments.reports import continual_report, continual_tables
from sffa_jax import data
from sffa_jax.continual.scenarios import Scenario

TINY = ("--hidden", "16", "8", "--epochs", "2", "--memory", "20")


def run_command(*arguments):
    """Runs the command in this process."""
    with no_shape_checks():
        return execute(continual.main, Options, "continual", [*arguments, "--parallel", "map"])


def test_the_command_and_a_second_start(tmp_path, capsys, monkeypatch):
    common = [*TINY, "--strategies", "replay", "--out", str(tmp_path)]
    first = ["--scenarios", "task", "--algorithms", "bp", "--seeds", "1"]
    assert run_command(*common, *first) == 0
    before = (tmp_path / "results.jsonl").read_text()
    second = ["--scenarios", "task", "--algorithms", "bp", "sffa", "--seeds", "2"]
    assert run_command(*common, *second) == 0
    printed = capsys.readouterr().out
    after = (tmp_path / "results.jsonl").read_text()
    assert after.startswith(before)
    # A third start has nothing to train.
    monkeypatch.delattr(continual, "run_seeds")
    assert run_command(*common, *second) == 0
    assert (tmp_path / "results.jsonl").read_text() == after
    assert f"Report: {tmp_path}" in printed
    assert "SFFA - Backprop" in printed
    records = read(tmp_path)
    cells = {(r["scenario"], r["strategy"], r["algorithm"], r["seed"]) for r in records}
    assert len(records) == len(cells) == 4
    for record in records:
        matrix = np.array(record["accuracy_matrix"], float)
        assert matrix.shape == (5, 5)
        assert np.array_equal(np.isnan(matrix), np.triu(np.ones((5, 5)), 1) > 0)
        assert record["average_accuracy"] == pytest.approx(matrix[-1].mean())
        assert record["test_accuracy"] == record["average_accuracy"]
        assert record["backward_transfer"] == pytest.approx(
            np.mean(matrix[-1, :4] - np.diagonal(matrix)[:4])
        )
        assert -1 <= record["forward_transfer"] <= 1
        assert len(record["layer_accuracies"]) == (1 if record["algorithm"] == "bp" else 2)
        assert sorted(record["class_order"]) == list(range(10))
        assert record["train_seconds"] > sum(record["task_seconds"]) > 0
    assert records[0]["class_order"] != records[-1]["class_order"]
    names = {path.name for path in tmp_path.iterdir()}
    assert {"summary.csv", "report.html", "curves_task.png", "matrices_task.png"} <= names
    pictures = [name for name in names if name.endswith(".png")]
    assert (tmp_path / "report.html").read_text().count("data:image/png;base64,") == len(pictures)


def test_a_closed_form_runs_once():
    options = Options(strategies=("none", "slda"), algorithms=("sffa", "bp"), scenarios=("class",))
    settings = options.settings()
    assert [s[1:] for s in settings] == [("none", "sffa"), ("none", "bp"), ("slda", "sffa")]


@pytest.mark.slow
def test_methods_without_a_buffer(tmp_path):
    """Every method that overwrites nothing, on the digits, and the readouts beside them."""
    names = ["class_subspaces", "class_groups", "class_groups_replay"]
    names += [name for name, method in METHODS.items() if method.readout]
    arguments = ["--scenarios", "class", "--strategies", *names, "--algorithms", "sffa"]
    arguments += ["--seeds", "1", "--hidden", "400", "--epochs", "5", "--features", "320"]
    arguments += ["--components", "64"]
    assert run_command(*arguments, "--out", str(tmp_path)) == 0
    accuracy = {record["strategy"]: record["average_accuracy"] for record in read(tmp_path)}
    assert set(accuracy) == set(names)
    assert accuracy["class_subspaces"] > accuracy["slda"] > accuracy["ncm"] > 0.85
    with_maps = min(accuracy["slda_maps"], accuracy["slda_random_maps"])
    assert with_maps > accuracy["slda_random"] > 0.94
    assert min(accuracy["class_groups"], accuracy["class_groups_replay"]) > 0.75
    page = (tmp_path / "report.html").read_text()
    assert "closed-form generative classifier on pixels, not trained by FFA or SFFA" in page


@pytest.mark.slow
def test_tuning_uses_training_images_only_and_is_kept(tmp_path):
    common = [*TINY[:-2], "--scenarios", "task", "--strategies", "ewc", "--algorithms", "bp"]
    common += ["--tune", "5", "--tune-rates", "1e-3", "1e-2"]
    assert run_command(*common, "--seeds", "1", "--out", str(tmp_path)) == 0
    (line,) = (tmp_path / "tuning.jsonl").read_text().splitlines()
    tuned = json.loads(line)
    assert tuned["strengths"][::2] == [1e3, 1e4, 1e5, 1e6, 1e7]
    assert tuned["learning_rates"] == [1e-3, 1e-2] * 5
    best = tuned["strengths"][int(np.argmax(tuned["validation_accuracies"]))]
    (record,) = read(tmp_path)
    assert record["strength"] == tuned["strength"] == best
    assert record["learning_rate"] == tuned["learning_rate"]
    dataset = data.load("digits")
    cell = Setting("task", "ewc", "bp")
    config = json.loads((tmp_path / "config.json").read_text())
    extra = {"data": config["data"]}
    with RunFolder(tmp_path, "continual", config["options"], extra=extra) as folder:
        # Nothing is run again: the strength is read.
        chosen = continual_records.chosen_numbers(Options(tune=5), cell, dataset, folder, "")
        assert (chosen.strength, chosen.learning_rate) == (best, tuned["learning_rate"])
        at_edge = best in (min(tuned["strengths"]), max(tuned["strengths"]))
        assert ("strength" in chosen.at_edge, "learning_rate" in chosen.at_edge) == (at_edge, True)
    assert (tmp_path / "tuning.jsonl").read_text().splitlines() == [line]
    loaded = continual_runs.load_data(Options(), dataset, held_out=True)
    images = {image.tobytes() for image in np.asarray(loaded.test.images)}
    rows = dataset.train_images.reshape(len(dataset.train_labels), -1)
    assert images <= {row.tobytes() for row in rows}
    parts = len(loaded.train.labels) + len(loaded.test.labels)
    assert parts == len(dataset.train_labels)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--batch-size", "2147483647"], "`batch_size` must be a number at most"),
        (["--epochs", "1e8"], "`epochs` must be a number above 0 and at most 100000"),
        (
            ["--strength", "ewk=1"],
            "must be one of ewc, mas, si, got 'ewk'. Did you mean",
        ),
        (
            ["--strategies", "none", "replay", "--strength", "replay=2"],
            "`strength` must be left out, since no strategy has a strength: none, replay, got",
        ),
        (["--strategies", "none", "--tune", "5"], "`tune` must be left out, since no strategy"),
        (["--tune", "1"], "`tune` must be 0 or at least 2, got 1"),
        (["--strength", "ewc"], "`strength` must be written as STRATEGY=NUMBER, got 'ewc'"),
        (["--strength", "ewc=-1"], "`strength` must be a number at least 0, got -1"),
        (["--scenarios", "classes"], "`scenarios` must be one of class, domain, task"),
        (["--strategies", "EWC"], "`strategies` must be one of activity_rehearsal, agem"),
        (["--algorithms"], "`algorithms` must name one of sffa, ffa, bp, got none"),
        (["--tasks", "3"], "divide the 10 classes evenly, at least 2 a task, got 3"),
        (["--class-order", "1", "1", "2", "3"], "`order` must be divisible by 5 tasks"),
        (["--class-order", "1", "1", "2", "3", "--tasks", "2"], "name 4 different classes"),
        (["--class-order", "1", "2", "3", "12", "--tasks", "2"], "that have training samples"),
        (["--memory", "0"], "`memory` must be at least 1, got 0"),
        (["--coupling", "loose"], "`coupling` must be one of local, released"),
        (["--buffer", "small"], "`buffer` must be one of equal_tasks, released"),
        (["--hidden", "7"], "even number of units"),
        (["--epochs", "0"], "`epochs` must be a number above 0"),
        (["--memory-shift", "8"], "`pixels` must be below the images' 8 pixels"),
        (
            ["--strategies", "none", "--memory-shift", "1"],
            "`memory_shift` must be 0 without the strategy replay",
        ),
        (
            ["--preset", "maps", "--algorithms", "sffa", "--memory-zoom", "0.1"],
            "`memory_zoom` must be 0 unless inputs are images, got components",
        ),
        (
            ["--memory-rotation", "181"],
            "`memory_rotation` must be a number at least 0 and",
        ),
        (["--memory-zoom", "-0.1"], "`memory_zoom` must be a number at least 0 and at most 1"),
        (
            ["--strategies", "class_subspaces"],
            "`algorithms` must be sffa or ffa with class_subspaces, got 'bp'",
        ),
        # Networks that do not suit a strategy, before another one is trained.
        (
            ["--strategies", "none", "activity_rehearsal", "--algorithms", "sffa"],
            "`model` must be forward-only with class units, got one whose layers receive labels",
        ),
        (
            ["--strategies", "none", "class_subspaces", "--algorithms", "sffa", "--axes", "65"],
            "`pixels` must be at least 65, got 64. Choose fewer axes.",
        ),
        (
            ["--strategies", "none", "slda_components", "--components", "293"],
            "`number` must be at most 292 images of the first task, got 293",
        ),
        (
            ["--strategies", "class_groups", "--algorithms", "ffa", "--hidden", "15"],
            "`hidden` must be units that 10 classes can share, got (15,)",
        ),
        (
            ["--strategies", "slda_maps", "--features", "20"],
            "be a multiple of 8 features a filter, got 20",
        ),
        (
            ["--strategies", "class_groups", "--synthetic-negatives", "rotated"],
            "`synthetic_negatives` must be one of hybrid, noise, other, shuffled",
        ),
        (["--negatives", "soft"], "`negatives` must be one of all, hard, uniform"),
        (["--strategies", "gem", "--online"], "`strategies` must be of class_subspaces, ncm, slda"),
        (["--optimizer", "sgd"], "`optimizer` must be one of adagrad, adam"),
        (["--seeds", "0"], "`seeds` must be at least 1, got 0"),
        (
            ["--preset", "convolution", "--overlay", "appended_gaussian"],
            "`overlay` must be image_wave or none with convolutions",
        ),
    ],
)
def test_bad_input_is_one_line_and_status_2(tmp_path, capsys, arguments, message):
    out = tmp_path / "out"
    status = execute(continual.main, Options, "continual", [*arguments, "--out", str(out)])
    error = capsys.readouterr().err
    assert status == 2
    assert message in error
    assert error.count("\n") == 1
    assert not out.exists()


def test_the_released_preset_does_what_the_released_code_does():
    """Logits by the code's formulas, from layers that it would have."""
    options, scenario = Options(preset="released").resolve(), Scenario("class", 5, 2)
    assert (options.coupling, options.buffer, options.memory) == ("released", "released", 500)
    h = np.float32(0.5 * np.random.default_rng(0).normal(size=1400))
    energy = {half: np.sum(np.square(part)) for half, part in (("p", h[:700]), ("n", h[700:]))}
    g = energy["p"] / (energy["p"] + energy["n"])
    expected = {"sffa": np.log(g / (1 - g)), "ffa": 0.01 * sum(energy.values()) - 2}
    for algorithm in ("sffa", "ffa"):
        recipe = options.recipe(algorithm, scenario)
        network = recipe.network(algorithm, (28, 28), 10)
        assert network.rule.logit(jnp.asarray(h)) == pytest.approx(expected[algorithm], rel=1e-4)
        assert network.input_skip
        assert [layer.winners for layer in network.layers] == [{"sffa": 15}.get(algorithm)] * 2
        assert all(layer.body.use_bias for layer in network.layers)
    assert options.recipe("bp", scenario).activation == "relu"
    waves = Options(preset="released_convolution").resolve().recipe("sffa", scenario).wave
    assert waves == (0.035, 0.35)


def test_ffa_keeps_as_many_winners_as_sffa():
    """Four of each half, also where they count in the goodness alone."""
    options, scenario = Options(winners=4, hidden=(80,)).resolve(), Scenario("class", 5, 2)
    for algorithm in ("sffa", "ffa"):
        recipe = options.recipe(algorithm, scenario)
        assert [layer.winners for layer in recipe.layers(algorithm, (8, 8))] == [4]
    recipe = dataclasses.replace(recipe, ffa_winners=4, ffa_measure="sum_square", ffa_threshold=1.0)
    unseen = dataclasses.replace(recipe, pass_winners_only=False, ffa_logit_scale=1.0)
    assert unseen.rule("ffa").logit(jnp.arange(10.0)) == sum(x**2 for x in range(2, 10)) - 1


@pytest.mark.slow
def test_the_released_preset_learns(tmp_path):
    """SFFA; FFA's logit needs more units than the digits."""
    arguments = ["--preset", "released", "--hidden", "100", "100", "--epochs", "5", "--seeds", "1"]
    arguments += ["--batch-size", "32", "--memory", "100", "--strategies", "replay", "gem"]
    arguments += ["--scenarios", "class", "--algorithms", "sffa", "--out", str(tmp_path)]
    assert run_command(*arguments) == 0
    gem, replay = (record["average_accuracy"] for record in read(tmp_path))
    assert (gem > 0.6, replay > 0.8) == (True, True)


def test_the_strength_is_the_given_one_or_the_presets(monkeypatch):
    monkeypatch.setitem(STRENGTHS, "quick", {"ewc": {"sffa": 7.0}})
    given = Options(strength=("si=1e3",), tune=5)

    def chosen(options, strategy):
        setting = Setting("class", strategy, "sffa")
        return continual_records.chosen_numbers(options, setting, None, None, "").strength

    assert chosen(given, "si") == 1e3  # not tuned
    assert chosen(given, "none") is None
    for closed_form in ("ncm", "class_subspaces"):  # no learning rate, so no tuning
        assert chosen(Options(tune_rates=(1e-3, 1e-2)), closed_form) is None
    assert chosen(Options(), "ewc") == 7
    assert chosen(Options(preset="protocol"), "ewc") == METHODS["ewc"].strengths["sffa"]


def test_every_process_takes_the_numbers_that_the_main_one_has_read(monkeypatch, tmp_path):
    setting = Setting("class", "ewc", "sffa")
    line = setting._asdict() | {"strength": 3.0, "strengths": [1.0, 3.0, 9.0]}
    line |= {"learning_rate": 1e-3, "learning_rates": [1e-3] * 3}
    monkeypatch.setattr(continual_records, "broadcast_from_main", lambda _: [line])
    folder = SimpleNamespace(path=tmp_path)  # on another disk
    chosen = continual_records.chosen_numbers(Options(tune=3), setting, None, folder, "")
    assert chosen == (3.0, 1e-3, ())


def test_a_tuned_strength_at_the_edge_is_named():
    run = fake("class", "ewc", "sffa", 0, 0.5) | {"strength": 1e3}
    assert continual_report.tuning_note([run]) == ""
    note = continual_report.tuning_note([run | {"strength_at_edge": True}])
    assert note.endswith("that were tried: class-incremental EWC SFFA (strength 1000).")


def test_the_described_command_repeats_the_run():
    options = Options(scenarios=("task",), tune=5, out=Path("x"))
    words = "python -m experiments.continual --scenarios task --tune 5"
    assert options.command("continual") == words


def fake(scenario, strategy, algorithm, seed, accuracy):
    return {
        "dataset": "digits",
        "scenario": scenario,
        "strategy": strategy,
        "algorithm": algorithm,
        "seed": seed,
        "status": "done",
        "average_accuracy": accuracy,
    }


def test_all_tests_of_the_grid_are_corrected_together():
    records = [
        fake("class", strategy, algorithm, seed, base + 0.01 * seed + noise * (seed % 2))
        for strategy in ("none", "replay")
        for algorithm, base, noise in (("sffa", 0.5, 0.0), ("bp", 0.4, 0.01))
        for seed in range(5)
    ]
    table = continual_tables.tests_table(records)
    assert [row[2] for row in table[1:]] == ["SFFA - Backprop"] * 2
    one = continual_tables.tests_table([r for r in records if r["strategy"] == "none"])
    assert float(table[1][4]) == pytest.approx(2 * float(one[1][4]), rel=0.05)
    accuracy = continual_tables.accuracy_table(records)
    assert accuracy[0] == ["Scenario", "Strategy", "SFFA, %", "Backprop, %"]
    assert accuracy[1][2].startswith("52.00 [")
    # A strategy that a user's program added, in a report made without that program.
    own = [fake("class", name, "sffa", 0, 0.5) for name in ("shrink", "none")]
    table = continual_tables.accuracy_table(continual_tables.ordered(own))
    assert [row[1] for row in table[1:]] == ["none", "shrink"]


@pytest.mark.slow
def test_the_bounds_hold_and_replay_reaches_the_paper(tmp_path):
    if "SFFA_DATA_DIR" not in os.environ:
        pytest.skip("needs SFFA_DATA_DIR")
    arguments = ["--dataset", "mnist", "--preset", "protocol", "--seeds", "1"]
    arguments += ["--scenarios", "class", "--algorithms", "sffa", "bp"]
    arguments += ["--strategies", *("none", "ewc", "si", "mas", "gem", "replay", "joint")]
    run = start("continual", *arguments, "--out", str(tmp_path))
    assert run.returncode == 0, run.stderr
    for algorithm, floor in (("sffa", 0.895), ("bp", 0.87)):
        found = {
            record["strategy"]: record["average_accuracy"]
            for record in read(tmp_path)
            if record["algorithm"] == algorithm
        }
        assert found["joint"] == max(found.values())
        assert found["none"] <= min(found.values()) + 0.02
        assert found["replay"] >= floor


@pytest.mark.parametrize("labels", ["image_wave", "groups", "learned"])
@pytest.mark.parametrize("algorithm", ["sffa", "ffa", "bp"])
def test_convolutions_answer_all_or_some_labels(labels, algorithm):
    """The preset's network on MNIST's images."""
    chosen = Options(preset="convolution")
    if labels != "image_wave":
        chosen = dataclasses.replace(chosen, overlay="none", class_units=labels)
    if labels == "groups":
        chosen = dataclasses.replace(chosen, channels=(60, 120))
    options = chosen.resolve()
    scenario = Scenario("class", 5, 2)
    model = options.model(Setup(options, algorithm, scenario, (28, 28)))
    x = jnp.zeros((2, 784))

    def everything():
        modules, overlay = model.init(jax.random.key(0), x)
        some = jnp.zeros((2, 3), jnp.int32)
        return (
            model.logits(modules, overlay, x, None),
            model.logits(modules, overlay, x, some),
            model.hidden(modules, overlay, x, some[:, 0]),
        )

    logits, of_some, hidden = jax.eval_shape(everything)
    assert logits.shape == (1 if algorithm == "bp" else 2, 2, 10)
    assert of_some.shape[-1] == 3
    first, second = options.channels
    assert [h.shape for h in hidden] == [(2, 121 * first), (2, 9 * second)]


def test_the_best_convolutions_see_small_pieces_and_halve_their_maps():
    options = Options(preset="best_convolution").resolve()
    model = options.model(Setup(options, "sffa", Scenario("class", 5, 2), (28, 28)))
    x = jnp.zeros((2, 784))

    def answers():
        modules, overlay = model.init(jax.random.key(0), x)
        return (
            model.logits(modules, overlay, x, None),
            model.hidden(modules, overlay, x, jnp.zeros(2, jnp.int32)),
        )

    logits, hidden = jax.eval_shape(answers)
    assert logits.shape == (3, 2, 10)
    assert [h.shape for h in hidden] == [(2, 196 * 32), (2, 49 * 64), (2, 9 * 128)]
