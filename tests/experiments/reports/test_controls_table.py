"""Paired tests of one continual-learning strategy and its controls."""

from experiments.reports.continual_tables import controls_table

GAINS = {"joint": 0.02, "activity_rehearsal": 0.01, "qda_components": 0.0}


def test_one_strategy_is_tested_against_each_other_one():
    records = []
    for strategy, gain in GAINS.items():
        for seed in range(5):
            noise = 0.001 * (seed * len(strategy) % 4)
            fields = {"scenario": "class", "strategy": strategy, "algorithm": "sffa"}
            fields |= {"seed": seed, "status": "finished"}
            records.append(("mnist", {**fields, "average_accuracy": 0.9 + gain + noise}))
    head, first, last = controls_table(records, "activity_rehearsal")
    assert head[0] == "Data"
    assert first[:2] == ["mnist", "Activity rehearsal - QDA, components of maps"]
    assert last[1] == "Activity rehearsal - joint (all images)"
    assert (first[2][0], last[2][0]) == ("1", "-")
    diverged = {"strategy": "joint", "seed": 5, "status": "diverged", "average_accuracy": None}
    records.append(("mnist", records[0][1] | diverged))
    last = controls_table(records, "activity_rehearsal")[-1]
    assert last[-1] == "not tested: joint diverged in 1 of 6 runs"
