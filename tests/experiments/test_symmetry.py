import numpy as np
import pytest
from commands import read, run_command


# Two algorithms as published and by the preset, and SFFA at eight logit scales and eps: a program
# each.
@pytest.mark.parametrize(
    ("chosen", "settings", "pictures"),
    [(["--no-sizes"], 4, 3), pytest.param([], 4 + 8, 4, marks=pytest.mark.slow)],
)
def test_the_command(tmp_path, chosen, settings, pictures):
    arguments = ["--seeds", "2", "--epochs", "2", "--hidden", "8", "6", *chosen]
    run = run_command("symmetry", *arguments, "--out", tmp_path)
    assert run.status == 0, run.err
    records = read(tmp_path)
    assert len(records) == 2 * settings
    for record in records:
        norms = np.array(record["gradient_norms"], float)
        assert norms.shape == (3, 2, 2)
        assert np.all(norms > 0)
    files = {path.name for path in tmp_path.iterdir()}
    assert {"landscape.png", "gradient_ratio_layer_1.png", "gradient_ratio_layer_2.png"} <= files
    page = (tmp_path / "report.html").read_text()
    assert page.count("data:image/png;base64,") == pictures


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--loss", "softmax"], "`loss` must be bce, which treats positive and negative"),
        (["--overlay", "none", "--class-units", "groups"], "`class_units` must be none, which"),
    ],
)
def test_losses_that_join_both_kinds_of_sample(tmp_path, options, message):
    run = run_command("symmetry", *options, "--out", tmp_path / "out")
    assert run.status == 2
    assert message in run.err
    assert not (tmp_path / "out").exists()


def test_backprop_has_no_local_loss(tmp_path):
    out = tmp_path / "out"
    run = run_command("symmetry", "--algorithms", "bp", "--out", out)
    assert run.status == 2
    assert "`algorithms` must be one of ffa, sffa, got 'bp'" in run.err
    assert not out.exists()
