import json

import numpy as np
import pytest
from commands import read, run_command
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def test_folds_are_those_of_scikit_learn_and_a_second_start_adds_what_is_missing(tmp_path):
    arguments = ["--dataset", "breast_cancer", "--max-iter", "5", "--out", tmp_path, "--seeds"]
    run = run_command("estimators", *arguments, "2", "--algorithms", "logistic")
    assert run.status == 0, run.err
    first = read(tmp_path)
    x, y = load_breast_cancer(return_X_y=True)
    for record in first:
        folds = StratifiedKFold(5, shuffle=True, random_state=record["seed"])
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
        expected = cross_val_score(model, x, y, cv=folds)
        np.testing.assert_allclose(record["fold_accuracies"], expected)
        assert record["test_accuracy"] == pytest.approx(expected.mean())
    again = run_command("estimators", *arguments, "1", "--algorithms", "sffa")
    assert again.status == 0, again.err
    records = read(tmp_path)
    assert records[:2] == first
    settings = ["five folds", "five folds, not calibrated"]
    assert [record["setting"] for record in records[2:]] == settings
    command = json.loads((tmp_path / "config.json").read_text())["command"]
    options = "--dataset breast_cancer --algorithms logistic sffa --seeds 2 --max-iter 5"
    assert command == f"python -m experiments.estimators {options}"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--dataset", "wine"], "`dataset` must be one of breast_cancer, digits, got 'wine'"),
        (
            ["--algorithms", "svm"],
            "`algorithms` must be one of ffa, logistic, mlp, sffa, got 'svm'",
        ),
        (["--seeds", "0"], "`seeds` must be at least 1"),
        (["--max-iter", "4"], "`max_iter` must be at least 5"),
    ],
)
def test_bad_options(tmp_path, options, message):
    run = run_command("estimators", *options, "--out", tmp_path / "out")
    assert run.status == 2
    assert message in run.err
    assert not (tmp_path / "out").exists()
