"""Tables of errors and calibration by hand; records of earlier versions have none."""

import numpy as np
import pytest

from experiments.reports import prediction_tables

CONFIG = {"data": {"class_names": ["cat", "dog"]}}


def record(algorithm, confusion, nll=0.5, worst=()):
    totals = np.sum(confusion, axis=1)
    return {
        "algorithm": algorithm,
        "nll": nll,
        "ece": 0.1,
        "class_accuracies": (np.diag(confusion) / totals).tolist(),
        "confusion": confusion,
        "reliability": [[0.6, 0.5, 0.25], [0.9, 1.0, 0.75]],
        "worst": list(worst),
    }


def image(index, probability, predicted=1, png="AAAA"):
    return {
        "index": index, "label": 0, "predicted": predicted, "probability": probability, "png": png,
    }  # fmt: skip


RECORDS = [
    record("ffa", [[6, 4], [0, 10]], nll=0.4, worst=[image(3, 0.9), image(1, 0.6)]),
    record("ffa", [[8, 2], [2, 8]], nll=0.6, worst=[image(3, 0.95), image(2, 0.9, predicted=0)]),
    record("bp", [[10, 0], [1, 9]]),
]


def test_errors_by_class():
    by_class, pairs = prediction_tables.details(RECORDS, CONFIG).values()
    assert by_class == [
        ["Class", "FFA, %", "Backprop, %"],
        ["cat", "70.00", "100.00"],
        ["dog", "90.00", "90.00"],
    ]
    assert pairs == [
        ["Class", "Predicted as", "FFA", "Backprop"],
        ["cat", "dog", "3.0", "0.0"],
        ["dog", "cat", "1.0", "1.0"],
    ]
    ffa, bp = prediction_tables.matrices(RECORDS, CONFIG).values()
    assert ffa.names == ["cat", "dog"]
    assert ffa.percent == [[70, 30], [10, 90]]
    assert bp.percent == [[100, 0], [10, 90]]


def test_classes_without_names_have_numbers():
    assert prediction_tables.class_names({}, 3) == ["0", "1", "2"]
    assert prediction_tables.class_names(CONFIG, 3) == ["0", "1", "2"]


def test_of_many_classes_the_lowest_are_shown(monkeypatch):
    monkeypatch.setattr(prediction_tables, "MOST_ROWS", 1)
    ((heading, table), _) = prediction_tables.details(RECORDS, CONFIG).items()
    assert heading == "Test accuracy by class (the 1 lowest of 2)"
    assert [row[0] for row in table] == ["Class", "cat"]
    assert prediction_tables.matrices(RECORDS, CONFIG) == {}


def test_calibration():
    assert prediction_tables.calibration_table(RECORDS) == [
        ["Algorithm", "NLL, nats", "ECE, points"],
        ["FFA", "0.500 (0.400 to 0.600, 2 seeds)", "10.00 (10.00 to 10.00, 2 seeds)"],
        ["Backprop", "0.500 (one seed)", "10.00 (one seed)"],
    ]
    _, curve, _ = prediction_tables.reliability_figure(RECORDS).axes[0].lines
    np.testing.assert_allclose(curve.get_xydata(), [[60, 50], [90, 100]])


def test_each_wrong_image_is_shown_once_with_its_highest_probability():
    ((heading, images),) = prediction_tables.images(RECORDS, CONFIG).items()
    assert heading.startswith("FFA: ")
    assert [image.caption for image in images] == [
        "cat, predicted as dog (95 %)",
        "cat, predicted as dog (60 %)",
    ]


@pytest.mark.parametrize("part", ["details", "matrices", "images"])
def test_older_records_have_no_such_parts(part):
    older = [{"algorithm": "ffa"}]
    assert not getattr(prediction_tables, part)(older, CONFIG)
    assert prediction_tables.pictures(older) == []
