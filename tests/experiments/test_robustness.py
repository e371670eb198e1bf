import pytest
from commands import programs_once, read, run_command

from experiments import robustness
from experiments.config.grids import OWN_AXES
from experiments.config.recipe import Recipe
from experiments.harness import grid as training


def test_the_command_runs_the_whole_grid_and_resumes(tmp_path, monkeypatch):
    arguments = ["--widths", "8", "--activations", "relu", "--shares", "0.5"]
    arguments += ["--densities", "0.3", "--learning-rates", "1e-3", "1e-2", "--epochs", "1"]
    arguments += ["--parallel", "map", "--out", str(tmp_path), "--at-once", "2"]
    with programs_once():
        run = run_command("robustness", *arguments)
        assert run.status == 0, run.err
        records = read(tmp_path)
        # 2 algorithms x 2 learning rates x 3 thresholds
        assert len(records) == len({(r["algorithm"], r["setting"]) for r in records}) == 12
        changes = records[0]["changes"]
        assert {"hidden", "activation", "learning_rate", "overlay_density"} <= set(changes)
        lines = (tmp_path / "results.jsonl").read_text().splitlines(keepends=True)
        (tmp_path / "results.jsonl").write_text("".join(lines[:-4]))
        again = run_command("robustness", *arguments)
    assert again.status == 0, again.err
    assert len(read(tmp_path)) == 12
    # A third start has nothing to train.
    after = (tmp_path / "results.jsonl").read_text()
    monkeypatch.delattr(training, "train_runs")
    assert run_command("robustness", *arguments).status == 0
    assert (tmp_path / "results.jsonl").read_text() == after
    assert {"distribution.png", "report.html"} <= {path.name for path in tmp_path.iterdir()}


@pytest.mark.parametrize("sffa_axis", OWN_AXES["sffa"])
def test_the_grid_varies_the_algorithms_own_number(sffa_axis):
    options = robustness.Options(widths=(100,), shares=(1.0, 0.2), sffa_axis=sffa_axis)
    for algorithm, field in (("ffa", "ffa_threshold"), ("sffa", sffa_axis)):
        values = OWN_AXES[algorithm][field]
        settings = robustness.grid(options, algorithm)
        assert len(settings) == 2 * 2 * 3 * 2 * 3
        assert {getattr(s.recipe, field) for s in settings} == set(values)
        winners = "winners" if algorithm == "sffa" else "ffa_winners"
        assert {getattr(s.recipe, winners) for s in settings} == {None, 10}
        assert len({s.recipe for s in settings}) == len(settings)


def test_an_axis_is_one_of_sffas(tmp_path):
    run = run_command("robustness", "--sffa-axis", "winners", "--out", tmp_path / "out")
    assert run.status == 2
    assert "`sffa_axis` must be one of eps, logit_scale" in run.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--shares", "2"], "`shares` must be a number above 0 and at most 1, got 2"),
        (["--failed-below", "95"], "`failed_below` must be a number at least 0 and at most 1"),
        (["--shares", "0.501", "0.502"], "`grid` must hold each setting once, got hidden (400,), "),
        (["--learning-rates", "1e-3", "0.001"], "A value is given twice, or two of --shares keep"),
        (["--widths"], "robustness: `grid` must hold at least one run, got none. Give each option"),
    ],
)
def test_bad_grids_are_refused_before_any_work(tmp_path, arguments, message):
    out = tmp_path / "out"
    run = run_command("robustness", *arguments, "--out", out)
    assert run.status == 2
    assert message in run.err
    assert not out.exists()


@pytest.mark.parametrize("loss", ["softmax", "symba"])
def test_a_loss_of_differences_cancels_ffas_threshold(loss):
    options = robustness.Options(
        recipe=Recipe(loss=loss), widths=(100,), activations=("relu",), shares=(1.0,)
    )
    settings = robustness.grid(options, "ffa")
    scales = {setting.recipe.ffa_logit_scale for setting in settings}
    assert scales == {*OWN_AXES["ffa"]["ffa_logit_scale"]}
    assert len({setting.recipe.ffa_threshold for setting in settings}) == 1
