"""The runs of one setting of the continual-learning grid: several at once, resumable."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from rich.console import Console

from experiments.config.continual_methods import METHODS, Setup
from experiments.config.continual_options import Options, Setting
from experiments.config.recipe import Recipe
from experiments.config.sizes import check_size
from experiments.harness.continual_features import FeatureCache
from experiments.harness.continual_stages import (
    CompiledStages,
    PerRunInputs,
    RunHistory,
    Tuned,
    test,
)
from experiments.harness.group import print_restart
from experiments.harness.progress import Watcher, by_layer
from experiments.harness.splits import make_splits
from sffa_jax import data
from sffa_jax.checks import check_range
from sffa_jax.continual import runner
from sffa_jax.continual.features import extract
from sffa_jax.continual.runner import ContinualConfig, TaskSchedule, make_task_schedule
from sffa_jax.continual.scenarios import Scenario, TaskData, make_scenario, make_task_stream
from sffa_jax.continual.storage import StoredBytes, stored_bytes
from sffa_jax.continual.strategy import Strategy
from sffa_jax.scale.checkpoints import Checkpoints
from sffa_jax.scale.placement import Placement, available, take_runs
from sffa_jax.scale.processes import to_host
from sffa_jax.scale.resumable import run_resumable
from sffa_jax.scale.sweep import seed_keys
from sffa_jax.training.samples import Samples

STEPS_PER_PROGRAM = 100
"""Maximum number of steps in one program; checkpoints are saved between programs."""


class LoadedData(NamedTuple):
    """A data set on the device.

    Attributes:
      shape: shape of an image.
      num_classes: number of classes.
      train, test: the splits.
      cache: features of the images.
    """

    shape: tuple[int, ...]
    num_classes: int
    train: Samples
    test: Samples
    cache: FeatureCache


def load_data(options: Options, dataset: data.Dataset, *, held_out: bool) -> LoadedData:
    """Returns the published splits or, if images are held out, two parts of the training split."""
    recipe = Recipe(selection="validation" if held_out else "last")
    splits = make_splits(dataset, recipe, options.validation)
    test = splits.test if splits.validation is None else splits.validation
    return LoadedData(splits.shape, dataset.num_classes, splits.train, test, FeatureCache())


def check_setting(options: Options, setting: Setting, loaded: LoadedData) -> None:
    """Traces the start of a setting's run: its tasks, features, strategy and network.

    Raises:
      ValueError: for options that do not fit the data.
    """
    order = options.order(loaded.num_classes, 0)
    scenario = make_scenario(setting.scenario, order, options.tasks)
    check_size(options.recipe(setting.algorithm, scenario), loaded.shape)
    labels, test_labels = np.asarray(loaded.train.labels), np.asarray(loaded.test.labels)
    check_range("options", "batch_size", options.batch_size, at_most=len(labels))
    stream = make_task_stream(labels, test_labels, order, scenario)
    setup = make_setup(options, setting, scenario, loaded)
    config_of = make_config(setting.strategy, setup, TaskSchedule(1, 1, 1))
    features = options.features_for(setting.strategy, setup)

    def begin(key: jax.Array) -> list[jax.Array]:
        given = TaskData(stream, loaded.train, loaded.test)
        tasks = given if features is None else extract(features, key, given)[0]
        config = config_of(Tuned(1.0, options.learning_rate))
        return jax.tree.leaves(runner.start_run(config, key, tasks))

    jax.eval_shape(begin, jax.random.key(0))


def make_setup(options: Options, setting: Setting, scenario: Scenario, loaded: LoadedData) -> Setup:
    """Returns the inputs from which a method is built."""
    background = -loaded.train.mean / loaded.train.std
    return Setup(options, setting.algorithm, scenario, loaded.shape, background)


def make_config(
    name: str, setup: Setup, schedule: TaskSchedule
) -> Callable[[Tuned], ContinualConfig]:
    """Returns a function from tuned numbers to the configuration of a strategy's runs."""
    options, scenario, method = setup.options, setup.scenario, METHODS[name]
    model = (method.model or options.model)(setup)
    decays = options.lr_schedule == "cosine"
    # The released code scores all classes seen so far; backprop scores all in one pass.
    scores_all = options.coupling == "released" or setup.algorithm == "bp"
    negatives = "all" if scores_all else options.negatives

    def config(tuned: Tuned) -> ContinualConfig:
        strategy = method.make(setup._replace(strength=tuned.strength))
        rate = tuned.learning_rate
        optimizer = getattr(optax, options.optimizer)(
            optax.cosine_decay_schedule(rate, schedule.num_steps, 0.02) if decays else rate
        )
        reset = options.reset_optimizer or decays
        return ContinualConfig(model, scenario, strategy, optimizer, schedule, negatives, reset)

    return config


