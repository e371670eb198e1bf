"""Training many runs of one algorithm together: seeds, and settings that differ in numbers."""

import dataclasses
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console

from experiments.config.recipe import CONTINUOUS, Recipe, Setting
from experiments.harness.progress import Watcher, by_layer
from experiments.harness.run_folder import RunFolder
from experiments.harness.saved import Trained, save
from experiments.harness.splits import Splits
from sffa_jax.scale.checkpoints import Checkpoints
from sffa_jax.scale.placement import Placement, available
from sffa_jax.scale.processes import to_host
from sffa_jax.scale.resumable import run_resumable
from sffa_jax.scale.sweep import CompiledSweep, compile_within_memory, fastest, seed_keys
from sffa_jax.training.evaluate import Accuracy, evaluate
from sffa_jax.training.fit import Progress, keep_best, start, train_epoch
from sffa_jax.training.learner import Learner, State
from sffa_jax.training.samples import Samples

TRIAL_STEPS = 8
"""Updates in the trial that decides how runs are spread."""


Watch = Callable[[State, Samples], dict[str, jax.Array]]


class Group(NamedTuple):
    """Runs that are trained together.

    Attributes:
      seeds: one a run.
      varied: numbers of the recipe that differ, one value a run.
      events: folder of each run's TensorBoard events; None: none are kept.
    """

    seeds: Sequence[int]
    varied: Mapping[str, Sequence[float]]
    events: Sequence[Path] | None = None

    def first(self, size: int) -> "Group":
        """The first runs."""
        return self._part(slice(size))

    def after(self, size: int) -> "Group":
        """All runs but the first."""
        return self._part(slice(size, None))

    def _part(self, part: slice) -> "Group":
        varied = {name: values[part] for name, values in self.varied.items()}
        return Group(self.seeds[part], varied, self.events and self.events[part])

    def described(self) -> dict[str, Any]:
        """As JSON."""
        varied = {name: list(map(float, values)) for name, values in self.varied.items()}
        return {"seeds": list(self.seeds), "varied": varied}

    def swept(self) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Key and numbers of each run."""
        numbers = {name: jnp.asarray(v, jnp.float32) for name, v in self.varied.items()}
        return seed_keys(self.seeds), numbers


class Runs(NamedTuple):
    """What a group is between two epochs: all that a snapshot holds.

    Attributes:
      runs: `Progress` and numbers of each run.
      losses: [epochs, runs, layers] mean loss of each epoch, nats; NaN for those to come.
      watched: [epochs, runs, ...] of each thing that is watched, likewise.
      accuracies: [epochs, runs] on the validation split, likewise.
      layer_accuracies: [epochs, runs, layers] there by each layer alone, likewise.
      seconds: of training so far.
    """

    runs: Any
    losses: np.ndarray
    watched: dict[str, np.ndarray]
    accuracies: np.ndarray
    layer_accuracies: np.ndarray
    seconds: np.ndarray


class Trainer:
    """Trains groups of runs of one recipe and algorithm, an epoch at a time.

    Args:
      recipe: what the runs have in common.
      algorithm: "ffa", "sffa" or "bp".
      splits: the data.
      console: where progress is shown; a bar on a terminal, plain lines elsewhere.
      label: names the runs there.
      networks: folder that receives each run's chosen network, or None.
      watch: what else is measured after each epoch, on the validation split (the training split
        where there is none): arrays by name, which go into the records' history.
    """

    def __init__(
        self,
        recipe: Recipe,
        algorithm: str,
        splits: Splits,
        console: Console,
        label: str,
        networks: Path | None = None,
        watch: Watch | None = None,
    ) -> None:
        self.recipe, self.algorithm, self.splits = recipe, algorithm, splits
        self.networks, self.watch = networks, watch
        self.schedule = splits.schedule(recipe)
        self.console, self.label = console, label

    def learner(self, numbers: Mapping[str, Any]) -> Learner:
        """The learner of one run."""
        return self.splits.learner(dataclasses.replace(self.recipe, **numbers), self.algorithm)

    # What takes and gives back all that a run is lets the new be written over the old.

    def begin(self, one: Any, samples: Samples) -> Any:
        """A run before its first epoch, of its key and numbers."""
        key, numbers = one
        return start(self.learner(numbers), key, samples), numbers

    def epoch(self, one: Any, samples: Samples) -> Any:
        """One pass over the training split."""
        progress, numbers = one
        progress, loss = train_epoch(self.learner(numbers), self.schedule, progress, samples)
        return (progress, numbers), loss

    def validate(self, one: Any, samples: Samples) -> Any:
        """Keeps the weights if they are the best so far; accuracy of network and layers."""
        progress, numbers = one
        found = evaluate(self.learner(numbers), progress.state, samples)
        return (keep_best(progress, found.network), numbers), (found.network, found.layers)

    def look(self, one: Any, samples: Samples) -> dict[str, jax.Array]:
        """What is watched."""
        return {} if self.watch is None else self.watch(one[0].state, samples)

    def final(self, one: Any, samples: Samples) -> Accuracy:
        """Accuracy of the chosen weights."""
        progress, numbers = one
        return evaluate(self.learner(numbers), self.chosen(progress), samples)

    def chosen(self, progress: Progress) -> State:
        """The weights that are tested."""
        return progress.state if self.splits.validation is None else progress.best

    def started(self, group: Group) -> Any:
        """All runs before their first epoch."""
        return jax.jit(Placement("map").lift(self.begin))(group.swept(), self.splits.training)

    def choose(self, group: Group) -> Placement:
        """The fastest way to spread these runs, measured on a few updates."""
        training = self.splits.training
        steps = self.schedule.steps_per_epoch(len(training.labels))
        few = self.schedule.batch_size * min(TRIAL_STEPS, steps)
        short = training.replace(images=training.images[:few], labels=training.labels[:few])
        if len(available()) == 1:
            return available()[0]
        choice = fastest(self.epoch, self.started(group), short)
        measured = ", ".join(f"{way} {s:.3g} s" for way, s in choice.seconds.items())
        if measured:
            self.console.print(
                f"{self.label}: runs by {choice.placement.mode} (trial: {measured})",
                highlight=False,
            )
        return choice.placement

    def described(self, group: Group, placement: Placement) -> dict[str, Any]:
        """What a snapshot says of a group, as JSON."""
        return group.described() | {"parallel": placement.mode, "label": self.label}

    def compile(
        self, group: Group, placement: Placement, budget: int | None = None
    ) -> CompiledSweep:
        """The program of one epoch, over as many of the runs as fit the memory."""
        runs = jax.eval_shape(lambda: self.started(group))
        return compile_within_memory(
            self.epoch,
            placement,
            runs,
            self.splits.training,
            budget=budget,
            donate=True,
        )

    def train(
        self,
        group: Group,
        placement: Placement,
        epoch: jax.stages.Compiled,
        checkpoints: Checkpoints | None,
        every_seconds: float,
    ) -> list[dict[str, Any]]:
        """Trains a group from wherever an earlier start was stopped, and tests it."""
        splits, epochs, number = self.splits, self.schedule.epochs, len(group.seeds)
        layers = 1 if self.algorithm == "bp" else self.recipe.depth

        def nothing(*shape: int) -> np.ndarray:
            return np.full((epochs, number, *shape), np.nan, np.float32)

        def unseen(runs: Any) -> Runs:
            watched = {name: nothing(*found.shape[1:]) for name, found in looked.items()}
            seconds = np.zeros((), np.float32)
            return Runs(runs, nothing(layers), watched, nothing(), nothing(layers), seconds)

        started = jax.eval_shape(lambda: self.started(group))
        placed = placement.run_shapes(started, number)
        training, validation, test = placement.place_shared(
            (splits.training, splits.validation, splits.test), number
        )
        seen = training if validation is None else validation
        look = jax.jit(placement.lift(self.look)).lower(placed, seen).compile()
        looked = jax.eval_shape(placement.lift(self.look), placed, seen)
        check = None
        if validation is not None:
            validating = jax.jit(placement.lift(self.validate), donate_argnums=0)
            check = validating.lower(placed, validation).compile()
        with Watcher(
            self.console, self.label, epochs, "epoch", "validation", group.events
        ) as watcher:

            def advance(i: int, carry: Runs) -> Runs:
                runs, seconds = carry.runs, carry.seconds
                began = time.perf_counter()
                runs, loss = jax.block_until_ready(epoch(runs, training))
                seconds = seconds + np.float32(time.perf_counter() - began)
                carry.losses[i] = to_host(loss)[:number]
                scored = None
                if check is not None:
                    runs, found = check(runs, validation)
                    network, by_each = (of[:number] for of in to_host(found))
                    carry.accuracies[i], carry.layer_accuracies[i] = network, by_each
                    scored = np.column_stack([network, by_each])
                for name, found in to_host(look(runs, seen)).items():
                    carry.watched[name][i] = found[:number]
                watcher.show(i + 1, carry.losses[i], scored)
                watcher.write(i, partial(self.scalars, carry))
                return carry._replace(runs=runs, seconds=seconds)

            done = run_resumable(
                lambda: unseen(placement.place_runs(self.started(group))),
                advance,
                epochs,
                checkpoints,
                info=self.described(group, placement),
                every_seconds=every_seconds,
                like=unseen(placed),
            )
        tested = jax.jit(placement.lift(self.final))(done.runs, test)
        self.keep_networks(group, done.runs[0])
        return self.records(group, placement, done, to_host(tested))

    def scalars(self, history: Runs, run: int, epoch: int) -> list[tuple[int, dict[str, float]]]:
        """What TensorBoard sees of a run's epoch, counted from 0."""
        found = by_layer("loss", history.losses[epoch, run])
        if self.splits.validation is not None:
            found["validation_accuracy/network"] = float(history.accuracies[epoch, run])
            found |= by_layer("validation_accuracy", history.layer_accuracies[epoch, run])
        return [(epoch + 1, found)]

    def keep_networks(self, group: Group, progress: Progress) -> None:
        """Saves each run's chosen network, if that is wanted."""
        if self.networks is None:
            return
        states, training = to_host(self.chosen(progress)), self.splits.training
        for i, seed in enumerate(group.seeds):
            numbers: dict[str, Any] = {name: float(v[i]) for name, v in group.varied.items()}
            trained = Trained(
                recipe=dataclasses.replace(self.recipe, **numbers),
                algorithm=self.algorithm,
                shape=self.splits.shape,
                num_classes=self.splits.dataset.num_classes,
                num_samples=len(training.labels),
                mean=training.mean,
                std=training.std,
                state=jax.tree.map(lambda leaf, i=i: leaf[i], states),
            )
            save(self.networks / f"{self.algorithm}-{seed}", trained)

    def records(
        self, group: Group, placement: Placement, done: Runs, tested: Accuracy
    ) -> list[dict[str, Any]]:
        """What is kept of each run."""
        progress, epochs, number = done.runs[0], self.schedule.epochs, len(group.seeds)
        # All but the weights.
        progress = to_host(progress.replace(state=None, best=None))
        chosen = self.splits.validation is not None
        records = []
        for i, seed in enumerate(group.seeds):
            step = int(progress.diverged_step[i])
            record: dict[str, Any] = {"seed": seed, "status": "done" if step < 0 else "diverged"}
            if step < 0:
                record |= {
                    "test_accuracy": float(tested.network[i]),
                    "validation_accuracy": float(progress.best_accuracy[i]) if chosen else None,
                    "layer_accuracies": np.asarray(tested.layers[i]).tolist(),
                    "cumulated_accuracies": np.asarray(tested.cumulated[i]).tolist(),
                }
            else:
                layer = int(progress.diverged_layer[i])
                record |= dict.fromkeys(ACCURACIES) | {"diverged": {"step": step, "layer": layer}}
            records.append(
                record
                | {
                    "selected_epoch": int(progress.best_epoch[i]) if chosen else epochs,
                    "epochs": epochs,
                    "train_seconds": float(done.seconds) / number,
                    "parallel": placement.mode,
                    "history": {
                        "loss": done.losses[:, i].mean(axis=-1).tolist(),
                        "validation_accuracy": done.accuracies[:, i].tolist() if chosen else [],
                        "validation_layer_accuracies": (
                            done.layer_accuracies[:, i].tolist() if chosen else []
                        ),
                        **{name: found[:, i].tolist() for name, found in done.watched.items()},
                    },
                }
            )
        return records


