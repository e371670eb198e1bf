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
