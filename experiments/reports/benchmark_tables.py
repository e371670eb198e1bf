"""The benchmark's tables and figures, made from its records alone."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from experiments.harness.results import Results
from experiments.reports.html_report import Picture, Section
from experiments.reports.style import ALGORITHM_NAMES, ALGORITHM_STYLES, new_axes, text_color

Record = Mapping[str, Any]
Table = list[list[str]]

NAMES = ALGORITHM_NAMES | {
    "bp_remat": "Backprop, rematerialized",
    "bp_accumulate": "Backprop, gradients accumulated",
}


def whole(records: Sequence[Record]) -> list[Record]:
    """The records of cases that were measured to their end; of each, the last time."""
    found: dict[str, list[Record]] = {}
    begun: list[Record] = []
    for record in records:
        if begun and begun[0]["group"] != record["group"]:
            begun = []
        begun.append(record)
        if record["last"]:
            found[record["group"]], begun = begun, []
    return [record for group in found.values() for record in group]


def of(records: Sequence[Record], case: str) -> list[Record]:
    """Records of one case."""
    return [record for record in records if record["case"] == case]


def _seconds(record: Record) -> str:
    return f"{np.median(record['seconds']):.3g}"


def _spread(record: Record, name: str) -> str:
    """A ratio and its least and greatest over the rounds."""
    if record.get(f"{name}_ratio") is None:
        return "-"
    rounds = record[f"{name}_ratios"]
    return f"{record[f'{name}_ratio']:.2f} [{min(rounds):.2f}, {max(rounds):.2f}]"


def _network(record: Record) -> str:
    hidden = record["hidden"]
    return f"{len(hidden)}x{hidden[0]}"


def _kind(record: Record) -> str:
    words = [NAMES[record["algorithm"]]]
    if record["winners"]:
        words.append(f"{record['winners']} winners")
    if record["algorithm"] != "bp" and record["negatives"] != "uniform":
        words.append(f"{record['negatives']} negatives")
    return ", ".join(words)


def networks_table(records: Sequence[Record], case: str) -> Table:
    """Training or scoring: seconds, and the ratios to floor and PyTorch."""
    compiling = {
        (tuple(r["hidden"]), r["algorithm"], r["winners"], r["negatives"]): r
        for r in of(records, "compile")
    }
    table = [
        [
            "Network",
            "Algorithm",
            "Seconds",
            "Times the floor",
            "PyTorch takes, times",
            "Compiles in, s",
        ]
    ]
    for record in of(records, case):
        if record["algorithm"] not in ALGORITHM_NAMES:
            continue
        key = tuple(record["hidden"]), *(record[n] for n in ("algorithm", "winners", "negatives"))
        own = compiling.get(key)
        table.append(
            [
                _network(record),
                _kind(record),
                _seconds(record),
                _spread(record, "floor"),
                _spread(record, "torch"),
                _seconds(own) if own and case == "train_epoch" else "-",
            ]
        )
    return table


def small_table(records: Sequence[Record]) -> Table:
    """Winners' kernels, sparse products, precision: milliseconds."""
    table = [["What", "How", "Milliseconds", "Times the fastest"]]
    groups: dict[str, list[tuple[str, Record]]] = {}
    for record in records:
        if record["case"] == "winners":
            what = f"threshold of {record['winners']} winners of 700, 2048 rows"
            groups.setdefault(what, []).append((record["algorithm"], record))
        elif record["case"] == "sparse":
            what, _, how = record["algorithm"].partition(", ")
            what += ", 1024x1400 activity of which 30 active, 1400x1400 weights"
            groups.setdefault(what, []).append((how, record))
        elif record["case"] == "convolution":
            what, _, how = record["algorithm"].rpartition(", ")
            how = NAMES.get(how, how)
            groups.setdefault(f"four updates in a loop, 128 images {what}", []).append(
                (how, record)
            )
        elif record["case"] == "precision":
            what = "SFFA 1x1400, an epoch"
            groups.setdefault(what, []).append((record["precision"], record))
    for what, rows in groups.items():
        best = min(np.median(r["seconds"]) for _, r in rows)
        for how, record in rows:
            median = float(np.median(record["seconds"]))
            table.append([what, how, f"{1000 * median:.3g}", f"{median / best:.2f}"])
    return table


def pipeline_table(records: Sequence[Record]) -> Table:
    """One network over several devices, in each way, against one device."""
    table = [["Layers = devices", "Width", "Over the devices", "Epoch, s", "Times one device"]]
    found = of(records, "pipeline")
    for devices in dict.fromkeys(r["devices"] for r in found):
        median = {
            r["parallel"]: float(np.median(r["seconds"])) for r in found if r["devices"] == devices
        }
        width = next(r["hidden"][0] for r in found if r["devices"] == devices)
        for way, seconds in median.items():
            ratio = f"{seconds / median['one device']:.2f}"
            table.append([str(devices), str(width), way, f"{seconds:.3g}", ratio])
    return table


def sweep_table(records: Sequence[Record]) -> Table:
    """Each way of running seeds together, against runs one by one."""
    found = of(records, "sweep")
    ways = list(dict.fromkeys(r["parallel"] for r in found))
    table = [
        ["Width", "Seeds", *(f"{w}, s" for w in ways), "auto takes", "auto / best", "auto / single"]
    ]
    settings = dict.fromkeys((r["hidden"][0], r["seeds"]) for r in found)
    for width, seeds in settings:
        rows = [r for r in found if (r["hidden"][0], r["seeds"]) == (width, seeds)]
        median = {r["parallel"]: float(np.median(r["seconds"])) for r in rows}
        auto = rows[0]["auto"]
        best = min(seconds for way, seconds in median.items() if way != "single")
        table.append(
            [
                *(str(width), str(seeds)),
                *(f"{median[w]:.3g}" for w in ways),
                auto,
                f"{median[auto] / best:.2f}",
                f"{median[auto] / median['single']:.2f}",
            ]
        )
    return table