ACCURACIES = (
    *("test_accuracy", "validation_accuracy", "layer_accuracies", "cumulated_accuracies"),
)
"""What a run that diverged has none of."""


def train_runs(
    recipe: Recipe,
    algorithm: str,
    seeds: Sequence[int],
    splits: Splits,
    placement: Placement | None,
    console: Console,
    label: str,
    varied: Mapping[str, Sequence[float]] | None = None,
    *,
    checkpoints: Checkpoints | None = None,
    every_seconds: float = 60.0,
    networks: Path | None = None,
    watch: Watch | None = None,
    events: Sequence[Path] | None = None,
) -> Iterator[list[dict[str, Any]]]:
    """Trains runs together, as many at once as fit the memory, and tests the best weights of each.

    Args:
      recipe, algorithm, splits, console, label, networks, watch: as in `Trainer`.
      seeds: one a run.
      placement: of the runs; None: the fastest, measured on a few updates.
      varied: numbers of the recipe that differ, one value a run; they are traced, so that one
        program serves them all.
      checkpoints: where snapshots of the runs under way are kept. Runs that an earlier start was
        stopped in go on as they were, spread in the same way, to a bit-identical end.
      every_seconds: time between snapshots, at least.
      events: folder of each run's TensorBoard events; None: none are kept.

    Yields:
      For each group that trained together one record a run, without the names of data set,
      algorithm and setting. The group's snapshots are removed when the next is asked for.
    """
    trainer = Trainer(recipe, algorithm, splits, console, label, networks, watch)
    left = Group(seeds, varied or {}, events)
    programs: dict[tuple[Placement, int], CompiledSweep] = {}
    while left.seeds:
        begun = checkpoints.info() if checkpoints is not None else None
        size = 0 if begun is None else len(begun["seeds"])
        chosen = placement
        if begun and chosen is None:
            chosen = Placement(begun["parallel"])
        if begun and chosen and trainer.described(left.first(size), chosen) == begun:
            # As they were begun, even if other memory is free now.
            budget = sys.maxsize
        else:
            if placement is None:
                placement = trainer.choose(left)
            chosen, size, budget = placement, len(left.seeds), None
        if (chosen, size) not in programs:
            fitted = trainer.compile(left.first(size), chosen, budget)
            size = fitted.size
            programs[chosen, size] = fitted
        yield trainer.train(
            left.first(size), chosen, programs[chosen, size].program, checkpoints, every_seconds
        )
        if checkpoints is not None:
            checkpoints.clear()
        left = left.after(size)


