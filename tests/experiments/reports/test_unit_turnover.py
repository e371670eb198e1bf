"""The figure and the table of unit turnover."""

import numpy as np
import pytest

from experiments.reports import unit_turnover
from sffa_jax.analysis.unit_turnover import MEASURES, turnover_record


def test_every_measure_has_a_title():
    assert tuple(unit_turnover.MEASURE_NAMES) == MEASURES


def test_the_figure_stacks_shares_to_one_and_the_table_leaves_out_the_first_task():
    owners = np.array([[0, 0, -1, -1], [0, 1, 1, -1], [-1, 1, 1, 2]])
    neurons = turnover_record(
        {
            "owners": [owners],
            "owned": np.zeros((3, 1, 4), int),
            "measures": np.zeros((3, 1, len(MEASURES))),
        }
    )
    run = {"scenario": "class", "strategy": "none", "algorithm": "sffa", "neurons": neurons}
    records = [run, {**run, "algorithm": "bp"}, {"scenario": "class", "strategy": "none"}]
    axes = unit_turnover.turnover_figure(records, 0).axes
    tops = [bar.get_y() + bar.get_height() for bar in axes[0].patches[-2:]]
    assert tops == pytest.approx([1, 1])
    head, first, _ = unit_turnover.table(records[:2])
    shown = dict(zip(head, first, strict=True))
    assert shown["Kept, %"] == "50.0"
    assert shown["Reused, %"] == "0.0"
    assert shown["Lost, %"] == "25.0"
    assert unit_turnover.depth(records[2:]) == 0


def test_a_silent_layer_and_a_single_task_have_dashes():
    """JSON has no NaN: a layer without activity has null for its sparsity."""
    silent = np.full((2, 1, len(MEASURES)), 0.5)
    silent[..., MEASURES.index("hoyer")] = np.nan
    counts = np.zeros((2, 1, 4), int)
    neurons = turnover_record(
        {"owners": [np.full((2, 4), -1)], "owned": counts, "measures": silent}
    )
    neurons["hoyer"] = [[None], [None]]
    run = {"scenario": "class", "strategy": "none", "algorithm": "sffa", "neurons": neurons}
    head, row = unit_turnover.table([run])
    shown = dict(zip(head, row, strict=True))
    assert (shown["Hoyer sparsity"], shown["Class selectivity"]) == ("-", "0.500")
    assert [shown[f"{name}, %"] for name in ("Kept", "Reused", "Lost")] == ["-"] * 3
