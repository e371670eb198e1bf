"""The runs of one cell of the continual-learning grid: in pieces, several at once, resumable."""

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console

from experiments.config.continual_options import OPTIMIZERS, Options
from experiments.config.recipe import Recipe
from experiments.harness.progress import Watcher, by_layer
from experiments.harness.splits import make_splits
from experiments.reports import unit_turnover
from sffa_jax import data
from sffa_jax.continual import runner
from sffa_jax.continual.runner import Course, Plan, make_plan
from sffa_jax.continual.scenarios import Scenario, Stream, make_scenario, make_stream
from sffa_jax.continual.strategy import stored_floats
from sffa_jax.scale.checkpoints import Checkpoints
from sffa_jax.scale.placement import Placement, available, take_runs
from sffa_jax.scale.processes import to_host
from sffa_jax.scale.resumable import run_resumable
from sffa_jax.scale.sweep import seed_keys
from sffa_jax.training.samples import Samples

PORTION = 100
"""Steps of a task in one program, at most; between two, a snapshot can be taken."""


class LoadedData(NamedTuple):
    """A data set as the runs use it: labels to share out over tasks, images on the device."""

    shape: tuple[int, ...]
    num_classes: int
    train_labels: np.ndarray
    test_labels: np.ndarray
    training: Samples
    test: Samples


def load_data(options: Options, dataset: data.Dataset, *, held_out: bool) -> LoadedData:
    """The published splits; or, to tune, two parts of the training split alone."""
    recipe = Recipe(selection="validation" if held_out else "last")
    splits = make_splits(dataset, recipe, options.validation)
    test = splits.test if splits.validation is None else splits.validation
    return LoadedData(
        splits.shape,
        dataset.num_classes,
        np.asarray(splits.training.labels),
        np.asarray(test.labels),
        splits.training,
        test,
    )


