"""Measures of a continual-learning run's units: their owners before the first task and after each.

A unit belongs to a class if more than half of its mean activity is for that class.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from sffa_jax.analysis import drift, specialization
from sffa_jax.analysis.measures import activity_measures
from sffa_jax.continual.runner import ContinualConfig, RunState
from sffa_jax.continual.scenarios import TaskData

PROBES = 100
"""Number of test images of each task on which units are measured."""

MEASURES = ("hoyer", "active_share", "dead_share", "selectivity", "owned_share", "overlap")
"""Sparsity and specialization of each layer, see `activity_measures`."""

TURNOVER = drift.Turnover._fields
"""Fractions of units by their change during a task, see `drift.Turnover`."""


def measure_layer(
    h: Array, class_index: Int[Array, " probes"], num_classes: int
) -> dict[str, Array]:
    """Measures of one layer's activity, and the owner of each unit."""
    h = jnp.abs(h)
    values = activity_measures(h, class_index, num_classes)
    owners = specialization.owners(specialization.class_means(h, class_index, num_classes))
    return {
        "measures": jnp.stack([values[name] for name in MEASURES]),
        "owned": specialization.owned_counts(owners, num_classes),
        "owners": owners,
    }


def measure_units(config: ContinualConfig, run: RunState, data: TaskData) -> dict[str, Any]:
    """Measures a run's units on test images of all tasks, including later ones.

    Returns:
      `measures` [layers, MEASURES], `owned` [layers, classes] units that belong to each class,
      `owners` of each unit, one array [units] per layer.
    """
    model, scenario, stream = config.model, config.scenario, data.stream
    assert model.hidden is not None
    # Spread over the task, because rows are often sorted by class; a small task repeats some.
    positions = jnp.arange(PROBES)[None] * stream.num_test[:, None] // PROBES
    indices = jnp.take_along_axis(stream.test, positions, axis=1).reshape(-1)
    class_index = stream.test_class_index[indices]
    x = data.test.scaled(data.test.images[indices])
    layers = model.hidden(run.train.modules, run.overlay, x, scenario.labels(class_index))
    measured = [measure_layer(h, class_index, scenario.num_classes) for h in layers]
    owners = [layer.pop("owners") for layer in measured]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *measured) | {"owners": owners}


def turnover_record(measured: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the part of a run's record about units.

    Args:
      measured: the arrays of `measure_units` with a leading axis: before the first task, and after
        each.
    """
    by_layer = [
        np.stack(jax.vmap(drift.turnover)(jnp.asarray(rows[:-1]), jnp.asarray(rows[1:])))
        for rows in measured["owners"]
    ]
    # [TURNOVER, tasks, layers]; rounded, because JSON would store every digit of a double.
    turnover = np.stack(by_layer, axis=-1).astype(float)
    by_name = np.moveaxis(measured["measures"].astype(float).round(6), -1, 0).tolist()
    return dict(zip(MEASURES, by_name, strict=True)) | {
        "owned": measured["owned"].tolist(),
        "turnover": dict(zip(TURNOVER, turnover.round(6).tolist(), strict=True)),
    }