def maps_table(records: Sequence[Record]) -> Table:
    """Convolutions' scratch memory of an update by depth."""
    found = of(records, "maps")
    depths = list(dict.fromkeys(len(r["channels"]) for r in found))
    table = [["Algorithm", *(f"{d} convolutions, MiB" for d in depths)]]
    for algorithm in dict.fromkeys(r["algorithm"] for r in found):
        mine = [f"{r['temporary_mib']:.0f}" for r in found if r["algorithm"] == algorithm]
        table.append([NAMES[algorithm], *mine])
    return table


def memory_table(records: Sequence[Record]) -> Table:
    """Scratch memory of an update by depth, and the least of each depth marked."""
    found = of(records, "memory")
    depths = list(dict.fromkeys(len(r["hidden"]) for r in found))
    scratch = {(r["algorithm"], len(r["hidden"])): r["temporary_mib"] for r in found}
    least = {d: min(v for (_, depth), v in scratch.items() if depth == d) for d in depths}
    table = [["Algorithm", *(f"{d} layers, MiB" for d in depths), "8 layers / 2"]]
    for algorithm in dict.fromkeys(r["algorithm"] for r in found):
        values = [scratch[algorithm, d] for d in depths]
        shown = [
            f"{v:.1f}" + (" (least)" if v == least[d] else "")
            for v, d in zip(values, depths, strict=True)
        ]
        growth = scratch[algorithm, 8] / scratch[algorithm, 2] if {2, 8} <= {*depths} else None
        table.append([NAMES[algorithm], *shown, "-" if growth is None else f"{growth:.2f}"])
    return table


def linear_figure(records: Sequence[Record]) -> Figure:
    """Seconds an epoch against samples, classes and depth, with the straight line through them."""
    found = of(records, "linear")
    figure = Figure(figsize=(9, 3))
    titles = {"samples": "Training images", "classes": "Labels, all compared", "depth": "Layers"}
    for axes, (axis, title) in zip(figure.subplots(1, 3), titles.items(), strict=True):
        rows = [r for r in found if r["axis"] == axis]
        x = np.array([r["value"] for r in rows], float)
        y = np.array([np.median(r["seconds"]) for r in rows])
        slope, offset = np.polyfit(x, y, 1)
        axes.plot(x, slope * x + offset, color=text_color(), linewidth=1)
        axes.plot(x, y, "o", color=ALGORITHM_STYLES["sffa"][0])
        axes.set_xlabel(title)
        axes.set_ylim(bottom=0)
        axes.set_xlim(left=0)
    figure.axes[0].set_ylabel("Seconds an epoch")
    figure.suptitle("SFFA's cost grows linearly", x=0.01, ha="left", fontsize=11)
    return figure


def memory_figure(records: Sequence[Record]) -> Figure:
    """Scratch memory of an update against depth."""
    figure, axes = new_axes("Scratch memory of one update")
    styles = ALGORITHM_STYLES | {
        "bp_remat": ("#CC79A7", "v"),
        "bp_accumulate": ("#009E73", "D"),
    }
    found = of(records, "memory")
    for algorithm in dict.fromkeys(r["algorithm"] for r in found):
        rows = [r for r in found if r["algorithm"] == algorithm]
        color, marker = styles[algorithm]
        axes.plot(
            [len(r["hidden"]) for r in rows],
            [r["temporary_mib"] for r in rows],
            color=color,
            marker=marker,
            label=NAMES[algorithm],
        )
    axes.set_xlabel("Layers")
    axes.set_ylabel("MiB beyond parameters and optimizer")
    axes.set_ylim(bottom=0)
    axes.legend()
    return figure


def tables(records: Sequence[Record]) -> dict[str, Table]:
    """Every table that has rows, by its title."""
    found = {
        "Training, one epoch": networks_table(records, "train_epoch"),
        "Scoring all images against all labels": networks_table(records, "score"),
        "Kernels": small_table(records),
        "Sweeps": sweep_table(records) if of(records, "sweep") else [[]],
        "One network over several devices": pipeline_table(records),
        "Scratch memory of convolutions": maps_table(records),
        "Scratch memory of one update": memory_table(records) if of(records, "memory") else [[]],
    }
    return {title: table for title, table in found.items() if len(table) > 1}


def section(results: Results) -> Section:
    """What there is to say of the runs; of a group that was begun twice, the whole one counts."""
    records = whole(results.records)
    rows = [
        {k: v for k, v in r.items() if not isinstance(v, list) or k == "hidden"} for r in records
    ]
    medians = np.array([np.median(r["seconds"] or [np.nan]) for r in records])
    pictures = []
    if of(records, "linear"):
        draw = partial(linear_figure, records)
        pictures.append(Picture("linear.png", "Time an epoch, SFFA.", draw))
    if of(records, "memory"):
        draw = partial(memory_figure, records)
        pictures.append(Picture("memory.png", "Scratch memory by depth.", draw))
    return Section(
        title="Speed and memory",
        lead="Medians over rounds in which all programs of a network ran once; in brackets the "
        "least and the greatest ratio of a round. The floor is the matrix products and the "
        "optimizer's update alone. PyTorch: how many times longer the same takes, written the "
        "obvious way.",
        tables=tables(records),
        pictures=pictures,
        records=records,
        summary=pd.DataFrame(rows)
        .assign(median_seconds=medians)
        .drop(columns=["seconds", "last"], errors="ignore"),
        config=results.config,
        command=results.command,
    )
