"""Claims beside results: what is said of an interval, and what is read from files."""

import json

import pytest

from experiments import reproduction
from experiments.reproduction import Claim

WHERE = ("compare/x", {"algorithm": "sffa"})


def claim(paper, source="S"):
    return Claim("x", "sffa", paper, source, None, None, WHERE, "it is so")


@pytest.mark.parametrize(
    ("values", "paper", "source", "expected"),
    [
        ([0.90, 0.91, 0.92], 80.0, "S", "exceeded"),
        ([0.90, 0.91, 0.92], 90.9, "S", "reproduced"),
        ([0.90, 0.91, 0.92], 91.5, "S", "below, within the interval: it is so"),
        ([0.90, 0.91, 0.92], 99.0, "S", "not reached: it is so"),
        # Read off a plot: a point either way counts for nothing.
        ([0.90, 0.91, 0.92], 91.5, "P", "reproduced"),
        ([0.90, 0.91, 0.92], 88.0, "P", "reproduced"),
        ([0.95], 95.5, "S", "not reached: it is so"),
        ([0.95], None, "-", "-"),
        ([], 95.0, "S", "-"),
    ],
)
def test_verdicts(values, paper, source, expected):
    assert reproduction.verdict(claim(paper, source), values) == expected


def test_rows_are_made_from_files(tmp_path, monkeypatch):
    folder = tmp_path / "compare/x"
    folder.mkdir(parents=True)
    device = {"host_cores": 2, "platform": "cpu", "kind": "cpu"}
    config = {"experiment": "compare", "options": {}, "device": device}
    (folder / "config.json").write_text(json.dumps(config))
    records = [
        {"algorithm": a, "seed": s, "status": "done", "test_accuracy": v, "train_seconds": 30.0}
        for a, s, v in (("sffa", 0, 0.9), ("sffa", 1, 0.92), ("ffa", 0, 0.1))
    ]
    (folder / "results.jsonl").write_text("\n".join(map(json.dumps, records)))
    monkeypatch.setitem(reproduction.CLAIMS, "classification", (claim(90.0), claim(None)))
    table = reproduction.table(tmp_path, "classification")
    assert table[1][2:5] == ["90", "-", "-"]
    assert table[1][5] == "91.00 ± 12.71 (2)"
    assert table[1][6] == "reproduced"
    assert table[2][2] == table[2][6] == "-"
    _, made, missing = reproduction.time_table(tmp_path, ["compare/x", "compare/y"])
    assert made == ["compare/x", "3", "2 cores", "30", "1.5", "7.5"]
    assert missing[1] == "not run"


def test_every_claim_says_where_its_number_is_from():
    for claims in reproduction.CLAIMS.values():
        for one in claims:
            assert one.source in reproduction.SOURCES
            assert (one.paper is None) == (one.source == "-")
