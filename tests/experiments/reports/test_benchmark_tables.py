import pytest

from experiments.claims.doc_tables import ROOT
from experiments.harness.results import load_results
from experiments.reports import benchmark_tables


def record(case, algorithm, seconds, **fields):
    defaults = {"hidden": [1400], "winners": 0, "negatives": "uniform", "parallel": None}
    return {"case": case, "algorithm": algorithm, "seconds": seconds} | defaults | fields


def test_networks_have_a_row_for_each_algorithm_beside_bound_and_pytorch():
    records = [
        record("train_epoch", "lower_bound", [1.0]),
        record("train_epoch", "torch_sffa", [6.0]),
        record(
            "train_epoch",
            "sffa",
            [1.5, 2.0, 2.5],
            winners=15,
            negatives="hard",
            floor_ratio=2.0,
            floor_ratios=[1.5, 2.0, 2.5],
        ),
        record("compile", "sffa", [0.7], winners=15, negatives="hard"),
    ]
    _, row = benchmark_tables.networks_table(records, "train_epoch")
    assert row == [
        "1x1400",
        "SFFA, 15 winners, hard negatives",
        "2",
        "2.00 [1.50, 2.50]",
        "-",
        "0.7",
    ]


def test_kernels_are_compared_with_the_fastest():
    records = [
        record("sparse", "product, dense", [0.002]),
        record("sparse", "product, gathered", [0.006]),
        record("labels", "8 units, plain JAX", [0.003]),
        record("labels", "8 units, this library", [0.002]),
        record("precision", "sffa", [1.0], precision="bfloat16"),
    ]
    _, *rows = benchmark_tables.kernels_table(records)
    assert [row[1:] for row in rows] == [
        ["dense", "2", "1.00"],
        ["gathered", "6", "3.00"],
        ["plain JAX", "3", "1.50"],
        ["this library", "2", "1.00"],
        ["bfloat16", "1e+03", "1.00"],
    ]


def test_a_sweep_is_compared_with_the_best_and_with_single_runs():
    records = [
        record("sweep", "sffa", [seconds], seeds=4, auto="map", parallel=mode)
        for mode, seconds in (("vmap", 1.0), ("map", 2.0), ("single", 4.0))
    ]
    header, row = benchmark_tables.sweep_table(records)
    assert header[2:5] == ["vmap, s", "map, s", "single, s"]
    assert row == ["1400", "4", "1", "2", "4", "map", "2.00", "0.50"]


def test_memory_marks_the_least_of_each_depth_and_its_growth():
    records = [
        record("memory", algorithm, None, hidden=[8] * depth, temporary_mib=mib)
        for algorithm, depth, mib in (
            ("sffa", 2, 3.0),
            ("sffa", 8, 3.3),
            ("bp", 2, 2),
            ("bp", 8, 8),
        )
    ]
    _, sffa, bp = benchmark_tables.memory_table(records)
    assert sffa == ["SFFA", "3.0", "3.3 (least)", "1.10"]
    assert bp == ["Backprop", "2.0 (least)", "8.0", "4.00"]
    lines = benchmark_tables.memory_figure(records).axes[0].lines
    assert [list(line.get_ydata()) for line in lines] == [[3.0, 3.3], [2, 8]]
    # The report of an interrupted benchmark.
    _, sffa, bp = benchmark_tables.memory_table(records[:3])
    assert sffa == ["SFFA", "3.0", "3.3 (least)", "1.10"]
    assert bp == ["Backprop", "2.0 (least)", "-", "-"]


def test_lines_go_through_the_measured_times():
    records = [
        record("linear", "sffa", [0.1 * value], axis=axis, value=value)
        for axis in ("samples", "classes", "depth")
        for value in (1, 2, 4)
    ]
    for axes in benchmark_tables.linear_figure(records).axes:
        line, points = axes.lines
        assert line.get_ydata() == pytest.approx([0.1, 0.2, 0.4])
        assert points.get_ydata() == pytest.approx([0.1, 0.2, 0.4])


def test_the_committed_results_fill_every_table():
    titles = set()
    for folder in ("2_cores", "convolution", "pipeline"):
        section = benchmark_tables.section(load_results(ROOT / "results" / "benchmark" / folder))
        titles |= set(section.tables)
    assert titles == set(benchmark_tables.TABLES)
