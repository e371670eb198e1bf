"""Tables and figures of the benchmark, made from its records."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from experiments.harness.queries import Record, Records, distinct, where
from experiments.harness.results import Results
from experiments.reports.html_report import Picture, Section
from experiments.reports.names import ALGORITHM_NAMES
from experiments.reports.style import ALGORITHM_STYLES, TEXT_COLOR, new_axes

Table = list[list[str]]

NAMES = ALGORITHM_NAMES | {
    "bp_remat": "Backprop, rematerialized",
    "bp_accumulate": "Backprop, gradients accumulated",
}
STYLES = ALGORITHM_STYLES | {"bp_remat": ("#CC79A7", "v"), "bp_accumulate": ("#009E73", "D")}


def median_seconds(record: Record) -> float:
    """Returns the median over the rounds."""
    return float(np.median(record["seconds"] or [np.nan]))


def ratio_cell(record: Record, name: str) -> str:
    """Formats a ratio with its least and greatest value over the rounds."""
    if record.get(f"{name}_ratio") is None:
        return "-"
    rounds = record[f"{name}_ratios"]
    return f"{record[f'{name}_ratio']:.2f} [{min(rounds):.2f}, {max(rounds):.2f}]"


def variant_name(record: Record) -> str:
    """Returns the algorithm's name with its winners and wrong labels."""
    words = [NAMES[record["algorithm"]]]
    if record["winners"]:
        words.append(f"{record['winners']} winners")
    if record["algorithm"] != "bp" and record["negatives"] != "uniform":
        words.append(f"{record['negatives']} negatives")
    return ", ".join(words)


def networks_table(records: Records, case: str) -> Table:
    """Makes a row for each network and variant: seconds of training or scoring, and their ratios to
    the lower bound and to PyTorch."""

    def variant(record: Record) -> tuple[Any, ...]:
        names = ("algorithm", "winners", "negatives")
        return tuple(record["hidden"]), *(record[name] for name in names)

    compile_records = {variant(record): record for record in where(records, case="compile")}
    table = [["Network", "Algorithm", "Seconds", "Time / lower bound", "PyTorch / this"]]
    table[0].append("Compiling, s")
    for record in where(records, case=case):
        if record["algorithm"] not in ALGORITHM_NAMES:
            continue
        hidden = record["hidden"]
        compiled = compile_records.get(variant(record)) if case == "train_epoch" else None
        table.append(
            [
                f"{len(hidden)}x{hidden[0]}",
                variant_name(record),
                f"{median_seconds(record):.3g}",
                ratio_cell(record, "floor"),
                ratio_cell(record, "torch"),
                f"{median_seconds(compiled):.3g}" if compiled else "-",
            ]
        )
    return table


def operation_and_method(record: Record) -> tuple[str, str] | None:
    """Returns operation and method of a record; None for a case without operations."""
    algorithm = record["algorithm"]
    if record["case"] == "winners":
        return f"threshold of {record['winners']} winners of 700, 2048 rows", algorithm
    if record["case"] == "sparse":
        operation, _, method = algorithm.partition(", ")
        sizes = "1024x1400 activity of which 30 active, 1400x1400 weights"
        return f"{operation}, {sizes}", method
    if record["case"] == "labels":
        operation, _, method = algorithm.rpartition(", ")
        return f"four updates in a loop, 256 images, all ten labels, {operation}", method
    if record["case"] == "convolution":
        operation, _, method = algorithm.rpartition(", ")
        images = record.get("batch_size", 128)
        return f"four updates in a loop, {images} images {operation}", NAMES.get(method, method)
    if record["case"] == "precision":
        return "SFFA 1x1400, an epoch", record["precision"]
    return None


def kernels_table(records: Records) -> Table:
    """Makes a row for each method of an operation (winners, sparse products, all labels,
    convolutions, precision): milliseconds."""
    table = [["Operation", "Method", "Milliseconds", "Time / fastest"]]
    operations: dict[str, list[tuple[str, float]]] = {}
    for record in records:
        names = operation_and_method(record)
        if names is not None:
            operations.setdefault(names[0], []).append((names[1], median_seconds(record)))
    for operation, methods in operations.items():
        fastest = min(seconds for _, seconds in methods)
        for method, seconds in methods:
            row = [operation, method, f"{1000 * seconds:.3g}", f"{seconds / fastest:.2f}"]
            table.append(row)
    return table


def pipeline_table(records: Records) -> Table:
    """Makes a row for each use of several devices for one network, and for one device."""
    table = [["Layers = devices", "Width", "Split over devices", "Epoch, s", "Time / one device"]]
    for devices in distinct(where(records, case="pipeline"), "devices"):
        of_devices = where(records, case="pipeline", devices=devices)
        seconds = {r["parallel"]: median_seconds(r) for r in of_devices}
        width = of_devices[0]["hidden"][0]
        for mode in seconds:
            ratio = f"{seconds[mode] / seconds['one device']:.2f}"
            table.append([str(devices), str(width), mode, f"{seconds[mode]:.3g}", ratio])
    return table


def sweep_table(records: Records) -> Table:
    """Makes a row for each sweep: seconds in every placement, and single runs one after another."""
    sweeps = where(records, case="sweep")
    modes = distinct(sweeps, "parallel")
    table = [["Width", "Seeds", *(f"{mode}, s" for mode in modes)]]
    table[0] += ["auto chooses", "auto / best", "auto / single"]
    for width, seeds in dict.fromkeys((r["hidden"][0], r["seeds"]) for r in sweeps):
        rows = [r for r in sweeps if (r["hidden"][0], r["seeds"]) == (width, seeds)]
        seconds = {record["parallel"]: median_seconds(record) for record in rows}
        auto = rows[0]["auto"]
        best = min(value for mode, value in seconds.items() if mode != "single")
        table.append(
            [
                *(str(width), str(seeds)),
                *(f"{seconds[mode]:.3g}" for mode in modes),
                *(auto, f"{seconds[auto] / best:.2f}", f"{seconds[auto] / seconds['single']:.2f}"),
            ]
        )
    return table


