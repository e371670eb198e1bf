"""The stages of continual-learning runs as compiled programs over several runs at once."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sffa_jax.analysis import unit_turnover
from sffa_jax.continual import runner
from sffa_jax.continual.runner import ContinualConfig
from sffa_jax.continual.scenarios import TaskData, TaskStream
from sffa_jax.scale.placement import Placement
from sffa_jax.training.samples import Samples


class Tuned(NamedTuple):
    """Numbers that tuning sets, of one run or stacked.

    Attributes:
      strength: of the strategy; 0 for one without strength.
      learning_rate: of the optimizer.
    """

    strength: Any
    learning_rate: Any


class PerRunInputs(NamedTuple):
    """Inputs that differ between runs, stacked.

    Attributes:
      key: random key of the run.
      stream: its tasks.
      tuned: its tuned numbers.
      samples: its own training and test samples, e.g. features; None: those of all runs.
    """

    key: jax.Array
    stream: TaskStream
    tuned: Tuned
    samples: tuple[Samples, Samples] | None = None


class RunHistory(NamedTuple):
    """Several unfinished runs and their results so far: the content of a checkpoint.

    Attributes:
      runs: `runner.RunState` of each.
      accuracy: [runs, tasks + 1, scorers, tasks]; NaN for later tasks.
      units: arrays of `unit_turnover.measure_units` with the same leading axes; 0 for later tasks.
      losses: [runs, tasks, steps, losses]; NaN for later steps.
      task_seconds: [tasks] time of each task's steps.
      other_seconds: time of everything else.
    """

    runs: runner.RunState
    accuracy: np.ndarray
    units: dict[str, Any]
    losses: np.ndarray
    task_seconds: np.ndarray
    other_seconds: np.ndarray


def test(
    config: ContinualConfig, run: runner.RunState, task: jax.Array, data: TaskData
) -> tuple[jax.Array, dict[str, Any]]:
    """Accuracies after task `task`, and measures of the units."""
    accuracy = runner.evaluate_run(config, run, task, data)
    return accuracy, unit_turnover.measure_units(config, run, data)


class CompiledStages:
    """Runs stages of `runner` for several runs at once; each is compiled at its first use.

    Args:
      make_config: tuned numbers -> the configuration of a run.
      placement: how the runs lie on the devices.
      number: number of runs.
      train, test: the samples.
    """

    def __init__(
        self,
        make_config: Callable[[Tuned], ContinualConfig],
        placement: Placement,
        number: int,
        train: Samples,
        test: Samples,
    ) -> None:
        self.make_config, self.placement, self.number = make_config, placement, number
        self.samples = placement.place_shared((train, test), number)
        self.lifted: dict[Callable[..., Any], jax.stages.Wrapped] = {}
        self.compiled: dict[Any, jax.stages.Compiled] = {}

    def lift(self, stage: Callable[..., Any]) -> jax.stages.Wrapped:
        """A stage as a function of (its changing argument, `PerRunInputs`) of many runs; it is
        traced once for the same shapes."""

        def of_one(one: tuple[Any, PerRunInputs], *shared: Any) -> Any:
            changing, inputs = one
            *arguments, train, test = shared
            data = TaskData(inputs.stream, *(inputs.samples or (train, test)))
            return stage(self.make_config(inputs.tuned), changing, *arguments, data)

        return self.lifted.setdefault(stage, jax.jit(self.placement.lift(of_one)))

    def __call__(
        self, stage: Callable[..., Any], changing: Any, inputs: PerRunInputs, *shared: Any
    ) -> tuple[Any, np.float32]:
        """Runs a stage for all runs; also returns its seconds without compilation."""
        common = self.placement.place_shared(shared, self.number)
        arguments = ((changing, inputs), *common, *self.samples)
        name = (stage, *(jnp.shape(x) for x in shared))
        if name not in self.compiled:
            self.compiled[name] = self.lift(stage).lower(*arguments).compile()
        began = time.perf_counter()
        result = jax.block_until_ready(self.compiled[name](*arguments))
        return result, np.float32(time.perf_counter() - began)

    def empty_history(
        self, inputs: PerRunInputs, config: ContinualConfig, steps: np.ndarray
    ) -> RunHistory:
        """Shapes of the runs, and a history without results; `steps` are those of one program."""

        def shapes(stage: Callable[..., Any], changing: Any, *shared: Any) -> Any:
            return jax.eval_shape(self.lift(stage), (changing, inputs), *shared, *self.samples)

        tasks, num_steps = config.scenario.num_tasks, config.schedule.num_steps
        task, number = jnp.int32(0), self.number
        runs = shapes(runner.start_run, inputs.key)
        accuracy, units = shapes(test, runs, task)
        _, losses = shapes(runner.train_steps, runs, task, jnp.asarray(steps))
        return RunHistory(
            self.placement.run_shapes(runs, number),
            np.full((number, tasks + 1, *accuracy.shape[1:]), np.nan, np.float32),
            jax.tree.map(lambda x: np.zeros((number, tasks + 1, *x.shape[1:]), x.dtype), units),
            np.full((number, tasks, num_steps, losses.shape[-1]), np.nan, np.float32),
            np.zeros(tasks, np.float32),
            np.zeros((), np.float32),
        )