def stack_streams(streams: Sequence[Stream]) -> Stream:
    """Streams of several runs, along a leading axis."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *streams)


class Cell(NamedTuple):
    """One setting of the grid."""

    scenario: str
    strategy: str
    algorithm: str


def make_course(
    options: Options, cell: Cell, scenario: Scenario, plan: Plan, shape: Sequence[int]
) -> Callable[[Any], Course]:
    """What a cell's runs learn and how, as a function of the strategy's strength."""
    model = options.model_for(cell.strategy, cell.algorithm, scenario, shape)
    optimizer = OPTIMIZERS[options.optimizer](options.learning_rate)
    # The released code scores every class seen; end to end, one pass gives them all.
    scores_all = options.coupling == "released" or cell.algorithm == "bp"
    num_wrong = None if scores_all else options.wrong_labels

    def course(strength: Any) -> Course:
        make_strategy = options.strategy(cell.strategy, cell.algorithm, shape, strength)
        return Course(
            model,
            scenario,
            make_strategy,
            optimizer,
            plan,
            num_wrong,
            options.fresh_optimizer,
        )

    return course


class Swept(NamedTuple):
    """What each run of a cell has for itself, stacked.

    Attributes: key: of the run; stream: its tasks; strength: of the strategy, where it has one.
    """

    key: jax.Array
    stream: Stream
    strength: jax.Array


class Tested(NamedTuple):
    """One run, to its end.

    Attributes:
      position: among the runs asked for.
      accuracy, losses: as in `runner.RunResult`.
      neurons: what was seen of them before the first task and after each, see
        `unit_turnover.look`.
      stored: floats that the strategy keeps.
      seconds: of training and testing, without compilation.
      task_seconds: [tasks] of each task's steps alone.
    """

    position: int
    accuracy: np.ndarray
    losses: np.ndarray
    neurons: dict[str, Any]
    stored: int
    seconds: float
    task_seconds: np.ndarray


def test(
    course: Course, run: runner.Run, now: jax.Array, data: runner.Data
) -> tuple[jax.Array, dict[str, Any]]:
    """Accuracies after task `now`, and a look at the neurons."""
    return runner.evaluate_run(course, run, now, data), unit_turnover.look(course, run, data)


class Pieces:
    """The pieces of a cell's runs as programs over several runs at once, compiled when first used.

    Args:
      course: strength -> what is learned and how.
      placement: how the runs lie on the devices.
      number: of runs.
      training, test: the samples.
    """

    def __init__(
        self,
        course: Callable[[Any], Course],
        placement: Placement,
        number: int,
        training: Samples,
        test: Samples,
    ) -> None:
        self.course, self.placement, self.number = course, placement, number
        self.samples = placement.place_shared((training, test), number)
        self.compiled: dict[Any, jax.stages.Compiled] = {}

    def lift(self, piece: Callable[..., Any]) -> Callable[..., Any]:
        """A piece of the runner, over (what changes, `Swept`) of many runs."""

        def of_one(one: tuple[Any, Swept], *shared: Any) -> Any:
            changing, own = one
            *arguments, training, test = shared
            seen = runner.Data(own.stream, training, test)
            return piece(self.course(own.strength), changing, *arguments, seen)

        return self.placement.lift(of_one)

    def __call__(
        self, piece: Callable[..., Any], changing: Any, swept: Swept, *shared: Any
    ) -> tuple[Any, np.float32]:
        """Runs a piece for all runs; also the seconds that took, without compilation."""
        common = self.placement.place_shared(shared, self.number)
        arguments = ((changing, swept), *common, *self.samples)
        name = (piece, *(jnp.shape(x) for x in shared))
        if name not in self.compiled:
            self.compiled[name] = jax.jit(self.lift(piece)).lower(*arguments).compile()
        began = time.perf_counter()
        result = jax.block_until_ready(self.compiled[name](*arguments))
        return result, np.float32(time.perf_counter() - began)

    def journey(self, swept: Swept, course: Course) -> "Journey":
        """Shapes of the runs, and their histories with nothing in them yet."""

        def shapes(piece: Callable[..., Any], changing: Any, *shared: Any) -> Any:
            return jax.eval_shape(self.lift(piece), (changing, swept), *shared, *self.samples)

        tasks, num_steps, now = course.scenario.num_tasks, course.plan.num_steps, jnp.int32(0)
        runs = shapes(runner.begin, swept.key)
        tested, looked = shapes(test, runs, now)
        _, losses = shapes(runner.train_steps, runs, now, jnp.arange(1))
        number = self.number
        return Journey(
            self.placement.run_shapes(runs, number),
            np.full((number, tasks + 1, *tested.shape[1:]), np.nan, np.float32),
            jax.tree.map(lambda x: np.zeros((number, tasks + 1, *x.shape[1:]), x.dtype), looked),
            np.full((number, tasks, num_steps, losses.shape[-1]), np.nan, np.float32),
            np.zeros(tasks, np.float32),
            np.zeros((), np.float32),
        )


class Journey(NamedTuple):
    """Several runs between two portions of steps: all that a snapshot holds.

    Attributes:
      runs: `runner.Run` of each.
      accuracy: [runs, tasks + 1, scorers, tasks]; NaN for what is to come.
      neurons: `unit_turnover.look`'s, with the same leading axes; 0 for what is to come.
      losses: [runs, tasks, steps, losses], likewise.
      seconds: [tasks] of each task's steps.
      other_seconds: of all else.
    """

    runs: runner.Run
    accuracy: np.ndarray
    neurons: dict[str, Any]
    losses: np.ndarray
    seconds: np.ndarray
    other_seconds: np.ndarray


def portions(num_steps: int) -> list[np.ndarray]:
    """A task's steps, in portions of about the same size after which a snapshot can be taken."""
    return np.array_split(np.arange(num_steps, dtype=np.int32), -(-num_steps // PORTION))


def seen_so_far(journey: Journey, task: int) -> np.ndarray:
    """Mean accuracy over the tasks up to one, after it: [runs, scorers]."""
    return journey.accuracy[:, task + 1, :, : task + 1].mean(axis=-1, dtype=float)


def scalars(journey: Journey, run: int, i: int) -> Iterator[tuple[int, dict[str, float]]]:
    """What TensorBoard sees of a run's i-th portion of steps: losses by update, counted from 0
    over all tasks; after a task's last portion accuracies, by the number of tasks learned."""
    num_steps = journey.losses.shape[2]
    parts = portions(num_steps)
    task, part = divmod(i, len(parts))
    for step in parts[part]:
        yield task * num_steps + int(step), by_layer("loss", journey.losses[run, task, step])
    if part == len(parts) - 1:
        network, *layers = seen_so_far(journey, task)[run]
        found = {"average_accuracy/network": float(network)}
        found |= by_layer("average_accuracy", np.array(layers))
        of_tasks = journey.accuracy[run, task + 1, 0, : task + 1]
        found |= {f"accuracy/task_{j}": float(value) for j, value in enumerate(of_tasks, 1)}
        yield task + 1, found


def run_together(
    pieces: Pieces,
    swept: Swept,
    course: Course,
    checkpoints: Checkpoints | None,
    info: dict[str, Any],
    every_seconds: float,
    watcher: Watcher,
) -> Journey:
    """Several runs at once, from wherever an earlier start was stopped."""
    tasks, parts = course.scenario.num_tasks, portions(course.plan.num_steps)
    number = pieces.number
    before = jnp.int32(-1)

    def note(journey: Journey, row: int, tested: Any) -> None:
        accuracy, neurons = to_host(tested)
        journey.accuracy[:, row] = accuracy[:number]
        for rows, new in zip(
            jax.tree.leaves(journey.neurons), jax.tree.leaves(neurons), strict=True
        ):
            rows[:, row] = new[:number]

    def begin() -> Journey:
        runs, took = pieces(runner.begin, swept.key, swept)
        untrained, tested_for = pieces(test, runs, swept, before)
        journey = Journey(runs, *jax.tree.map(np.copy, like[1:]))
        note(journey, 0, untrained)
        return journey._replace(other_seconds=journey.other_seconds + took + tested_for)

    def advance(i: int, journey: Journey) -> Journey:
        runs, other = journey.runs, journey.other_seconds
        task, part = divmod(i, len(parts))
        now = jnp.int32(task)
        if part == 0:
            runs, took = pieces(runner.open_task, runs, swept, now)
            other = other + took
        (runs, losses), took = pieces(
            runner.train_steps, runs, swept, now, jnp.asarray(parts[part])
        )
        journey.losses[:, task, parts[part]] = to_host(losses)[:number]
        journey.seconds[task] += took
        if part == len(parts) - 1:
            runs, took = pieces(runner.close_task, runs, swept, now)
            tested, tested_for = pieces(test, runs, swept, now)
            note(journey, task + 1, tested)
            other = other + took + tested_for
        learned = task + (part == len(parts) - 1)
        watcher.show(
            task + (part + 1) / len(parts),
            journey.losses[:, task, parts[part]].mean(axis=1, dtype=float),
            seen_so_far(journey, learned - 1) if learned else None,
        )
        watcher.write(i, partial(scalars, journey))
        return journey._replace(runs=runs, other_seconds=other)

    like = pieces.journey(swept, course)
    return run_resumable(
        begin,
        advance,
        tasks * len(parts),
        checkpoints,
        info=info,
        every_seconds=every_seconds,
        like=like,
    )


def run_seeds(
    options: Options,
    cell: Cell,
    used: LoadedData,
    seeds: Sequence[int],
    strengths: Sequence[float],
    checkpoints: Checkpoints | None = None,
    *,
    console: Console,
    label: str,
    events: Sequence[Path] | None = None,
) -> Iterator[list[Tested]]:
    """Runs of one cell, each with its seed and strength.

    Args:
      options: resolved.
      cell: the setting.
      used: the data.
      seeds, strengths: one of each a run.
      checkpoints: where snapshots of the runs under way are kept; an earlier start's are gone on
        with.
      console, label: where and as what progress is shown.
      events: folder of each run's TensorBoard events; None: none are kept.

    Yields:
      The runs that went together, as they end. Their snapshots are removed when the next are asked
      for.
    """
    orders = [options.order(used.num_classes, seed) for seed in seeds]
    scenario = make_scenario(cell.scenario, orders[0], options.tasks)
    streams = stack_streams(
        [make_stream(used.train_labels, used.test_labels, order, scenario) for order in orders]
    )
    assert options.epochs is not None
    assert options.batch_size is not None
    # From sizes of classes alone, so that the plan does not depend on which seeds run together.
    plan = make_plan(streams, epochs=options.epochs, batch_size=options.batch_size)
    course = make_course(options, cell, scenario, plan, used.shape)
    on_cpu = jax.default_backend() == "cpu"
    per_run = options.devices_per_run
    alone = jax.process_count() == 1 and per_run == 1
    placement = options.placement
    if placement is None:
        several = Placement("devices") in available()
        placement = Placement(("devices" if several else "map") if on_cpu or not alone else "vmap")
    # In a row, runs can be kept as soon as they end: as many at once as work at a time.
    at_once = {"map": 1, "devices": jax.device_count() // per_run if on_cpu else len(seeds)}
    portion = at_once.get(placement.mode, len(seeds))
    swept = Swept(seed_keys(seeds), streams, jnp.asarray(strengths, jnp.float32))
    pieces: dict[tuple[Placement, int], Pieces] = {}
    for start in range(0, len(seeds), portion):
        size = min(portion, len(seeds) - start)
        # One run alone is the faster with all cores to itself.
        placement = Placement("map") if size == 1 and alone else placement
        group = slice(start, start + size)
        info = {**cell._asdict(), "seeds": list(seeds[group])}
        info |= {"strengths": list(strengths[group]), "parallel": placement.mode}
        if (placement, size) not in pieces:
            pieces[placement, size] = Pieces(course, placement, size, used.training, used.test)
        part = placement.place_runs(take_runs(swept, start, size))
        which = f"run {start + 1}" if size == 1 else f"runs {start + 1}-{start + size}"
        shown = label if size == len(seeds) else f"{label}, {which}/{len(seeds)}"
        with Watcher(
            console,
            shown,
            scenario.num_tasks,
            "task",
            "tasks so far",
            events and events[group],
            keep=False,  # the grid is long, and each cell leaves a line
        ) as watcher:
            done = run_together(
                pieces[placement, size],
                part,
                course(0.0),
                checkpoints,
                info,
                options.checkpoint_seconds,
                watcher,
            )
        one = jax.eval_shape(
            lambda many: jax.tree.map(lambda x: x[0], many), done.runs.train.memory
        )
        stored = stored_floats(one, used.training.images.shape[1])
        by_task = done.seconds.astype(float) / size
        each = float(done.other_seconds) / size + float(by_task.sum())
        yield [
            Tested(
                start + i,
                done.accuracy[i].astype(float),
                done.losses[i],
                jax.tree.map(lambda rows, i=i: rows[i], done.neurons),
                stored,
                each,
                by_task,
            )
            for i in range(size)
        ]
        if checkpoints is not None:
            checkpoints.clear()
