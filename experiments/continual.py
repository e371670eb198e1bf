"""Continual learning: scenarios x strategies x algorithms, a few classes at a time.

    python -m experiments.continual --dataset mnist --data-dir DIR --preset protocol --seeds 5

is the grid of the paper (five tasks of two classes, two epochs a task, memory of 500): SFFA with
replay ends at 90 % or above in the class scenario. Each cell is one compiled program of static
shapes; a second start with the same `--out` goes on with the runs that are missing.
"""

import dataclasses
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments import continual_report
from experiments import options as shared
from experiments.command import execute
from experiments.options import check_names
from experiments.presets import Recipe
from experiments.run_folder import RunFolder
from sffa_jax import augment, data, overlays, rules
from sffa_jax.checkpoint import Checkpoints, drive
from sffa_jax.checks import check_choice, check_integer, check_range
from sffa_jax.continual import metrics, runner
from sffa_jax.continual.model import COUPLINGS, Model, end_to_end, forward_only
from sffa_jax.continual.runner import Course, Plan, make_plan
from sffa_jax.continual.scenarios import (
    SCENARIOS,
    Scenario,
    Stream,
    class_order,
    make_scenario,
    make_stream,
)
from sffa_jax.continual.strategies import STRATEGIES
from sffa_jax.continual.strategy import Problem, Strategy, stored_floats
from sffa_jax.layers import dense_layers
from sffa_jax.network import Network
from sffa_jax.sweep import WAYS, available, place, placed_shapes, seed_keys, spread, take
from sffa_jax.train import Samples

ALGORITHMS = ("sffa", "ffa", "bp")

PRESETS: dict[str, dict[str, Any]] = {
    # For the embedded digits: 287 images a task.
    "quick": {"hidden": (100, 100), "epochs": 10, "batch_size": 32, "memory": 100},
    # The paper's and the released code's.
    "protocol": {"hidden": (1400, 1400), "epochs": 2, "batch_size": 512, "memory": 500},
}

OVERLAY_VALUE = {"class": 5.0, "domain": 1.0, "task": 5.0}
"""Size of the appended label code. Where every class has a label of its own, a strong code keeps
the neurons of one task from being those of the next; where all tasks share two labels, it only
hides the image."""

LOSS = {"sffa": "softmax", "ffa": "bce"}

STRENGTHS: dict[str, dict[str, float]] = {
    "ewc": {"sffa": 1e5, "ffa": 1e5, "bp": 1e5},
    "si": {"sffa": 1e4, "ffa": 1e4, "bp": 1e3},
    "mas": {"sffa": 1.0, "ffa": 1.0, "bp": 1.0},
    "lwf": {"sffa": 1.0, "ffa": 1.0, "bp": 1.0},
}
"""Strengths of the regularising strategies, in the units that their docstrings state."""

TUNING_FACTORS = (0.01, 0.1, 1.0, 10.0, 100.0)
"""What `--tune` multiplies the strengths by."""

TUNING_SEED = 10_000
"""Weights and class order of the tuning runs: no run that is reported has them."""

PORTION = 100
"""Steps of a task in one program, at most; between two, a snapshot can be taken."""

FREE_OPTIONS = (*shared.FREE_OPTIONS, "scenarios", "strategies")
"""Options that do not change any single run, so that a second start may change them."""


