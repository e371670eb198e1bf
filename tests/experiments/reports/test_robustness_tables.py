import numpy as np
import pytest

from experiments.harness.results import Results
from experiments.reports import robustness_tables


def record(algorithm, accuracy, **changes):
    return {"algorithm": algorithm, "test_accuracy": accuracy, "changes": changes}


def test_quartiles_and_failures_count_diverged_runs():
    records = [record("ffa", value, eps=0.1) for value in (0.95, None, 0.85, 0.97, 0.96)]
    np.testing.assert_array_equal(
        robustness_tables.accuracies(records), [0.0, 0.85, 0.95, 0.96, 0.97]
    )
    row = robustness_tables.distribution_table(records, 0.9)[1]
    assert row == ["FFA", "5", "0.00", "85.00", "95.00", "96.00", "97.00", "40.0 % of runs"]


GRID = [
    record("ffa", 0.5, hidden=[100], activation="relu", ffa_winners=10, ffa_threshold=0.1),
    record("ffa", 0.7, hidden=[100], activation="relu", ffa_winners=None, ffa_threshold=1.0),
    record("sffa", 0.9, hidden=[100], activation="relu", winners=10, logit_scale=2.0),
    record("sffa", None, hidden=[100], activation="relu", winners=10, logit_scale=18.0),
]


def test_medians_compare_the_same_choice_of_both_algorithms():
    header, *rows = robustness_tables.by_value_table(GRID)
    assert header == ["Choice held fixed", "FFA, median", "SFFA, median"]
    assert rows == [
        ["activation: relu", "60.00", "45.00"],
        ["ffa_threshold: 0.1", "50.00", "-"],
        ["ffa_threshold: 1.0", "70.00", "-"],
        ["hidden: [100]", "60.00", "45.00"],
        ["logit_scale: 2.0", "-", "90.00"],
        ["logit_scale: 18.0", "-", "0.00"],
        ["winners: 0.2 of each half", "50.00", "45.00"],
        ["winners: None", "70.00", "-"],
    ]


def test_activations_stand_apart():
    sigmoid = [{**r, "changes": r["changes"] | {"activation": "sigmoid"}} for r in GRID]
    for one in sigmoid:
        one["test_accuracy"] = 0.3
    rows = robustness_tables.distribution_table([*GRID, *sigmoid], 0.6)
    medians = {row[0]: row[4] for row in rows[1:]}
    assert medians == {
        **{"FFA": "40.00", "SFFA": "30.00", "FFA, relu": "60.00", "FFA, sigmoid": "30.00"},
        **{"SFFA, relu": "45.00", "SFFA, sigmoid": "30.00"},
    }
    header, *rows = robustness_tables.by_value_table([*GRID, *sigmoid])
    assert header[1:] == [f"{name}, median" for name in [*medians][2:]]
    assert ["hidden: [100]", "60.00", "30.00", "45.00", "30.00"] in rows
    assert not any(row[0].startswith("activation") for row in rows)


def test_the_figure_sorts_settings_and_names_the_median(tmp_path):
    options = {"failed_below": 0.6, "dataset": "mnist", "seeds": 2, "selection": "last"}
    section = robustness_tables.section(Results(tmp_path, {"options": options}, GRID))
    assert [row[-1] for row in section.tables["Distribution over the grid"]] == [
        "Below 60 %",
        "50.0 % of runs",
        "50.0 % of runs",
    ]
    assert section.lead.startswith("2 runs, with different seeds, of each setting of the grid")
    assert "the last epoch" in section.lead
    axes = section.pictures[0].draw().axes[0]
    ffa, sffa = axes.lines[:2]
    assert ffa.get_ydata() == pytest.approx([50, 70])
    assert sffa.get_ydata() == pytest.approx([0, 90])
    assert [line.get_label() for line in (ffa, sffa)] == ["FFA, median 60.0", "SFFA, median 45.0"]