class RunResult(NamedTuple):
    """One finished run.

    Attributes:
      position: number of the run in `seeds`.
      accuracy, losses: as in `runner.ContinualResult`.
      finite: whether all weights are finite at the end.
      units: arrays of `unit_turnover.measure_units` before the first task and after each.
      stored: what the method keeps, in bytes.
      seconds: time of training and testing, without compilation.
      task_seconds: [tasks] time of each task's steps.
    """

    position: int
    accuracy: np.ndarray
    losses: np.ndarray
    finite: bool
    units: dict[str, Any]
    stored: StoredBytes
    seconds: float
    task_seconds: np.ndarray


def step_groups(num_steps: int) -> list[np.ndarray]:
    """Divides the steps of a task into groups of about the same size, one program each."""
    steps = np.arange(num_steps, dtype=np.int32)
    return np.array_split(steps, -(-num_steps // STEPS_PER_PROGRAM))


def accuracy_so_far(history: RunHistory, task: int) -> np.ndarray:
    """Mean accuracy over the tasks learned after a task: [runs, scorers]."""
    return history.accuracy[:, task + 1, :, : task + 1].mean(axis=-1, dtype=float)


def scalars(history: RunHistory, run: int, i: int) -> Iterator[tuple[int, dict[str, float]]]:
    """Yields the TensorBoard scalars of a run's i-th group of steps.

    Losses by update, counted from 0 over all tasks; after a task's last group also accuracies, by
    the number of tasks learned.
    """
    num_steps = history.losses.shape[2]
    groups = step_groups(num_steps)
    task, group = divmod(i, len(groups))
    for step in groups[group]:
        yield task * num_steps + int(step), by_layer("loss", history.losses[run, task, step])
    if group == len(groups) - 1:
        network, *layers = accuracy_so_far(history, task)[run]
        values = {"average_accuracy/network": float(network)}
        values |= by_layer("average_accuracy", np.array(layers))
        of_tasks = history.accuracy[run, task + 1, 0, : task + 1]
        values |= {f"accuracy/task_{j}": float(value) for j, value in enumerate(of_tasks, 1)}
        yield task + 1, values


def run_together(
    stages: CompiledStages,
    inputs: PerRunInputs,
    config: ContinualConfig,
    checkpoints: Checkpoints | None,
    info: dict[str, Any],
    every_seconds: float,
    watcher: Watcher,
) -> RunHistory:
    """Runs several runs at once, from their last checkpoint if there is one."""
    tasks, groups = config.scenario.num_tasks, step_groups(config.schedule.num_steps)
    number = stages.number

    def record(history: RunHistory, row: int, tested: Any) -> None:
        accuracy, units = to_host(tested)
        history.accuracy[:, row] = accuracy[:number]
        for rows, new in zip(jax.tree.leaves(history.units), jax.tree.leaves(units), strict=True):
            rows[:, row] = new[:number]

    def begin() -> RunHistory:
        runs, start_seconds = stages(runner.start_run, inputs.key, inputs)
        untrained, test_seconds = stages(test, runs, inputs, jnp.int32(-1))
        history = RunHistory(runs, *jax.tree.map(np.copy, like[1:]))
        record(history, 0, untrained)
        return history._replace(other_seconds=history.other_seconds + start_seconds + test_seconds)

    def advance(i: int, history: RunHistory) -> RunHistory:
        runs, other = history.runs, history.other_seconds
        number_of_task, group = divmod(i, len(groups))
        task, steps = jnp.int32(number_of_task), groups[group]
        if group == 0:
            runs, seconds = stages(runner.start_task, runs, inputs, task)
            other = other + seconds
        (runs, losses), seconds = stages(runner.train_steps, runs, inputs, task, jnp.asarray(steps))
        history.losses[:, number_of_task, steps] = to_host(losses)[:number]
        history.task_seconds[number_of_task] += seconds
        ended = group == len(groups) - 1
        if ended:
            runs, seconds = stages(runner.end_task, runs, inputs, task)
            tested, test_seconds = stages(test, runs, inputs, task)
            record(history, number_of_task + 1, tested)
            other = other + seconds + test_seconds
        learned = number_of_task + ended
        watcher.show(
            number_of_task + (group + 1) / len(groups),
            history.losses[:, number_of_task, steps].mean(axis=1, dtype=float),
            accuracy_so_far(history, learned - 1) if learned else None,
        )
        watcher.write(i, partial(scalars, history))
        return history._replace(runs=runs, other_seconds=other)

    if checkpoints is not None and checkpoints.info() not in (None, info):
        print_restart(watcher.label, checkpoints)
    like = stages.empty_history(inputs, config, groups[0])
    return run_resumable(
        begin,
        advance,
        tasks * len(groups),
        checkpoints,
        info=info,
        every_seconds=every_seconds,
        like=like,
    )


def run_seeds(
    options: Options,
    setting: Setting,
    loaded: LoadedData,
    seeds: Sequence[int],
    tuned: Sequence[Tuned],
    checkpoints: Checkpoints | None = None,
    *,
    label: str,
    events: Sequence[Path] | None = None,
) -> Iterator[list[RunResult]]:
    """Runs one setting, each run with its seed and tuned numbers.

    Args:
      options: resolved.
      setting: the setting.
      loaded: the data.
      seeds, tuned: one of each per run.
      checkpoints: where unfinished runs are saved; those of an earlier start are resumed.
      label: of the progress.
      events: folder of each run's TensorBoard events; None: no events.

    Yields:
      Each group of runs at its end. Its checkpoints are removed when the next group is requested.
    """
    orders = [options.order(loaded.num_classes, seed) for seed in seeds]
    scenario = make_scenario(setting.scenario, orders[0], options.tasks)
    labels, test_labels = np.asarray(loaded.train.labels), np.asarray(loaded.test.labels)
    streams = jax.tree.map(
        lambda *leaves: jnp.asarray(np.stack(leaves)),
        *[make_task_stream(labels, test_labels, order, scenario) for order in orders],
    )
    assert options.epochs is not None
    assert options.batch_size is not None
    # From class sizes only, so that the schedule does not depend on the group of seeds.
    schedule = make_task_schedule(streams, epochs=options.epochs, batch_size=options.batch_size)
    setup = make_setup(options, setting, scenario, loaded)
    config = make_config(setting.strategy, setup, schedule)
    one_config = config(Tuned(1.0, options.learning_rate))
    features = options.features_for(setting.strategy, setup)
    on_cpu, per_run = jax.default_backend() == "cpu", options.devices_per_run
    alone = jax.process_count() == per_run == 1
    placement = options.placement
    if placement is None:
        several = Placement("devices") in available()
        placement = Placement(("devices" if several else "map") if on_cpu or not alone else "vmap")
    # A group contains only runs that run at the same time, so that each is saved at its end.
    at_once = {"map": 1, "devices": jax.device_count() // per_run if on_cpu else len(seeds)}
    portion = at_once.get(placement.mode, len(seeds))
    numbers = Tuned(*(jnp.asarray(column, jnp.float32) for column in zip(*tuned, strict=True)))
    inputs = PerRunInputs(seed_keys(seeds), streams, numbers)
    compiled: dict[tuple[Placement, int], CompiledStages] = {}
    for start in range(0, len(seeds), portion):
        size = min(portion, len(seeds) - start)
        # A single run is faster with all cores.
        placement = Placement("map") if size == 1 and alone else placement
        group = slice(start, start + size)
        info = {
            **setting._asdict(),
            "seeds": list(seeds[group]),
            "tuned": list(map(list, tuned[group])),
        }
        info |= {"parallel": placement.mode, "padded": placement.padded(size)}
        if (placement, size) not in compiled:
            compiled[placement, size] = CompiledStages(
                config, placement, size, loaded.train, loaded.test
            )
        which = f"run {start + 1}" if size == 1 else f"runs {start + 1}-{start + size}"
        with Watcher(
            Console(),
            label if size == len(seeds) else f"{label}, {which}/{len(seeds)}",
            scenario.num_tasks,
            "task",
            "tasks so far",
            events and events[group],
            keep=False,  # each setting prints a line at its end
        ) as watcher:
            of_group, feature_bytes = take_runs(inputs, start, size), 0
            if features is not None:
                extracted = loaded.cache.get(
                    METHODS[setting.strategy].features or str(options.inputs),
                    features,
                    seeds[group],
                    of_group.stream,
                    loaded.train,
                    loaded.test,
                )
                of_group = of_group._replace(samples=(extracted.train, extracted.test))
                feature_bytes = extracted.bytes
            history = run_together(
                compiled[placement, size],
                placement.place_runs(of_group),
                one_config,
                checkpoints,
                info,
                options.checkpoint_seconds,
                watcher,
            )
        one = jax.tree.map(lambda rows, start=start: rows[start], streams)
        data = TaskData(one, loaded.train, loaded.test)
        yield results_of(history, start, one_config.strategy, data, feature_bytes)
        if checkpoints is not None:
            checkpoints.clear()


def results_of(
    history: RunHistory, start: int, strategy: Strategy, data: TaskData, feature_bytes: int
) -> list[RunResult]:
    """Returns the results of finished runs; time is divided evenly among them, and the parameters
    of features count among those of the network."""
    size = len(history.accuracy)
    train = history.runs.train
    state, modules = jax.eval_shape(
        lambda many: jax.tree.map(lambda x: x[0], many), (train.strategy_state, train.modules)
    )
    stored = stored_bytes(strategy, modules, state, data)
    stored = stored._replace(parameters=stored.parameters + feature_bytes)
    weights = [
        leaf
        for leaf in jax.tree.leaves(to_host(train.modules))
        if jnp.issubdtype(leaf.dtype, jnp.floating)
    ]
    task_seconds = history.task_seconds.astype(float) / size
    seconds = float(history.other_seconds) / size + float(task_seconds.sum())
    return [
        RunResult(
            start + i,
            history.accuracy[i].astype(float),
            history.losses[i],
            all(bool(np.isfinite(leaf[i]).all()) for leaf in weights),
            jax.tree.map(lambda rows, i=i: rows[i], history.units),
            stored,
            seconds,
            task_seconds,
        )
        for i in range(size)
    ]
