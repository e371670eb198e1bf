from pathlib import Path

import pandas as pd
import pytest
from html_pages import parse
from run_records import trained as record
from scipy import stats

from experiments.harness.results import Results
from experiments.reports import comparison_tables, sections
from experiments.reports.html_report import html_report

RECORDS = [record("ffa", s, a) for s, a in enumerate([0.80, 0.82, 0.84, 0.81, 0.83])] + [
    record("sffa", s, a) for s, a in enumerate([0.90, 0.91, 0.95, 0.92, 0.92])
]


P = stats.ttest_rel([0.80, 0.82, 0.84, 0.81, 0.83], [0.90, 0.91, 0.95, 0.92, 0.92]).pvalue


def section_of(records):
    config = {"experiment": "compare", "options": {}, "command": "python -m x"}
    return sections.section_of(Results(Path(), config, records))


def test_layers_by_hand():
    by_layer = {"layer_accuracies": [0.5, 0.75], "cumulated_accuracies": [0.5, 0.8]}
    deep = [
        record("sffa", 0, 0.8, **by_layer),
        record("sffa", 1, 0.9, layer_accuracies=[0.7, 0.85], cumulated_accuracies=[0.7, 0.9]),
        record("bp", 0, 0.95),
    ]
    _, row = section_of(deep).tables["Test accuracy by layer, %"]
    assert row == ["SFFA", "85.00 (80.00 to 90.00, 2 seeds)", "60.00 / 80.00", "60.00 / 85.00"]
    costs = "Validation accuracy against cost"
    assert list(section_of(RECORDS).tables) == ["Results", "Paired tests", costs]


def test_a_name_that_is_no_text_is_summarized():
    (row,) = comparison_tables.summary([record("ffa", 0, 0.9, dataset="folder:\udcff")]).to_dict(
        "records"
    )
    assert row["dataset"] == "folder:\udcff"


def test_the_section_holds_every_number(tmp_path):
    diverged = record(
        "bp", 0, None, status="diverged", validation_accuracy=None, layer_accuracies=None
    )
    section = section_of([*RECORDS, diverged])
    assert section.tables["Results"][1:] == [
        ["FFA", "82.00 [80.04, 83.96]", "82.00", "5", "1.5", "strictly local"],
        ["SFFA", "92.00 [89.68, 94.32]", "92.00", "5", "1.5", "strictly local"],
        ["Backprop", "-", "-", "0 (diverged in 1 of 1 runs)", "1.5", "end to end"],
    ]
    ((difference, points, p, verdict),) = section.tables["Paired tests"][1:]
    assert difference == "FFA - SFFA"
    assert points.startswith("-10.00 [")
    assert p == f"{P:.2g}"
    assert verdict == "SFFA higher"
    html_report(tmp_path, [section])
    page = parse(tmp_path / "report.html")
    assert [image["class"] for image in page.images] == ["chart"] * 2
    assert page.tables[0] == section.tables["Results"]
    header, *runs = page.tables[-1]
    column = header.index("test accuracy")
    assert [run[column] for run in runs] == [*[f"{r['test_accuracy']:g}" for r in RECORDS], "-"]
    assert page.preformatted[0] == "python -m x"
    table = pd.read_csv(tmp_path / "summary.csv").set_index("algorithm")
    assert table.loc["sffa", "test_accuracy"] == pytest.approx(0.92)
    assert table.loc["sffa", "seconds_per_epoch"] == 1.5
    assert table.loc["bp", "diverged"] == 1


def test_algorithms_and_seeds_are_sorted_whenever_they_were_run():
    shuffled = [RECORDS[i] for i in (4, 0, 5, 2, 9, 3, 7, 1, 6, 8)]
    assert section_of(shuffled).records == RECORDS


@pytest.mark.parametrize(
    ("selection", "phrase"), [("validation", "validation accuracy"), ("test", "too high")]
)
def test_the_lead_names_how_the_epoch_was_chosen(selection, phrase):
    config = {"experiment": "compare", "options": {"selection": selection}}
    assert phrase in comparison_tables.section(Results(Path(), config, RECORDS)).lead


def test_figures_show_every_seed():
    axes = comparison_tables.accuracy_figure(RECORDS).axes[0]
    dots = [line for line in axes.lines if len(line.get_xdata()) == 5]
    assert [sorted(line.get_ydata()) for line in dots] == [
        pytest.approx([80, 81, 82, 83, 84]),
        pytest.approx([90, 91, 92, 92, 95]),
    ]
    curves = comparison_tables.learning_figure(RECORDS, "Validation accuracy").axes[0].lines
    assert curves[1].get_ydata() == pytest.approx([50, 92])


def test_the_conclusion_names_the_best_and_every_difference():
    sffa = "SFFA has the highest mean test accuracy on digits, 92.00 %: 10.00 points above FFA"
    assert section_of(RECORDS).conclusion == f"{sffa} (p = {P:.2g})."
    level = [*RECORDS, *(record("bp", s, a) for s, a in enumerate([0.89, 0.93, 0.93, 0.91, 0.92]))]
    assert "0.40 points above Backprop (p = 0.59, not" in section_of(level).conclusion
    assert section_of(RECORDS[5:6]).conclusion == (
        "SFFA reaches a test accuracy of 90.00 % on digits, one seed."
    )
    few = section_of(RECORDS[::5]).conclusion
    assert "10.00 points above FFA (not tested: 1 of at least 5 common seeds)." in few
    # Of the seeds that both have, the algorithm with the higher mean is the worse one.
    one = [record("sffa", 0, 0.7), record("sffa", 1, 0.9), record("ffa", 0, 0.75)]
    assert "80.00 %: 5.00 points below FFA on their common seeds" in section_of(one).conclusion
    diverged = record("bp", 0, None, validation_accuracy=None, layer_accuracies=None)
    assert (
        section_of([diverged]).conclusion == "No run on digits gave a test accuracy: all diverged."
    )


def test_the_conclusion_names_no_winner_among_equals_or_failures():
    equal = [record(name, s, 0.9) for name in ("ffa", "sffa") for s in range(5)]
    words = section_of(equal).conclusion
    assert words.startswith("FFA and SFFA have the highest mean test accuracy on digits, 90.00 %: ")
    assert "as accurate as SFFA (not tested: all differences are equal)" in words
    lost = {"validation_accuracy": None, "layer_accuracies": None, "status": "diverged"}
    lucky = [*RECORDS, record("bp", 0, 0.99), record("bp", 1, None, **lost)]
    words = section_of(lucky).conclusion
    assert words.startswith("Of the algorithms that learned with all seeds, SFFA has the highest")
    assert "9.00 points below Backprop (not tested: Backprop diverged in 1 of 2 runs" in words


def test_accuracies_of_the_test_set_are_not_called_validation():
    config = {"experiment": "compare", "options": {"selection": "test"}}
    section = comparison_tables.section(Results(Path(), config, RECORDS))
    assert {row[2] for row in section.tables["Results"][1:]} == {"-"}
    assert "Test accuracy against cost" in section.tables
    assert not any("Validation" in picture.caption for picture in section.pictures)
