import re

import pandas as pd
import pytest

from experiments.reports import comparison, html


def record(algorithm, seed, accuracy, **changes):
    return {
        "dataset": "digits",
        "algorithm": algorithm,
        "seed": seed,
        "status": "done",
        "test_accuracy": accuracy,
        "validation_accuracy": accuracy,
        "layer_accuracies": [accuracy],
        "cumulated_accuracies": [accuracy],
        "selected_epoch": 2,
        "epochs": 2,
        "train_seconds": 3.0,
        "history": {"loss": [0.7, 0.6], "validation_accuracy": [0.5, accuracy]},
    } | changes


RECORDS = [record("ffa", s, a) for s, a in enumerate([0.80, 0.82, 0.84])] + [
    record("sffa", s, a) for s, a in enumerate([0.90, 0.91, 0.95])
]


def test_layers_by_hand():
    by_layer = {"layer_accuracies": [0.5, 0.75], "cumulated_accuracies": [0.5, 0.8]}
    deep = [
        record("sffa", 0, 0.8, **by_layer),
        record("sffa", 1, 0.9, layer_accuracies=[0.7, 0.85], cumulated_accuracies=[0.7, 0.9]),
        record("bp", 0, 0.95),
    ]
    text = comparison.comparison(deep, {"options": {}}, "python -m x").text()
    assert re.search(r"SFFA +85.00 \[.*\] +60.00 / 80.00 +60.00 / 85.00", text)
    assert "Each layer alone" not in comparison.comparison(RECORDS, {"options": {}}, "x").text()


def test_the_section_holds_every_number(tmp_path):
    diverged = record(
        "bp", 0, None, status="diverged", validation_accuracy=None, layer_accuracies=None
    )
    section = comparison.comparison([*RECORDS, diverged], {"options": {}}, "python -m x")
    text = section.text()
    assert "82.00 [77.03, 86.97]" in text
    assert re.search(r"Backprop +- +- +0 \(1 diverged\)", text)
    html.write(tmp_path, [section])
    page = (tmp_path / "report.html").read_text()
    # Two pictures, each for light and for dark.
    assert page.count("data:image/png;base64,") == 4
    assert "python -m x" in page
    for accuracy in ("0.8", "0.95", "0.91"):
        assert re.search(f"<td[^>]*>{accuracy}</td>", page)
    table = pd.read_csv(tmp_path / "summary.csv").set_index("algorithm")
    assert table.loc["sffa", "test_accuracy"] == pytest.approx(0.92)
    assert table.loc["sffa", "seconds_per_epoch"] == 1.5
    assert table.loc["bp", "diverged"] == 1


def test_figures_show_every_seed():
    axes = comparison.accuracy_figure(RECORDS).axes[0]
    dots = [line for line in axes.lines if len(line.get_xdata()) == 3]
    assert [sorted(line.get_ydata()) for line in dots] == [
        pytest.approx([80, 82, 84]),
        pytest.approx([90, 91, 95]),
    ]
    curves = comparison.learning_figure(RECORDS).axes[0].lines
    assert curves[1].get_ydata() == pytest.approx([50, 92])


def test_nothing_to_report():
    with pytest.raises(ValueError, match="`records` must hold at least one run"):
        comparison.comparison([], {}, "")
