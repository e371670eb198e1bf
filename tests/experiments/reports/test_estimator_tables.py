from pathlib import Path

from experiments.harness.results import Results
from experiments.reports import estimator_tables


def run(algorithm, setting, seed, accuracy, **fields):
    names = {"dataset": "digits", "algorithm": algorithm, "setting": setting, "seed": seed}
    return names | {"test_accuracy": accuracy} | fields


FOLDS = [
    run("sffa", "five folds", 0, 0.98, fold_accuracies=[], log_loss=0.06, train_seconds=1.0),
    run("sffa", "five folds", 1, 0.96, fold_accuracies=[], log_loss=0.08, train_seconds=3.0),
    run(
        "sffa",
        "five folds, not calibrated",
        0,
        0.97,
        fold_accuracies=[],
        log_loss=0.2,
        train_seconds=1.0,
    ),
    run("logistic", "five folds", 0, 0.95, fold_accuracies=[], log_loss=0.1, train_seconds=0.01),
]
LATER = [
    run("sffa", "class by class, 500 stored", 0, 0.9, stored=500, stored_bytes=256_000),
    run("sffa", "class by class, 500 stored, not calibrated", 0, 0.8, stored=500, stored_bytes=9),
    run("sffa", "all classes together", 0, 0.94),
]


def test_tables():
    assert estimator_tables.folds_table(FOLDS) == [
        ["Data", "Five folds", "SFFA", "LogisticRegression"],
        ["digits", "accuracy, %", "97.00 (96.00 to 98.00)", "95.00"],
        ["digits", "log loss, nats", "0.070 (0.060 to 0.080)", "0.100"],
        ["digits", "log loss, not calibrated", "0.200", "-"],
        ["digits", "seconds of a fit", "2", "0.01"],
    ]
    assert estimator_tables.classes_table(LATER) == [
        ["Samples stored", "Bytes", "SFFA, %", "SFFA, not calibrated, %"],
        ["500", "256,000", "90.00", "80.00"],
        ["all classes together", "-", "94.00", "-"],
    ]


def test_the_report_has_the_second_table_only_if_classes_arrived_later():
    config = {"options": {"dataset": "digits"}}
    for records, headings in (
        (FOLDS, ["Five folds"]),
        (FOLDS + LATER, ["Five folds", "Class by class"]),
    ):
        section = estimator_tables.section(Results(Path(), config, records))
        assert list(section.tables) == headings
