"""Runs of the estimators and of scikit-learn's classifiers on tables of features."""

from typing import Any, NamedTuple

import numpy as np
from sklearn import datasets
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_validate
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sffa_jax.sklearn import FFAClassifier, SFFAClassifier

ESTIMATORS = {"sffa": SFFAClassifier, "ffa": FFAClassifier}

BUFFERS = (0, 100, 500)
"""Numbers of stored samples."""

FOLDS, TOGETHER, CLASS_BY_CLASS = "five folds", "all classes together", "class by class"


class Setting(NamedTuple):
    """How a classifier is trained and tested.

    Attributes:
      way: FOLDS, TOGETHER or CLASS_BY_CLASS.
      stored: number of samples of earlier classes that are stored, class by class.
      calibrated: whether an estimator holds out a tenth of its samples to calibrate probabilities.
    """

    way: str
    stored: int | None = None
    calibrated: bool = True

    @property
    def name(self) -> str:
        """As in records and reports."""
        way = self.way if self.stored is None else f"{self.way}, {self.stored} stored"
        return way if self.calibrated else f"{way}, not calibrated"


def settings_of(dataset: str, algorithm: str) -> list[Setting]:
    """Returns the settings of an algorithm on a table."""
    if algorithm not in ESTIMATORS:
        return [Setting(FOLDS)]
    ways = [Setting(FOLDS)]
    if dataset == "digits":  # two classes would be a single task
        ways += [Setting(CLASS_BY_CLASS, stored) for stored in BUFFERS] + [Setting(TOGETHER)]
    return ways + [way._replace(calibrated=False) for way in ways]


def load_table(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns features [samples, features] and labels [samples] of a table of scikit-learn's."""
    load = {"breast_cancer": datasets.load_breast_cancer, "digits": datasets.load_digits}[name]
    x, y = load(return_X_y=True)
    return x, y


def make_classifier(algorithm: str, setting: Setting, seed: int, max_iter: int) -> Any:
    """Returns an untrained classifier."""
    if algorithm == "mlp":
        classifier = MLPClassifier((200,), max_iter=500, random_state=seed)
        return make_pipeline(StandardScaler(), classifier)
    if algorithm == "logistic":
        return make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    estimator = ESTIMATORS[algorithm](random_state=seed, max_iter=max_iter)
    if setting.stored is not None:
        estimator.set_params(buffer_size=setting.stored, partial_iter=max_iter // 5)
    return estimator if setting.calibrated else estimator.set_params(validation_fraction=0.0)


def cross_validated(classifier: Any, x: np.ndarray, y: np.ndarray, seed: int) -> dict[str, Any]:
    """Returns accuracy, log loss (nats) and seconds of a fit in five folds."""
    scores = cross_validate(
        classifier,
        x,
        y,
        cv=StratifiedKFold(5, shuffle=True, random_state=seed),
        scoring={"accuracy": "accuracy", "log_loss": "neg_log_loss"},
        error_score="raise",
    )
    accuracies, log_losses = scores["test_accuracy"], -scores["test_log_loss"]
    return {
        "test_accuracy": accuracies.mean(),
        "fold_accuracies": accuracies.tolist(),
        "log_loss": log_losses.mean(),
        "fold_log_losses": log_losses.tolist(),
        "train_seconds": scores["fit_time"].mean(),
    }


def measure(
    table: tuple[np.ndarray, np.ndarray],
    algorithm: str,
    setting: Setting,
    seed: int,
    max_iter: int,
) -> dict[str, Any]:
    """Returns the fields of one run on a table from `load_table`.

    Without folds, the last fifth of the table is the test split: in digits, other people wrote it.
    """
    x, y = table
    classifier = make_classifier(algorithm, setting, seed, max_iter)
    if setting.way == FOLDS:
        return cross_validated(classifier, x, y, seed)
    train = np.arange(len(x)) < int(0.8 * len(x))
    if setting.stored is None:
        classifier.fit(x[train], y[train])
        return {"test_accuracy": classifier.score(x[~train], y[~train])}
    for first in range(0, y.max() + 1, 2):
        rows = train & np.isin(y, (first, first + 1))
        classifier.partial_fit(x[rows], y[rows])
    return {
        "test_accuracy": classifier.score(x[~train], y[~train]),
        "stored": setting.stored,
        "stored_bytes": setting.stored * x[0].nbytes,
    }
