import pytest
from run_records import trained

from experiments.config.grids import STEPS, WITHOUT
from experiments.harness.results import Results
from experiments.reports import ablation_tables

LOSS = "softmax over the labels"
ACCURACIES = {
    f"{WITHOUT}{LOSS}": (0.55, 0.75, 0.65, 0.66, 0.64),
    LOSS: (0.6, 0.9, 0.75, 0.74, 0.76),
    "learning rate": (None,) * 5,
    "start": (0.5, 0.7, 0.6, 0.6, 0.6),
}
RECORDS = [
    trained("sffa", seed, value, setting=name, status="done" if value else "diverged")
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
    # 10, 20, 15, 14 and 16 points: half-width 2.776 * 3.606 / sqrt(5); p is 0.00074, of two tests.
    assert table[2][1:] == ["75.00 [61.80, 88.20]", "15.00 [10.52, 19.48]", "0.0015"]
    assert table[3][1:3] == ["65.00 [56.18, 73.82]", "10.00 [5.27, 14.73]"]


def test_a_setting_that_diverged_is_named_and_has_no_effect():
    table = ablation_tables.effects_table(RECORDS, "sffa")
    assert table[2] == ["learning rate", "- (diverged in 5 of 5 runs)", "-", "-"]


def test_a_part_of_the_grid_without_its_path():
    """A job array's part may hold only settings that undo a change; it has its accuracy alone."""
    part = [record for record in RECORDS if record["setting"].startswith(WITHOUT)]
    assert ablation_tables.effects_table(part, "sffa")[1][2:] == ["-", "-"]


def test_the_section_has_a_table_and_a_line_for_each_algorithm(tmp_path):
    options = {"algorithms": ["sffa"], "start": "released", "end": "best", "dataset": "mnist"}
    results = Results(tmp_path, {"experiment": "ablation", "options": options}, RECORDS)
    section = ablation_tables.section(results)
    assert section.title == "From released to best on mnist"
    assert list(section.tables) == ["SFFA: effect of each change"]
    assert section.summary["Algorithm"].tolist() == ["SFFA"] * 4
    axes = section.pictures[0].draw().axes[0]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["start", "learning rate", LOSS]
    assert axes.lines[0].get_ydata() == pytest.approx([60, float("nan"), 75], nan_ok=True)