@dataclass(frozen=True)
class Options(shared.Common):
    """Learn a data set's classes a few at a time and see what is forgotten."""

    scenarios: tuple[str, ...] = SCENARIOS
    """What is asked: class (which of all so far), domain (which of a task's), task (task named)."""
    strategies: tuple[str, ...] = ("none", "ewc", "si", "mas", "gem", "replay")
    """Against forgetting: none, ewc, si, mas, lwf, gem, agem, replay, derpp, gdumb, joint."""
    algorithms: tuple[str, ...] = ALGORITHMS
    """Algorithms to compare: sffa, ffa, bp."""
    seeds: int = 3
    """Number of seeds; the seeds are 0 .. N-1, each with its own weights and class order."""
    preset: str = "quick"
    """Sizes: quick (for digits), or protocol (the paper's)."""
    tasks: int = 5
    """Tasks that share out the classes."""
    class_order: tuple[int, ...] | None = None
    """Classes in the order in which they come, for all seeds; drawn by seed if left out."""
    hidden: tuple[int, ...] | None = None
    """Width of each hidden layer; the preset's if left out."""
    epochs: float | None = None
    """Passes over each task; the preset's if left out."""
    batch_size: int | None = None
    """New images per update; the preset's if left out."""
    learning_rate: float = 1e-3
    """Adam's learning rate."""
    wrong_labels: int | None = 1
    """Wrong labels an update tries for each image, hard ones first; None: all seen so far."""
    coupling: str = "local"
    """Forward-only layers: local (a loss each), or released (one loss of their product)."""
    memory: int | None = None
    """Images that replay, derpp, agem and gdumb remember; the preset's if left out."""
    memory_weight: float | None = None
    """Replay: weight of a remembered image against a new one; None: all tasks weigh the same."""
    memory_shift: int = 0
    """Replay: remembered images are moved by up to this many pixels, anew at each use."""
    patterns: int = 20
    """GEM: images remembered of each task."""
    gem_strength: float = 0.5
    """GEM: least weight of an earlier task's gradient once a step is projected."""
    ewc_mode: str = "separate"
    """EWC: separate (a quadratic a task) or online (one for all)."""
    tune: bool = False
    """Choose each regularising strategy's strength on held-out training images first."""
    validation: float = 1 / 12
    """Share of the training images that --tune holds out."""
    parallel: str = "auto"
    """How seeds are spread: vmap, map, devices, or auto (devices on a CPU, else vmap)."""

    def resolve(self) -> Self:
        """Fills in the preset's values and checks every option.

        Raises:
          ValueError: naming the first option that cannot be used.
        """
        self.check(ALGORITHMS)
        check_choice("options", "preset", self.preset, PRESETS)
        check_choice("options", "coupling", self.coupling, COUPLINGS)
        check_choice("options", "ewc_mode", self.ewc_mode, ("separate", "online"))
        check_names("scenarios", self.scenarios, SCENARIOS)
        check_names("strategies", self.strategies, STRATEGIES)
        minima = {"tasks": 1, "patterns": 1, "memory_shift": 0, "wrong_labels": 1}
        for name, minimum in minima.items():
            if getattr(self, name) is not None:
                check_integer("options", name, getattr(self, name), minimum)
        check_range("options", "learning_rate", self.learning_rate, above=0)
        check_range("options", "gem_strength", self.gem_strength, at_least=0)
        if self.memory_weight is not None:
            check_range("options", "memory_weight", self.memory_weight, above=0)
        filled = {
            name: value
            for name, value in PRESETS[self.preset].items()
            if getattr(self, name) is None
        }
        for name in ("scenarios", "strategies", "algorithms"):
            filled[name] = tuple(dict.fromkeys(getattr(self, name)))
        resolved = dataclasses.replace(self, **filled)
        check_integer("options", "memory", resolved.memory, 1)
        check_integer("options", "batch_size", resolved.batch_size, 1)
        check_range("options", "epochs", resolved.epochs, above=0)
        assert resolved.hidden is not None
        dense_layers(resolved.hidden)
        return resolved

    def order(self, num_classes: int, seed: int) -> tuple[int, ...]:
        """The order of classes of one seed."""
        return self.class_order or class_order(num_classes, self.tasks, seed)

    def model(self, algorithm: str, scenario: Scenario) -> Model:
        """The network of "sffa", "ffa" or "bp", of resolved options."""
        assert self.hidden is not None
        layers = dense_layers(self.hidden)
        if algorithm == "bp":
            return end_to_end(layers, scenario.num_labels)

        def overlay(key: jax.Array) -> overlays.Overlay:
            return overlays.appended_gaussian(
                key, scenario.num_labels, value=OVERLAY_VALUE[scenario.kind]
            )

        rule = {
            "sffa": rules.sffa(sharpness=6.0, floor=1.0),
            "ffa": rules.ffa(threshold=0.3, sharpness=20.0),
        }[algorithm]
        network = Network(layers, rule, overlay, scenario.num_labels)
        return forward_only(network, loss=LOSS[algorithm], coupling=self.coupling)

    def strategy(
        self, name: str, shape: Sequence[int], strength: jax.Array
    ) -> Callable[[Problem], Strategy]:
        """The strategy of resolved options; `strength` is heeded by those that have one."""
        own: dict[str, Any] = {"slots": self.memory} if name in REMEMBER else {}
        if name in STRENGTHS:
            own["strength"] = strength
        if name == "ewc":
            own["mode"] = self.ewc_mode
        if name == "gem":
            own |= {"patterns": self.patterns, "strength": self.gem_strength}
        if name == "replay":
            own["weight"] = self.memory_weight

        def make(problem: Problem) -> Strategy:
            if name == "replay" and self.memory_shift:
                black = -problem.samples.mean / problem.samples.std
                own["augment"] = augment.shift(shape, self.memory_shift, black)
            return STRATEGIES[name](problem, **own)

        return make


