"""Claims beside results: what is said of an interval, and what is read from files."""

import json

import pytest

from experiments.claims import reproduction
from experiments.claims.reproduction import Claim

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
        ([0.90, 0.91, 0.92], 88.0, "P", "reproduced"),
        ([0.90, 0.91, 0.92], (91.5, 95.0), "P", "reproduced"),
        ([0.90, 0.91, 0.92], (80.0, 89.0), "P", "reproduced"),
        ([0.90, 0.91, 0.92], (80.0, 85.0), "P", "exceeded"),
        ([0.95], 95.5, "S", "not reached"),
        ([0.95], None, "-", "-"),
        ([], 95.0, "S", "-"),
    ],
)
def test_verdicts(values, paper, source, expected):
    assert reproduction.verdict(claim(paper, source), values) == expected


def test_the_released_code_is_the_aim_where_the_paper_has_no_number():
    one = claim(None, "-", released=91.9)
    assert reproduction.judged(one, [0.90, 0.91, 0.92], []) == "reproduced, to the released code"
    assert reproduction.judged(one, [], []) == "-"


def test_why_a_number_is_not_reached_is_said_once():
    seeds = [0.90, 0.91, 0.92]
    assert reproduction.judged(claim(90.0), seeds, []) == "reproduced"
    assert reproduction.judged(claim(99.0), seeds, []) == "not reached (it is so)"
    both = reproduction.judged(claim(90.9), seeds, [0.5, 0.5])
    assert both == "reproduced; its settings: not reached (it is so)"


def test_minutes_on_two_cores_come_from_a_short_run(tmp_path, monkeypatch):
    def write(name, platform, records):
        folder = tmp_path / name
        folder.mkdir()
        device = {"host_cores": 2, "platform": platform, "kind": "x"}
        config = {"experiment": "compare", "options": {}, "device": device}
        (folder / "config.json").write_text(json.dumps(config))
        (folder / "results.jsonl").write_text("\n".join(map(json.dumps, records)))

    def record(algorithm, seconds, epochs):
        return {"algorithm": algorithm, "seed": 0, "train_seconds": seconds, "epochs": epochs}

    write("whole", "gpu", [record("sffa", 1.0, 60), record("bp", 1.0, 60)])
    write("short", "cpu", [record("sffa", 4.0, 2), record("bp", 2.0, 2), record("ffa", 9.0, 2)])
    assert reproduction.two_core_minutes(tmp_path, "whole", 10) is None
    monkeypatch.setitem(reproduction.TIMED, "whole", "short")
    assert reproduction.two_core_minutes(tmp_path, "whole", 10) == 3 * 60 * 10 / 60
    assert reproduction.two_core_minutes(tmp_path, "short", 10) == 15 * 10 / 60
    assert reproduction.time_table(tmp_path, ["whole", "short"])[-1][-1] == "≈ 0.5 hours"


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
    monkeypatch.setitem(reproduction.CLAIMS, "elsewhere", (claim(92.0, median=True),))
    ours = reproduction.table(tmp_path, "elsewhere")[1][2:]
    assert ours == ["92", "91.00 (median)", "SFFA", "not reached (it is so)"]
    _, made, missing, _ = reproduction.time_table(tmp_path, ["compare/x", "compare/y"])
    assert made == ["compare/x", "3", "2 cores", "30", "1.5", "7.5"]
    assert missing[1] == "not run"


def test_every_claim_says_where_its_number_is_from():
    for claims in reproduction.CLAIMS.values():
        for one in claims:
            assert one.source in reproduction.SOURCES
            assert (one.paper is None) == (one.source == "-")
