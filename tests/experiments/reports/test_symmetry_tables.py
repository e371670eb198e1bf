import numpy as np
import pytest

from experiments.config.grids import GRADIENT_SETTINGS
from experiments.harness.results import Results
from experiments.reports import symmetry_tables


def record(algorithm, setting, norms, **fields):
    return {"algorithm": algorithm, "setting": setting, "gradient_norms": norms} | fields


def test_the_table_counts_either_direction_as_imbalance():
    records = [
        record("ffa", "published", [[[1, 1]], [[1, 4]]]),
        record("ffa", "published", [[[4, 1]], [[4, 1]]]),
    ]
    row = symmetry_tables.imbalance_table(records)[1]
    assert row == ["FFA", "published", "1", "2", "4 (4 to 4, 2 seeds)", "4"]


def test_sizes_join_both_kinds_of_sample():
    records = [
        record("sffa", name, [[[3, 4]], [[6, 8]], [[0.3, 0.4]]], probe_accuracy=0.5)
        for name in GRADIENT_SETTINGS
    ]
    np.testing.assert_allclose(symmetry_tables.gradient_sizes(records, "τ = 1"), [[5, 10, 0.5]])
    _, *rows = symmetry_tables.size_table(records)
    assert [row[0] for row in rows] == list(GRADIENT_SETTINGS)
    assert rows[0][1:] == ["5", "10", "0.5", "50.00 (one seed)"]
    tau, eps = symmetry_tables.size_figure(records).axes
    assert [line.get_label() for line in tau.lines] == [n for n in GRADIENT_SETTINGS if "τ" in n]
    assert eps.lines[0].get_ydata() == pytest.approx([5, 10, 0.5])


def test_the_section_shows_landscapes_and_a_ratio_for_each_layer(tmp_path):
    options = {"dataset": "mnist", "preset": "default", "algorithms": ["ffa", "sffa"]}
    norms = [[[1, 1], [1, 2]], [[2, 1], [1, 1]]]
    records = [record("ffa", "published", norms), record("sffa", "published", norms)]
    section = symmetry_tables.section(Results(tmp_path, {"options": options}, records))
    assert [picture.file for picture in section.pictures] == [
        "landscape.png",
        "gradient_ratio_layer_1.png",
        "gradient_ratio_layer_2.png",
    ]
    titles = [axes.get_title() for axes in section.pictures[0].draw().axes]
    samples = [
        f"{name}: {kind} sample" for name in ("FFA", "SFFA") for kind in ("positive", "negative")
    ]
    assert [title for title in titles if title] == samples
    ratio = section.pictures[2].draw().axes[0].lines[0]
    assert ratio.get_ydata() == pytest.approx([0.5, 1])


def test_a_diverged_run_is_counted_and_left_out(tmp_path):
    lost = {"status": "diverged", "probe_accuracy": None}
    records = [
        record("ffa", "published", [[[1, 1]], [[1, 4]]], seed=0, status="done"),
        record("ffa", "published", [[[1, 1]], [[None, None]]], seed=1, **lost),
        record("sffa", "published", [[[None, None]], [[None, None]]], seed=0, **lost),
        record("sffa", "default", [[[0, 0]], [[0, 0]]], seed=0, status="done"),
    ]
    first, second, third = symmetry_tables.imbalance_table(records)[1:]
    ffa = "FFA (diverged in 1 of 2 runs)"
    assert first == [ffa, "published", "1", "1", "4 (one seed)", "4"]
    assert second == ["SFFA (diverged in 1 of 1 runs)", "published", "1", "-", "-", "-"]
    assert third[3:] == ["undefined: no gradient"] * 3
    options = {"dataset": "mnist", "preset": "default", "algorithms": ["ffa", "sffa"]}
    section = symmetry_tables.section(Results(tmp_path, {"options": options}, records))
    for picture in section.pictures:
        picture.draw()


def test_a_gradient_of_zero_is_shown_without_a_warning():
    """A layer may be dead from some epoch on, and positive samples may have no gradient."""
    norms = [[[3, 4]], [[0, 2]], [[0, 0]]]
    records = [record("sffa", name, norms, probe_accuracy=0.5) for name in GRADIENT_SETTINGS]
    assert symmetry_tables.size_table(records)[1][1:4] == ["5", "2", "0"]
    ratio = symmetry_tables.ratio_figure(records[:1], 0).axes[0].lines[0]
    np.testing.assert_allclose(ratio.get_ydata(), [0.75, 0, np.nan])


def test_layers_that_only_one_algorithm_has():
    records = [
        record("ffa", "published", [[[1, 1]], [[1, 4]]]),
        record("sffa", "published", [[[1, 1], [2, 1]], [[1, 4], [1, 1]]]),
    ]
    rows = symmetry_tables.imbalance_table(records)[1:]
    assert [(row[0], row[2]) for row in rows] == [("FFA", "1"), ("SFFA", "1"), ("SFFA", "2")]
    lines = symmetry_tables.ratio_figure(records, 1).axes[0].lines
    assert lines[0].get_label() == "SFFA, published"
