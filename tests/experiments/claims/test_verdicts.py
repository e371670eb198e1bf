"""Verdicts on intervals, and rows made from files."""

import pytest
from run_records import trained, write_results

from experiments.claims import verdicts
from experiments.claims.published import CLAIMS, Claim

WHERE = ("compare/x", {"algorithm": "sffa"})


def claim(paper, **more):
    return Claim("x", "sffa", paper, "S", None, WHERE, WHERE, "it is so", **more)


@pytest.mark.parametrize(
    ("values", "paper", "same", "expected"),
    [
        ([0.90, 0.91, 0.92], 89.9, True, "exceeded"),
        ([0.90, 0.91, 0.92], 90.9, True, "reproduced"),
        ([0.90, 0.91, 0.92], 91.5, True, "reproduced"),
        ([0.90, 0.91, 0.92], 91.5, False, "level"),
        ([0.90, 0.91, 0.92], 92.1, True, "not reached"),
        ([0.88, 0.91, 0.93], 90.9, True, "undecided"),  # a half-width of 2.5 points
        ([0.88, 0.91, 0.93], 80.0, True, "exceeded"),
        ([0.95], 95.5, True, "undecided"),
        ([0.95], None, True, "-"),
        ([], 95.0, True, "-"),
    ],
)
def test_verdicts(values, paper, same, expected):
    assert verdicts.verdict(claim(paper), values, same_settings=same) == expected


def test_why_a_number_is_not_reached_is_given_once():
    seeds = [0.90, 0.91, 0.92]
    assert verdicts.verdicts(claim(90.5), seeds, []) == "level"
    assert verdicts.verdicts(claim(99.0), seeds, []) == "not reached (it is so)"
    both = verdicts.verdicts(claim(90.9), seeds, [0.5, 0.5])
    assert both == "level; its settings: not reached (it is so)"


def test_a_run_that_diverged_counts_as_0(tmp_path):
    lost = {"status": "diverged", "layer_accuracies": None, "cumulated_accuracies": None}
    runs = [trained("sffa", 0, 0.95), trained("sffa", 1, 0.95), trained("sffa", 2, None, **lost)]
    write_results(tmp_path / "compare/x", runs)
    values = verdicts.accuracies(tmp_path, claim(90.0), WHERE)
    assert values == [0.95, 0.95, 0.0]
    assert verdicts.verdict(claim(90.0), values) == "undecided"


def test_rows_are_made_from_files(tmp_path, monkeypatch):
    accuracies = (("sffa", 0, 0.9), ("sffa", 1, 0.92), ("ffa", 0, 0.1))
    write_results(tmp_path / "compare/x", [trained(*each) for each in accuracies])
    ours = "91.00 (90.00 to 92.00) (2)"
    monkeypatch.setitem(CLAIMS, "classification", (claim(90.5), claim(None)))
    first, second = verdicts.table(tmp_path, "classification")[1:]
    assert first[2:] == ["90.5", ours, ours, "level; its settings: reproduced"]
    assert second[2] == "-"
    monkeypatch.setitem(CLAIMS, "elsewhere", (claim(92.0, median=True),))
    row = verdicts.table(tmp_path, "elsewhere")[1][2:]
    assert row == ["92", "91.00 (median)", "SFFA", "not reached (it is so)"]
    monkeypatch.setitem(CLAIMS, "port", (claim(90.5),))
    assert verdicts.table(tmp_path, "port")[1][1:] == ["90.5", ours, "+0.50"]
    of_all = tuple(claim(90.5)._replace(algorithm=name) for name in ("sffa", "ffa", "bp"))
    monkeypatch.setitem(CLAIMS, "continual", of_all)
    (row,) = verdicts.table(tmp_path, "continual")[1:]
    expected = ["90.5 (-)", f"{ours} / {ours}", "level; its settings: reproduced"]
    assert row == ["x", *expected, *expected, "-", f"{ours} / {ours}"]
