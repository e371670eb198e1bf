"""Continual learning: scenarios, strategies against forgetting, and runs over a stream of tasks."""

from sffa_jax.continual import features, metrics, strategies
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
from sffa_jax.continual.strategy import Strategy, stored_floats

__all__ = [
    "SCENARIOS",
    "Batch",
    "ContinualConfig",
    "ContinualResult",
    "Model",
    "Problem",
    "Scenario",
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
    "run_tasks",
    "split_tasks",
    "stored_floats",
    "strategies",
]