def maps_table(records: Records) -> Table:
    """Makes a row for each algorithm: an update's scratch memory by number of convolutions."""
    of_maps = where(records, case="maps")
    depths = list(dict.fromkeys(len(record["channels"]) for record in of_maps))
    table = [["Algorithm", *(f"{depth} convolutions, MiB" for depth in depths)]]
    for algorithm in distinct(of_maps, "algorithm"):
        cells = [f"{r['temporary_mib']:.0f}" for r in where(of_maps, algorithm=algorithm)]
        table.append([NAMES[algorithm], *cells])
    return table


def memory_table(records: Records) -> Table:
    """Makes a row for each algorithm: an update's scratch memory by depth; marks the least of each
    depth. What an interrupted benchmark has not measured is a dash."""
    of_memory = where(records, case="memory")
    depths = list(dict.fromkeys(len(record["hidden"]) for record in of_memory))
    scratch = {(r["algorithm"], len(r["hidden"])): r["temporary_mib"] for r in of_memory}
    least = {d: min(v for (_, depth), v in scratch.items() if depth == d) for d in depths}
    table = [["Algorithm", *(f"{depth} layers, MiB" for depth in depths), "8 layers / 2"]]
    for algorithm in distinct(of_memory, "algorithm"):
        cells = []
        for depth in depths:
            mib = scratch.get((algorithm, depth))
            mark = " (least)" if mib == least[depth] else ""
            cells.append("-" if mib is None else f"{mib:.1f}{mark}")
        shallow, deep = (scratch.get((algorithm, depth)) for depth in (2, 8))
        growth = f"{deep / shallow:.2f}" if shallow and deep else "-"
        table.append([NAMES[algorithm], *cells, growth])
    return table


def linear_figure(records: Records) -> Figure:
    """Draws seconds per epoch against samples, classes and depth, with a straight line fit."""
    figure = Figure(figsize=(9, 3))
    titles = {"samples": "Training images", "classes": "Labels, all compared", "depth": "Layers"}
    for axes, (axis, title) in zip(figure.subplots(1, 3), titles.items(), strict=True):
        rows = where(records, case="linear", axis=axis)
        x = np.array([row["value"] for row in rows], float)
        y = np.array([median_seconds(row) for row in rows])
        slope, offset = np.polyfit(x, y, 1)
        axes.plot(x, slope * x + offset, color=TEXT_COLOR, linewidth=1)
        axes.plot(x, y, "o", color=ALGORITHM_STYLES["sffa"][0])
        axes.set_xlabel(title)
        axes.set_ylim(bottom=0)
        axes.set_xlim(left=0)
        axes.set_ylabel("Seconds per epoch")
    title = "SFFA's time for one epoch, and the straight line nearest to it"
    figure.suptitle(title, x=0.01, ha="left", fontsize=11)
    return figure


def memory_figure(records: Records) -> Figure:
    """Draws the scratch memory of an update against depth."""
    figure, axes = new_axes("Scratch memory of one update")
    of_memory = where(records, case="memory")
    for algorithm in distinct(of_memory, "algorithm"):
        rows = where(of_memory, algorithm=algorithm)
        color, marker = STYLES[algorithm]
        axes.plot(
            [len(row["hidden"]) for row in rows],
            [row["temporary_mib"] for row in rows],
            color=color,
            marker=marker,
            label=NAMES[algorithm],
        )
    axes.set_xlabel("Layers")
    axes.set_ylabel("MiB beyond parameters and optimizer")
    axes.set_ylim(bottom=0)
    axes.legend()
    return figure


TABLES: dict[str, Callable[[Records], Table]] = {
    "Training, one epoch": partial(networks_table, case="train_epoch"),
    "Scoring all images against all labels": partial(networks_table, case="score"),
    "Kernels": kernels_table,
    "Sweeps": sweep_table,
    "One network over several devices": pipeline_table,
    "Scratch memory of convolutions": maps_table,
    "Scratch memory of one update": memory_table,
}
"""By title."""


def tables(records: Records) -> dict[str, Table]:
    """Makes every table that has rows, by its title."""
    by_title = {title: make_table(records) for title, make_table in TABLES.items()}
    return {title: table for title, table in by_title.items() if len(table) > 1}


def section(results: Results) -> Section:
    """Makes the report of a benchmark."""
    records = results.records
    rows = [
        {k: v for k, v in r.items() if not isinstance(v, list) or k == "hidden"} for r in records
    ]
    pictures = []
    if where(records, case="linear"):
        draw = partial(linear_figure, records)
        pictures.append(Picture("linear.png", "SFFA's time per epoch.", draw))
    if where(records, case="memory"):
        draw = partial(memory_figure, records)
        pictures.append(Picture("memory.png", "Scratch memory by depth.", draw))
    return Section(
        title="Speed and memory",
        lead="Medians over rounds; in each round all programs of a network run once. Brackets hold "
        "the least and the greatest ratio of a round. The lower bound is the time of the matrix "
        "products and the optimizer's update alone. PyTorch / this: how many times longer a plain "
        "PyTorch program takes.",
        tables=tables(records),
        pictures=pictures,
        records=records,
        summary=pd.DataFrame(rows)
        .assign(median_seconds=list(map(median_seconds, records)))
        .drop(columns="seconds", errors="ignore"),
    )
