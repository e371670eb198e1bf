"""The guard: which runs did not learn."""

import pytest
from run_records import trained

from experiments.harness import outcomes
from experiments.harness.outcomes import failures, judged, marked, num_classes
from experiments.reports import comparison_tables, continual_tables

DIGITS = {"options": {"dataset": "digits"}}


@pytest.mark.parametrize(
    ("classes", "least"), [(2, 0.5556), (3, 0.4074), (10, 0.2), (26, 0.0769), (100, 0.02)]
)
def test_the_least_accuracy(classes, least):
    """Twice chance, but never so close to 1 that a classifier of two classes cannot learn."""
    assert outcomes.least_accuracy(1 / classes) == pytest.approx(least, abs=1e-4)


@pytest.mark.parametrize(
    ("config", "classes"),
    [
        (DIGITS, 10),
        ({"options": {"dataset": "emnist_letters"}}, 26),
        ({"options": {"dataset": "folder:x"}, "data": {"class_names": ["a", "b", "c"]}}, 3),
        ({"options": {"dataset": "tfds:x"}}, None),
        ({}, None),
    ],
)
def test_the_number_of_classes(config, classes):
    assert num_classes(config) == classes


@pytest.mark.parametrize(
    ("algorithm", "accuracy", "loss", "status"),
    [
        ("ffa", 0.1, 0.5, "did not learn"),
        ("sffa", 0.199, 0.5, "did not learn"),
        ("bp", 0.21, 0.5, "done"),
        ("bp", 0.5, 2.4, "done"),  # a loss of dropout or adversarial images may be above log(10)
    ],
)
def test_a_run_is_judged(algorithm, accuracy, loss, status):
    run = trained(algorithm, 0, accuracy, history={"loss": [1.0, loss]})
    assert judged(run, DIGITS)["status"] == status
    assert judged(judged(run, DIGITS), DIGITS)["status"] == status
    assert judged(run, {})["status"] == "done"
    assert judged({"group": "x"}, DIGITS) == {"group": "x"}


def test_a_run_is_judged_by_its_training_images():
    run = trained("ffa", 0, 0.15)
    assert judged(run | {"training_accuracy": 0.9}, DIGITS)["status"] == "done"
    assert judged(run | {"training_accuracy": 0.19}, DIGITS)["status"] == "did not learn"
    assert judged(run, DIGITS)["status"] == "did not learn"


def test_the_guess_is_the_most_frequent_class():
    """Nine of ten images have one label: a network that always says it has learned nothing."""
    config = {"options": {"dataset": "x"}, "data": {"class_names": ["a", "b"]}}
    config["data"]["training_images"] = [90, 10]
    assert judged(trained("bp", 0, 0.91), config)["status"] == "did not learn"
    assert judged(trained("bp", 0, 0.92), config)["status"] == "done"


@pytest.mark.parametrize(
    ("scenario", "after_each", "status"),
    [
        ("class", [1.0, 1.0, 1.0, 1.0, 1.0], "done"),  # all but the last task is forgotten
        ("class", [1.0, 0.0, 0.0, 0.0, 0.0], "did not learn"),  # nothing after the first task
        ("task", [0.8, 0.8, 0.8, 0.8, 0.8], "done"),
        ("task", [0.5, 0.5, 0.5, 0.5, 0.6], "did not learn"),
    ],
)
def test_a_continual_run_is_judged_by_each_task_after_it(scenario, after_each, status):
    matrix = [[0.0] * i + [x] + [None] * (4 - i) for i, x in enumerate(after_each)]
    run = trained("sffa", 0, 0.2, scenario=scenario, accuracy_matrix=matrix)
    assert judged(run, DIGITS)["status"] == status


def test_a_continual_run_is_judged_by_the_classes_of_its_tasks():
    """Four of ten classes in two tasks: a guess between two classes is right half of the time."""
    run = trained("sffa", 0, 0.5, scenario="domain", accuracy_matrix=[[0.51, None], [0.5, 0.51]])
    assert judged(run, DIGITS)["status"] == "done"  # five classes in each of two tasks
    assert judged(run | {"class_order": [0, 1, 2, 3]}, DIGITS)["status"] == "did not learn"


def test_failures_are_named_in_every_table():
    lost = {"status": "did not learn"}
    records = [trained("sffa", s, 0.9 + s / 100) for s in range(5)]
    records += [trained("bp", s, 0.1 + s / 100, **lost) for s in range(5)]
    words = "did not learn in 5 of 5 runs"
    assert failures(records) == {"bp": words}
    assert marked("3", records[5:]) == f"3 ({words})"
    assert marked("3", records[:5]) == "3"
    assert comparison_tables.results_table(records, {})[2][3] == f"5 ({words})"
    ((_, _, p, _),) = comparison_tables.tests_table(records)[1:]
    assert p == f"not tested: Backprop {words}"
    assert f"Backprop {words}." in comparison_tables.conclusion(records)
    assert comparison_tables.summary(records)["did_not_learn"].tolist() == [0, 5]
    names = {"scenario": "class", "strategy": "none"}
    records = [r | names | {"average_accuracy": r["test_accuracy"]} for r in records]
    assert words in continual_tables.accuracy_table(records)[1][3]
    assert continual_tables.tests_table(records)[1][-1] == p
