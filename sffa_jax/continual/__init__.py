"""Continual learning: scenarios, strategies against forgetting, and runs over a stream of tasks.

Reading order: `scenarios` (tasks and labels), `model` (a network as modules with separate losses),
`problem` (what a strategy may read), `strategy` (the hooks) and `strategies` (one file each), which
use `buffer`, `quadratic`, `quadratic_program`, `statistics`, `mixtures`, `readout`, `class_groups`
and `synthetic_negatives`; `features` and `local_maps` (inputs in place of pixels); `runner` (one
run), `storage` (the bytes that it keeps), `metrics` and `simple_run` (several seeds in one call).
"""

from typing import TYPE_CHECKING

from sffa_jax._lazy import lazy

if TYPE_CHECKING:
    from sffa_jax.continual import (
        features,
        metrics,
        model,
        problem,
        scenarios,
        strategies,
        synthetic_negatives,
    )
    from sffa_jax.continual.class_groups import grouped_model
    from sffa_jax.continual.model import Model, end_to_end, forward_only
    from sffa_jax.continual.problem import Batch, Problem
    from sffa_jax.continual.runner import (
        ContinualConfig,
        ContinualResult,
        TaskSchedule,
        make_task_schedule,
        run_tasks,
    )
    from sffa_jax.continual.scenarios import (
        SCENARIOS,
        Scenario,
        TaskData,
        TaskStream,
        make_scenario,
        make_task_stream,
        split_tasks,
    )
    from sffa_jax.continual.simple_run import ContinualRuns, run
    from sffa_jax.continual.storage import StoredBytes, stored_bytes
    from sffa_jax.continual.strategy import Strategy

__all__ = [
    "SCENARIOS",
    "Batch",
    "ContinualConfig",
    "ContinualResult",
    "ContinualRuns",
    "Model",
    "Problem",
    "Scenario",
    "StoredBytes",
    "Strategy",
    "TaskData",
    "TaskSchedule",
    "TaskStream",
    "end_to_end",
    "features",
    "forward_only",
    "grouped_model",
    "make_scenario",
    "make_task_schedule",
    "make_task_stream",
    "metrics",
    "model",
    "problem",
    "run",
    "run_tasks",
    "scenarios",
    "split_tasks",
    "stored_bytes",
    "strategies",
    "synthetic_negatives",
]

__getattr__, __dir__ = lazy(
    __name__,
    {
        **dict.fromkeys(("features", "metrics", "strategies", "synthetic_negatives"), ()),
        "class_groups": ("grouped_model",),
        "model": ("Model", "end_to_end", "forward_only"),
        "problem": ("Batch", "Problem"),
        "runner": (
            *("ContinualConfig", "ContinualResult", "TaskSchedule", "make_task_schedule"),
            "run_tasks",
        ),
        "scenarios": (
            *("SCENARIOS", "Scenario", "TaskData", "TaskStream", "make_scenario"),
            *("make_task_stream", "split_tasks"),
        ),
        "simple_run": ("ContinualRuns", "run"),
        "storage": ("StoredBytes", "stored_bytes"),
        "strategy": ("Strategy",),
    },
)
