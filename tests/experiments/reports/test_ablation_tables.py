import pytest

from experiments.config.grids import STEPS, WITHOUT
from experiments.harness.results import Results
from experiments.reports import ablation_tables

LOSS = "softmax over the labels"
ACCURACIES = {
    f"{WITHOUT}{LOSS}": (0.55, 0.75),
    LOSS: (0.6, 0.9),
    "learning rate": (None, None),
    "start": (0.5, 0.7),
}
RECORDS = [
    {"setting": name, "algorithm": "sffa", "seed": seed, "test_accuracy": value}
    for name, values in ACCURACIES.items()
    for seed, value in enumerate(values)
]


def test_settings_are_in_the_order_of_the_steps_however_they_were_recorded():
    path, undone = ablation_tables.ordered_settings(RECORDS)
    assert path == ["start", "learning rate", LOSS]
    assert undone == [f"{WITHOUT}{LOSS}"]
    every = [{"setting": name} for name in ("start", *STEPS)]
    assert ablation_tables.ordered_settings(every[::-1])[0] == ["start", *STEPS]


def test_effects_are_paired_by_seed():
    records = [record for record in RECORDS if record["setting"] != "learning rate"]
    table = ablation_tables.effects_table(records, "sffa")
    assert [row[0] for row in table[1:]] == ["start", LOSS, f"{WITHOUT}{LOSS}"]
    assert table[1][2:] == ["-", "-"]
    # 10 and 20 points; 5 and 15 points: half-width 12.706 * 7.071 / sqrt(2).
    assert table[2][1:] == ["75.00 [-115.59, 265.59]", "15.00 [-48.53, 78.53]", "0.2"]
    assert table[3][1:] == ["65.00 [-62.06, 192.06]", "10.00 [-53.53, 73.53]", "0.3"]


def test_a_setting_that_diverged_is_named_and_has_no_effect():
    table = ablation_tables.effects_table(RECORDS, "sffa")
    assert table[2] == ["learning rate", "all diverged", "-", "-"]


def test_the_section_has_a_table_and_a_line_for_each_algorithm(tmp_path):
    options = {"algorithms": ["sffa"], "start": "released", "end": "best", "dataset": "mnist"}
    results = Results(tmp_path, {"experiment": "ablation", "options": options}, RECORDS, "x")
    section = ablation_tables.section(results)
    assert section.title == "From released to best on mnist"
    assert list(section.tables) == ["SFFA: effect of each change"]
    assert section.summary["Algorithm"].tolist() == ["SFFA"] * 4
    axes = section.pictures[0].draw().axes[0]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["start", "learning rate", LOSS]
    assert axes.lines[0].get_ydata() == pytest.approx([60, float("nan"), 75], nan_ok=True)
