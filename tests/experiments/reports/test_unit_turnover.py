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
    assert shown["kept, %"] == "50.0"
    assert shown["reused, %"] == "0.0"
    assert shown["lost, %"] == "25.0"
    assert unit_turnover.depth(records[2:]) == 0
