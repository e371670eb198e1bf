"""What becomes of the neurons of a continual run: whose they are after each task."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from experiments.reports.continual_names import SCENARIO_NAMES, STRATEGY_NAMES
from experiments.reports.style import ALGORITHM_NAMES
from sffa_jax.analysis import drift, specialization
from sffa_jax.analysis.measures import activity_measures
from sffa_jax.continual.runner import Course, Data, Run

Records = Sequence[Mapping[str, Any]]

PROBES = 100
"""Test images of each task that the neurons are shown."""

MEASURE_NAMES = {
    "hoyer": "Hoyer sparsity",
    "active_share": "Active units, share",
    "dead_share": "Dead units, share",
    "selectivity": "Class selectivity",
    "owned_share": "Owned by a class, share",
    "overlap": "Overlap of two classes",
}
"""How sparse and how specialized each layer is, see `sffa_jax.analysis`."""

TURNOVER = drift.Turnover._fields
"""What became of the neurons during a task, as shares."""

# Okabe and Ito's colors, from what stays to what is free.
COLORS = dict(zip(TURNOVER, ("#0072B2", "#D55E00", "#CC79A7", "#56B4E9", "#999999"), strict=True))


def of_layer(h: Array, places: Int[Array, " probes"], classes: int) -> dict[str, Array]:
    """Measures of one layer's activity, and the owner of each unit."""
    found = activity_measures(h, places, classes)
    owners = specialization.owners(specialization.class_means(h, places, classes))
    return {
        "measures": jnp.stack([found[name] for name in MEASURE_NAMES]),
        "owned": specialization.owned_counts(owners, classes),
        "owners": owners,
    }


def look(course: Course, run: Run, data: Data) -> dict[str, Any]:
    """Shows a run's network test images of all tasks, those to come included.

    Returns:
      `measures` [layers, MEASURE_NAMES], `owned` [layers, classes] units that a class owns,
      `owners` of each unit, an array [units] a layer.
    """
    model, scenario, stream = course.model, course.scenario, data.stream
    assert model.hidden is not None
    # Where a task has fewer, its row repeats one.
    indices = stream.test[:, :PROBES].reshape(-1)
    places = stream.test_places[indices]
    x = data.test.scaled(data.test.images[indices])
    layers = model.hidden(run.train.modules, run.overlay, x, scenario.labels(places))
    classes = scenario.num_tasks * scenario.classes_per_task
    found = [of_layer(h, places, classes) for h in layers]
    owners = [layer.pop("owners") for layer in found]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *found) | {"owners": owners}


def record_of(found: Mapping[str, Any]) -> dict[str, Any]:
    """What is kept of one run: `look`'s arrays, each with a leading axis of rows: before the first
    task and after each."""
    turned = [
        np.stack(jax.vmap(drift.turnover)(jnp.asarray(rows[:-1]), jnp.asarray(rows[1:])))
        for rows in found["owners"]
    ]
    # [TURNOVER, tasks, layers]; rounded, or JSON would hold every digit of a double.
    turnover = np.stack(turned, axis=-1).astype(float)
    by_name = np.moveaxis(found["measures"].astype(float).round(6), -1, 0).tolist()
    return dict(zip(MEASURE_NAMES, by_name, strict=True)) | {
        "owned": found["owned"].tolist(),
        "turnover": dict(zip(TURNOVER, turnover.round(6).tolist(), strict=True)),
    }


def shown(records: Records, layer: int) -> list[Mapping[str, Any]]:
    """The runs whose neurons were looked at, in networks that have that layer."""
    return [r for r in records if "neurons" in r and layer < len(r["neurons"]["hoyer"][0])]


def depth(records: Records) -> int:
    """Layers of the deepest network that was looked at."""
    return max((len(r["neurons"]["hoyer"][0]) for r in records if "neurons" in r), default=0)


def turnover_figure(records: Records, layer: int) -> Figure:
    """Stacked shares of the neurons by what became of them during each task: a row an algorithm, a
    column a strategy; means over seeds."""
    records = shown(records, layer)
    strategies = list(dict.fromkeys(r["strategy"] for r in records))
    algorithms = list(dict.fromkeys(r["algorithm"] for r in records))
    # The legend needs its width however few the strategies are.
    size = (max(6.0, 2.1 * len(strategies) + 1.6), 1.8 * len(algorithms) + 0.9)
    figure = Figure(figsize=size)
    grid = figure.subplots(
        len(algorithms), len(strategies), squeeze=False, sharex=True, sharey=True
    )
    for (row, algorithm), (column, strategy) in itertools.product(
        enumerate(algorithms), enumerate(strategies)
    ):
        axes = grid[row, column]
        runs = [r for r in records if (r["algorithm"], r["strategy"]) == (algorithm, strategy)]
        if row == 0:
            axes.set_title(STRATEGY_NAMES[strategy], loc="center", fontsize=10)
        if column == 0:
            axes.set_ylabel(ALGORITHM_NAMES[algorithm])
        if row == len(algorithms) - 1:
            axes.set_xlabel("Task")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if not runs:
            continue
        bottom = 0.0
        for name, color in COLORS.items():
            shares = [np.array(r["neurons"]["turnover"][name])[:, layer] for r in runs]
            mean = np.mean(shares, axis=0)
            tasks = np.arange(1, len(mean) + 1)
            axes.bar(tasks, mean, bottom=bottom, color=color, width=0.85, label=name)
            bottom = bottom + mean
    handles, names = next(a for a in grid.flat if a.patches).get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=len(names))
    return figure


def table(records: Records) -> list[list[str]]:
    """Each layer's neurons at the end, and what became of them on average during a later task."""
    rows = [["Scenario", "Strategy", "Algorithm", "Layer", *MEASURE_NAMES.values()]]
    rows[0] += [f"{name}, %" for name in TURNOVER[:3]]
    settings = dict.fromkeys((r["scenario"], r["strategy"], r["algorithm"]) for r in records)
    for scenario, strategy, algorithm in settings:
        cell = {"scenario": scenario, "strategy": strategy, "algorithm": algorithm}
        runs = [r for r in records if all(r[k] == v for k, v in cell.items())]
        for layer in range(depth(runs)):
            found = [r["neurons"] for r in shown(runs, layer)]
            values = [np.mean([n[name][-1][layer] for n in found]) for name in MEASURE_NAMES]
            turned = [
                # The first task starts from untrained neurons.
                100 * np.mean([np.array(n["turnover"][name])[1:, layer] for n in found])
                for name in TURNOVER[:3]
            ]
            names = (
                SCENARIO_NAMES[scenario],
                STRATEGY_NAMES[strategy],
                ALGORITHM_NAMES[algorithm],
            )
            rows.append(
                [*names, str(layer + 1), *(f"{v:.3f}" for v in values)]
                + [f"{v:.1f}" for v in turned]
            )
    return rows
