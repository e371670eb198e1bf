import numpy as np
import pytest

from experiments.harness.results import Results
from experiments.reports import robustness_tables


def record(algorithm, accuracy, **changes):
    return {"algorithm": algorithm, "test_accuracy": accuracy, "changes": changes}


def test_quartiles_and_failures_count_diverged_runs():
    records = [record("ffa", value, eps=0.1) for value in (0.95, None, 0.85, 0.97, 0.96)]
    np.testing.assert_array_equal(
        robustness_tables.accuracies(records, "ffa"), [0.0, 0.85, 0.95, 0.96, 0.97]
    )
    row = robustness_tables.distribution_table(records, 0.9)[1]
    assert row == ["FFA", "5", "0.00", "85.00", "95.00", "96.00", "97.00", "40.0 % of settings"]


GRID = [
    record("ffa", 0.5, hidden=[100], ffa_winners=10, ffa_threshold=0.1),
    record("ffa", 0.7, hidden=[100], ffa_winners=None, ffa_threshold=1.0),
    record("sffa", 0.9, hidden=[100], winners=10, eps=0.01),
    record("sffa", None, hidden=[100], winners=10, eps=1.0),
]


def test_medians_compare_the_same_choice_of_both_algorithms():
    header, *rows = robustness_tables.by_value_table(GRID)
    assert header == ["Choice held fixed", "FFA, median", "SFFA, median"]
    assert rows == [
        ["hidden: [100]", "60.00", "45.00"],
        ["threshold: high", "70.00", "0.00"],
        ["threshold: low", "50.00", "90.00"],
        ["winners: 0.2 of each half", "50.00", "45.00"],
        ["winners: None", "70.00", "nan"],
    ]


def test_the_figure_sorts_settings_and_names_the_median(tmp_path):
    options = {"failed_below": 0.6, "dataset": "mnist"}
    section = robustness_tables.section(Results(tmp_path, {"options": options}, GRID))
    assert [row[-1] for row in section.tables["Distribution over the grid"]] == [
        "Below 60 %",
        "50.0 % of settings",
        "50.0 % of settings",
    ]
    axes = section.pictures[0].draw().axes[0]
    ffa, sffa = axes.lines[:2]
    assert ffa.get_ydata() == pytest.approx([50, 70])
    assert sffa.get_ydata() == pytest.approx([0, 90])
    assert [line.get_label() for line in (ffa, sffa)] == ["FFA, median 60.0", "SFFA, median 45.0"]