def train_settings(
    settings: Sequence[tuple[Setting, Sequence[int]]],
    algorithm: str,
    splits_of: Callable[[Recipe], Splits],
    folder: RunFolder,
    placement: Placement | None,
    at_once: int,
    every_seconds: float = 60.0,
) -> Iterator[list[dict[str, Any]]]:
    """Trains every setting on each of its seeds.

    Settings that differ only in `CONTINUOUS` numbers are compiled once and run together.

    Args:
      settings: each setting with its seeds.
      algorithm: "ffa", "sffa" or "bp".
      splits_of: the data as a recipe asks for it.
      folder: keeps checkpoints and events of the runs under way.
      placement: as in `train_runs`.
      at_once: largest number of runs in one program.
      every_seconds: time between snapshots, at least.

    Yields:
      For each group that trained together one record a run, with `setting` and `changes`.
    """
    console = Console()
    groups: dict[Recipe, list[tuple[Setting, Sequence[int]]]] = {}
    usual = {name: getattr(Recipe(), name) for name in CONTINUOUS}
    for setting, seeds in settings:
        same = dataclasses.replace(setting.recipe, **usual)
        groups.setdefault(same, []).append((setting, seeds))
    for group in groups.values():
        runs = [(setting, seed) for setting, seeds in group for seed in seeds]
        for chunk in (runs[i : i + at_once] for i in range(0, len(runs), at_once)):
            recipe = group[0][0].recipe
            varied = {
                name: [getattr(setting.recipe, name) for setting, _ in chunk]
                for name in CONTINUOUS
                if len({getattr(setting.recipe, name) for setting, _ in group}) > 1
            }
            first, more = chunk[0][0].name, len({setting.name for setting, _ in chunk}) - 1
            label = f"{algorithm}, {first}" + (f" and {more} more" if more else "")
            trained = train_runs(
                recipe,
                algorithm,
                [seed for _, seed in chunk],
                splits_of(recipe),
                placement,
                console,
                label,
                varied,
                checkpoints=folder.checkpoints(algorithm),
                every_seconds=every_seconds,
                events=folder.events(
                    (algorithm, setting.name, f"seed-{seed}") for setting, seed in chunk
                ),
            )
            remaining = iter(chunk)
            for records in trained:
                yield [
                    {
                        "algorithm": algorithm,
                        "setting": setting.name,
                        "changes": dict(setting.changes),
                        # Without the curves: those of a grid would make its results large.
                        **{name: value for name, value in record.items() if name != "history"},
                    }
                    for record, (setting, _) in zip(records, remaining, strict=False)
                ]