REMEMBER = ("replay", "derpp", "agem", "gdumb")
"""Strategies with a memory of `--memory` images."""


class Data(NamedTuple):
    """A data set as the runs use it: labels to share out over tasks, images on the device."""

    shape: tuple[int, ...]
    num_classes: int
    train_labels: np.ndarray
    test_labels: np.ndarray
    training: Samples
    test: Samples


def load_data(options: Options, dataset: data.Dataset, *, held_out: bool) -> Data:
    """The published splits; or, to tune, two parts of the training split alone."""
    recipe = Recipe(selection="validation" if held_out else "last")
    splits = shared.make_splits(dataset, recipe, options.validation)
    test = splits.test if splits.validation is None else splits.validation
    return Data(
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
    model = options.model(cell.algorithm, scenario)
    optimiser = optax.adam(options.learning_rate)
    # The released code scores every class seen; end to end, one pass gives them all.
    scores_all = options.coupling == "released" or cell.algorithm == "bp"
    num_wrong = None if scores_all else options.wrong_labels

    def course(strength: Any) -> Course:
        make_strategy = options.strategy(cell.strategy, shape, strength)
        return Course(model, scenario, make_strategy, optimiser, plan, num_wrong)

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
      stored: floats that the strategy keeps.
      seconds: of training and testing, without compilation.
      task_seconds: [tasks] of each task's steps alone.
    """

    position: int
    accuracy: np.ndarray
    losses: np.ndarray
    stored: int
    seconds: float
    task_seconds: np.ndarray


class Pieces:
    """The pieces of a cell's runs as programs over several runs at once, compiled when first used.

    Args:
      course: strength -> what is learnt and how.
      way: how runs are spread.
      training, test: the samples.
    """

    def __init__(
        self, course: Callable[[Any], Course], way: str, training: Samples, test: Samples
    ) -> None:
        self.course, self.way = course, way
        self.samples = (training, test)
        self.compiled: dict[Any, jax.stages.Compiled] = {}

    def lift(self, piece: Callable[..., Any]) -> Callable[..., Any]:
        """A piece of the runner, over (what changes, `Swept`) of many runs."""

        def of_one(one: tuple[Any, Swept], *shared: Any) -> Any:
            changing, own = one
            *arguments, training, test = shared
            seen = runner.Data(own.stream, training, test)
            return piece(self.course(own.strength), changing, *arguments, seen)

        return spread(of_one, self.way)

    def __call__(
        self, piece: Callable[..., Any], changing: Any, swept: Swept, *shared: Any
    ) -> tuple[Any, np.float32]:
        """Runs a piece for all runs; also the seconds that took, without compilation."""
        arguments = ((changing, swept), *shared, *self.samples)
        name = (piece, *(jnp.shape(x) for x in shared))
        if name not in self.compiled:
            self.compiled[name] = jax.jit(self.lift(piece)).lower(*arguments).compile()
        began = time.perf_counter()
        result = jax.block_until_ready(self.compiled[name](*arguments))
        return result, np.float32(time.perf_counter() - began)


class Journey(NamedTuple):
    """Several runs between two portions of steps: all that a snapshot holds.

    Attributes:
      runs: `runner.Run` of each.
      accuracy: [runs, tasks + 1, scorers, tasks]; NaN for what is to come.
      losses: [runs, tasks, steps, losses], likewise.
      seconds: [tasks] of each task's steps.
      other_seconds: of all else.
    """

    runs: runner.Run
    accuracy: np.ndarray
    losses: np.ndarray
    seconds: np.ndarray
    other_seconds: np.ndarray


def portions(num_steps: int) -> list[np.ndarray]:
    """A task's steps, in portions of about the same size after which a snapshot can be taken."""
    return np.array_split(np.arange(num_steps, dtype=np.int32), -(-num_steps // PORTION))


def run_together(
    pieces: Pieces,
    swept: Swept,
    course: Course,
    number: int,
    checkpoints: Checkpoints | None,
    info: dict[str, Any],
    every_seconds: float,
) -> Journey:
    """Several runs at once, from wherever an earlier start was stopped."""
    tasks, parts = course.scenario.num_tasks, portions(course.plan.num_steps)
    before = jnp.int32(-1)

    def blank(runs: Any) -> tuple[np.ndarray, ...]:
        """Histories with nothing in them, in the shapes that the pieces give."""
        now, steps = jnp.int32(0), jnp.asarray(parts[0])
        tested = jax.eval_shape(
            pieces.lift(runner.evaluate_run), (runs, swept), now, *pieces.samples
        )
        _, losses = jax.eval_shape(
            pieces.lift(runner.train_steps), (runs, swept), now, steps, *pieces.samples
        )
        return (
            np.full((number, tasks + 1, *tested.shape[1:]), np.nan, np.float32),
            np.full((number, tasks, course.plan.num_steps, losses.shape[-1]), np.nan, np.float32),
            np.zeros(tasks, np.float32),
            np.zeros((), np.float32),
        )

    def begin() -> Journey:
        runs, took = pieces(runner.begin, swept.key, swept)
        journey = Journey(runs, *blank(runs))
        untrained, tested_for = pieces(runner.evaluate_run, runs, swept, before)
        journey.accuracy[:, 0] = untrained[:number]
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
        journey.losses[:, task, parts[part]] = losses[:number]
        journey.seconds[task] += took
        if part == len(parts) - 1:
            runs, took = pieces(runner.close_task, runs, swept, now)
            tested, tested_for = pieces(runner.evaluate_run, runs, swept, now)
            journey.accuracy[:, task + 1] = tested[:number]
            other = other + took + tested_for
        return journey._replace(runs=runs, other_seconds=other)

    runs = jax.eval_shape(pieces.lift(runner.begin), (swept.key, swept), *pieces.samples)
    like = Journey(placed_shapes(runs, number, pieces.way), *blank(runs))
    return drive(
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
    used: Data,
    seeds: Sequence[int],
    strengths: Sequence[float],
    checkpoints: Checkpoints | None = None,
) -> Iterator[list[Tested]]:
    """Runs of one cell, each with its seed and strength.

    Args:
      options: resolved.
      cell: the setting.
      used: the data.
      seeds, strengths: one of each a run.
      checkpoints: where snapshots of the runs under way are kept; an earlier start's are gone on
        with.

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
    way = options.parallel
    on_cpu = jax.default_backend() == "cpu"
    if way == "auto":
        way = ("devices" if len(available()) == len(WAYS) else "map") if on_cpu else "vmap"
    # In a row, runs can be kept as soon as they end: as many at once as work at a time.
    at_once = {"map": 1, "devices": jax.local_device_count() if on_cpu else len(seeds)}
    portion = at_once.get(way, len(seeds))
    swept = Swept(seed_keys(seeds), streams, jnp.asarray(strengths, jnp.float32))
    pieces: dict[tuple[str, int], Pieces] = {}
    for start in range(0, len(seeds), portion):
        size = min(portion, len(seeds) - start)
        # One run alone is the faster with all cores to itself.
        way = "map" if size == 1 else way
        group = slice(start, start + size)
        info = {**cell._asdict(), "seeds": list(seeds[group])}
        info |= {"strengths": list(strengths[group]), "parallel": way}
        if checkpoints is not None and checkpoints.info() != info:
            checkpoints.clear()
        if (way, size) not in pieces:
            pieces[way, size] = Pieces(course, way, used.training, used.test)
        part = place(take(swept, start, size), way)
        done = run_together(
            pieces[way, size],
            part,
            course(0.0),
            size,
            checkpoints,
            info,
            options.checkpoint_seconds,
        )
        one = jax.tree.map(lambda leaf: leaf[0], done.runs.train.memory)
        stored = stored_floats(one, used.training.images.shape[1])
        by_task = done.seconds.astype(float) / size
        each = float(done.other_seconds) / size + float(by_task.sum())
        yield [
            Tested(start + i, accuracy.astype(float), losses, stored, each, by_task)
            for i, (accuracy, losses) in enumerate(zip(done.accuracy, done.losses, strict=True))
        ]
        if checkpoints is not None:
            checkpoints.clear()


def record_of(
    options: Options, cell: Cell, accuracy: np.ndarray, losses: np.ndarray, stored: int
) -> dict[str, Any]:
    """What is kept of one run, without the names of cell and seed."""
    matrix, untrained = accuracy[1:, 0], accuracy[0, 0]
    tasks = len(matrix)
    finite = bool(np.isfinite(losses).all())
    diverged = {}
    if not finite:
        first = np.argwhere(~np.isfinite(losses))[0]
        diverged = {"diverged": dict(zip(("task", "step", "layer"), map(int, first), strict=True))}
    by_module = accuracy[-1, 1:].mean(axis=-1)
    # In the class scenario a class that never came has no score: nothing transfers forward.
    forward = None
    if cell.scenario != "class":
        forward = metrics.forward_transfer(matrix, untrained)
    return {
        "status": "done" if finite else "diverged",
        "test_accuracy": metrics.average_accuracy(matrix) if finite else None,
        "validation_accuracy": None,
        "layer_accuracies": by_module.tolist(),
        "epochs": options.epochs,
        "accuracy_matrix": [
            [float(matrix[i, j]) if j <= i else None for j in range(tasks)] for i in range(tasks)
        ],
        "layer_matrices": [
            [[float(rows[i, j]) if j <= i else None for j in range(tasks)] for i in range(tasks)]
            for rows in np.moveaxis(accuracy[1:, 1:], 1, 0)
        ],
        "untrained_accuracies": None if cell.scenario == "class" else untrained.tolist(),
        "learning_curve": metrics.learning_curve(matrix).tolist(),
        "average_accuracy": metrics.average_accuracy(matrix) if finite else None,
        "forgetting": metrics.forgetting(matrix) if finite else None,
        "backward_transfer": metrics.backward_transfer(matrix) if finite else None,
        "forward_transfer": forward if finite else None,
        "stored_floats": stored,
        "steps": losses.shape[0] * losses.shape[1],
        "task_losses": losses.mean(axis=(1, 2)).tolist(),
        **diverged,
    }


def tune(options: Options, cell: Cell, dataset: data.Dataset, folder: RunFolder) -> float:
    """The strength with the best final accuracy on held-out training images, kept in a file."""
    usual = STRENGTHS[cell.strategy][cell.algorithm]
    file = folder.path / "tuning.jsonl"
    lines = file.read_text().splitlines() if file.exists() else []
    for line in map(json.loads, lines):
        if all(line[name] == value for name, value in cell._asdict().items()):
            return float(line["strength"])
    strengths = [usual * factor for factor in TUNING_FACTORS]
    used = load_data(options, dataset, held_out=True)
    runs = run_seeds(options, cell, used, [TUNING_SEED] * len(strengths), strengths)
    accuracies = [
        metrics.average_accuracy(run.accuracy[1:, 0]) if np.isfinite(run.losses).all() else -1.0
        for group in runs
        for run in group
    ]
    best = strengths[int(np.argmax(accuracies))]
    tried = {"strength": best, "strengths": strengths, "validation_accuracies": accuracies}
    folder.write(file.name, "\n".join([*lines, json.dumps(cell._asdict() | tried)]) + "\n")
    return best


def main(options: Options) -> None:
    """Runs what is missing in the output folder and writes its report."""
    command = options.command("continual")
    options = options.resolve()
    dataset = data.load(options.dataset, options.data_dir)
    used = load_data(options, dataset, held_out=False)
    # Built first: a wrong option must end the command before it leaves a folder behind.
    order = options.order(dataset.num_classes, 0)
    for kind in options.scenarios:
        scenario = make_scenario(kind, order, options.tasks)
        make_stream(used.train_labels, used.test_labels, order, scenario)
        for algorithm in options.algorithms:
            options.model(algorithm, scenario)
    augment.shift(used.shape, options.memory_shift)
    extra = {"data": {"source": dataset.source, "sha256": dataset.sha256}}
    given = dataclasses.asdict(options)
    with RunFolder(options.out, "continual", given, extra=extra, free=FREE_OPTIONS) as folder:
        cells = [
            Cell(scenario, strategy, algorithm)
            for scenario in options.scenarios
            for strategy in options.strategies
            for algorithm in options.algorithms
        ]
        for number, cell in enumerate(cells, 1):
            names = {"dataset": options.dataset, **cell._asdict()}
            missing = [s for s in range(options.seeds) if not folder.is_done(**names, seed=s)]
            if not missing:
                continue
            strength = STRENGTHS.get(cell.strategy, {}).get(cell.algorithm)
            if options.tune and strength is not None:
                strength = tune(options, cell, dataset, folder)
            strengths = [strength or 0.0] * len(missing)
            checkpoints = folder.checkpoints("run")
            shown = []
            for group in run_seeds(options, cell, used, missing, strengths, checkpoints):
                records = []
                for run in group:
                    seed = missing[run.position]
                    records.append(
                        names
                        | {"seed": seed}
                        | record_of(options, cell, run.accuracy, run.losses, run.stored)
                        | {
                            "class_order": options.order(used.num_classes, seed),
                            "strength": strength,
                            "train_seconds": run.seconds,
                            "task_seconds": run.task_seconds.tolist(),
                        }
                    )
                folder.append(*records)
                shown += [record["test_accuracy"] for record in records]
            mean = np.mean([a for a in shown if a is not None] or [np.nan])
            print(
                f"[{number}/{len(cells)}] {cell.scenario}, {cell.strategy}, "
                f"{continual_report.name_of(cell.algorithm)}: {100 * mean:.2f} % "
                f"({len(shown)} seeds, {group[0].seconds:.3g} s each)",
                flush=True,
            )
        text = continual_report.write(folder.path, folder.records, folder.config, command)
        print(f"\n{text}\n\nReport: {folder.path / 'report.html'}")


if __name__ == "__main__":
    sys.exit(execute(main, Options, "continual"))
