"""Several runs on one page."""

import pytest
from commands import run_command
from html_pages import parse

from experiments.claims.doc_tables import ROOT
from experiments.harness.results import load_results
from experiments.reports.sections import section_of

RESULTS = ROOT / "results"


FOLDERS = (
    *("compare/digits", "symmetry/mnist", "ablation/mnist", "robustness/mnist"),
    *("continual/mnist", "benchmark/2_cores", "benchmark/pipeline"),
)


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_experiment_has_a_section_made_from_its_files(folder):
    found = load_results(RESULTS / folder)
    section = section_of(found)
    assert section.tables
    for heading, (head, *rows) in section.tables.items():
        assert rows, heading
        assert all(len(row) == len(head) for row in rows)
    assert section.summary is not None
    assert len(section.summary)
    figure = section.pictures[0].draw() if section.pictures else None
    assert figure is None or figure.axes


def test_runs_stand_side_by_side(tmp_path):
    names = ("compare/digits", "continual/mnist_shift")
    folders = [RESULTS / name for name in names]
    run = run_command("report", *folders, "--out", tmp_path / "out")
    assert run.status == 0, run.err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["report.html"]
    page = parse(tmp_path / "out" / "report.html")
    assert page.sections == ["section-1", "section-2", "section-3"]
    titles = [text for tag, text in page.headings if tag == "h2"]
    assert titles[0] == "All comparisons side by side"
    assert titles[1].endswith("(digits)")
    assert titles[2].endswith("(mnist_shift)")
    settings = [row[0] for row in page.tables[0][1:]]
    assert "mnist_shift: mnist, class-incremental, Replay" in settings
    assert all(setting in run.out for setting in settings)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "has no config.json"),
        ("{", "config.json is damaged"),
        ('{"experiment": "other", "options": {}}', "must be one of ablation, benchmark, compare"),
        ('{"experiment": "benchmark", "options": {}}', "must contain finished runs"),
    ],
)
def test_what_is_no_folder_of_results_is_refused(tmp_path, content, expected):
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    run = run_command("report", tmp_path, "--out", tmp_path / "out")
    assert run.status == 2
    assert expected in run.err
    assert run.err.count("\n") == 1
    assert not (tmp_path / "out").exists()
