"""Verdicts on intervals, and rows made from files."""

import pytest
from run_records import trained, write_results

from experiments.claims import verdicts
from experiments.claims.published import CLAIMS, Claim

WHERE = ("compare/x", {"algorithm": "sffa"})


def claim(paper, source="S", released=None, **more):
    return Claim("x", "sffa", paper, source, released, None, WHERE, "it is so", **more)


@pytest.mark.parametrize(
    ("values", "paper", "source", "expected"),
    [
        ([0.90, 0.91, 0.92], 80.0, "S", "exceeded"),
        ([0.90, 0.91, 0.92], 90.9, "S", "reproduced"),
        ([0.90, 0.91, 0.92], 91.5, "S", "below, within the interval"),
        ([0.90, 0.91, 0.92], 99.0, "S", "not reached"),
        # Read off a plot: a point either way counts for nothing.
        ([0.90, 0.91, 0.92], 91.5, "P", "reproduced"),
        ([0.90, 0.91, 0.92], 88.0, "P", "exceeded"),
        ([0.90, 0.91, 0.92], 89.5, "P", "reproduced"),
        ([0.90, 0.91, 0.92], (91.5, 95.0), "P", "reproduced"),
        ([0.90, 0.91, 0.92], (80.0, 89.0), "P", "reproduced"),
        ([0.90, 0.91, 0.92], (80.0, 85.0), "P", "exceeded"),
        ([0.95], 95.5, "S", "not reached"),
        ([0.95], None, "-", "-"),
        ([], 95.0, "S", "-"),
    ],
)
def test_verdicts(values, paper, source, expected):
    assert verdicts.verdict(claim(paper, source), values) == expected


def test_the_released_code_is_the_aim_where_the_paper_has_no_number():
    one = claim(None, "-", released=91.9)
    assert verdicts.verdicts(one, [0.90, 0.91, 0.92], []) == "reproduced, to the released code"
    assert verdicts.verdicts(one, [], []) == "-"


def test_why_a_number_is_not_reached_is_said_once():
    seeds = [0.90, 0.91, 0.92]
    assert verdicts.verdicts(claim(90.0), seeds, []) == "reproduced"
    assert verdicts.verdicts(claim(99.0), seeds, []) == "not reached (it is so)"
    both = verdicts.verdicts(claim(90.9), seeds, [0.5, 0.5])
    assert both == "reproduced; its settings: not reached (it is so)"


def test_rows_are_made_from_files(tmp_path, monkeypatch):
    accuracies = (("sffa", 0, 0.9), ("sffa", 1, 0.92), ("ffa", 0, 0.1))
    write_results(tmp_path / "compare/x", [trained(*each) for each in accuracies])
    monkeypatch.setitem(CLAIMS, "classification", (claim(90.0), claim(None)))
    table = verdicts.table(tmp_path, "classification")
    assert table[1][2:5] == ["90", "-", "-"]
    assert table[1][5] == "91.00 (90.00 to 92.00) (2)"
    assert table[1][6] == "reproduced"
    assert table[2][2] == table[2][6] == "-"
    monkeypatch.setitem(CLAIMS, "elsewhere", (claim(92.0, median=True),))
    ours = verdicts.table(tmp_path, "elsewhere")[1][2:]
    assert ours == ["92", "91.00 (median)", "SFFA", "not reached (it is so)"]
