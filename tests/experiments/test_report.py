"""Several runs on one page."""

import json

import pytest

from experiments import report as combined
from experiments.claims.doc_tables import ROOT
from experiments.harness.experiment import execute
from experiments.harness.results import read
from experiments.reports.sections import SECTIONS

RESULTS = ROOT / "results"


def run(capsys, *arguments):
    status = execute(combined.main, combined.Options, "report", list(map(str, arguments)))
    return status, capsys.readouterr()


FOLDERS = (
    *("compare/digits", "symmetry/mnist", "ablation/mnist", "robustness/mnist"),
    *("continual/mnist", "benchmark/2_cores", "benchmark/pipeline"),
)


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_experiment_has_a_section_made_from_its_files(folder):
    found = read(RESULTS / folder)
    section = SECTIONS[found.experiment](found)
    assert section.tables
    for heading, (head, *rows) in section.tables.items():
        assert rows, heading
        assert all(len(row) == len(head) for row in rows)
    assert section.summary is not None
    assert len(section.summary)
    figure = section.pictures[0].draw() if section.pictures else None
    assert figure is None or figure.axes


def test_runs_stand_side_by_side(tmp_path, capsys):
    names = ("compare/digits", "continual/mnist_shift")
    folders = [RESULTS / name for name in names]
    status, said = run(capsys, *folders, "--out", tmp_path / "out")
    assert status == 0, said.err
    html = (tmp_path / "out" / "report.html").read_text()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["report.html"]
    for name in names:
        assert f"({name.split('/')[1]})</h2>" in html
    assert "mnist_shift: mnist, class-incremental, Replay" in said.out
    assert html.count('<section id="section-') == 3


def case(name, sffa, ffa):
    values = {"sffa": dict(enumerate(sffa)), "ffa": dict(enumerate(ffa))}
    return combined.Case(name, values)


def test_differences_are_paired_and_corrected_together():
    cases = [case("a", [0.9, 0.92, 0.95], [0.8, 0.8, 0.8]), case("b", [0.5, 0.6], [0.5, 0.7])]
    _, first, second = combined.accuracy_table(cases)
    assert first[0] == "a"
    assert first[4].startswith("12.33 [")
    assert second[4].startswith("-5.00 [")
    alone = combined.accuracy_table(cases[:1])[1][5]
    assert float(first[5]) == pytest.approx(2 * float(alone), rel=0.05)
    assert first[3] == first[6] == "-"
    axes = combined.differences_figure(cases).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "holds no results that can be read"),
        ("{", "holds no results that can be read"),
        ("[]", "holds no results that can be read"),
        ('{"experiment": "compare"}', "holds no results that can be read"),
        ('{"experiment": "other", "options": {}}', "must be one of ablation, benchmark, compare"),
        ('{"experiment": "compare", "options": {}}', "must hold finished runs"),
    ],
)
def test_what_is_no_folder_of_results_is_refused(tmp_path, capsys, content, expected):
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    status, said = run(capsys, tmp_path, "--out", tmp_path / "out")
    assert status == 2
    assert expected in said.err
    assert said.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_damaged_record_is_named(tmp_path, capsys):
    (tmp_path / "config.json").write_text(json.dumps({"experiment": "compare", "options": {}}))
    (tmp_path / "results.jsonl").write_text('{"seed": 1')
    status, said = run(capsys, tmp_path)
    assert status == 2
    assert str(tmp_path) in said.err
