"""Trains many runs of one algorithm together: seeds, and recipes that differ in numbers."""

import dataclasses
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console

from experiments.config.recipe import Recipe
from experiments.harness.compilation import fastest_known
from experiments.harness.cost import flops_per_update
from experiments.harness.group import Carry, Choose, Group, Programs, saved_group
from experiments.harness.progress import Watcher, scalars
from experiments.harness.run_records import Describe, Tested, run_records
from experiments.harness.saved_networks import save_networks
from experiments.harness.splits import Splits
from experiments.harness.subsets import spread, take
from sffa_jax.analysis.precision import Predictions, predictions
from sffa_jax.data.splits import spread_rows
from sffa_jax.scale.checkpoints import Checkpoints
from sffa_jax.scale.placement import Placement, available
from sffa_jax.scale.processes import to_host
from sffa_jax.scale.resumable import run_resumable
from sffa_jax.scale.sweep import compile_within_memory, fastest
from sffa_jax.training.evaluate import Accuracy, accuracy_of, evaluate, score_samples
from sffa_jax.training.fit import Progress, keep_best, start, train_epoch
from sffa_jax.training.learner import Learner, State
from sffa_jax.training.samples import Samples

TRIAL_STEPS = 8
"""Updates in the trial that finds the fastest placement."""

Measure = Callable[[State, Samples], dict[str, jax.Array]]


@dataclass(frozen=True)
class Trainer:
    """Trains groups of runs of one recipe and algorithm.

    Attributes:
      recipe: the common choices of the runs.
      algorithm: "ffa", "sffa" or "bp".
      splits: the data.
      label: name of the runs.
      networks: folder for each run's selected network; None: not saved.
      describe: fields of a record from the predictions of its run on the test split, as NumPy
        arrays; None: no such fields.
      measure: further measurements after each epoch, (state, samples) -> arrays by name, on the
        validation split (the training split if there is none); part of the records' history.
      console: shows the progress: a bar on a terminal, lines elsewhere.
    """

    recipe: Recipe
    algorithm: str
    splits: Splits
    label: str
    networks: Path | None = None
    measure: Measure | None = None
    describe: Describe | None = None
    console: Console = field(default_factory=Console)

    def recipe_of(self, numbers: Mapping[str, Any]) -> Recipe:
        """Returns the recipe of one run."""
        return dataclasses.replace(self.recipe, **numbers)

    def learner(self, numbers: Mapping[str, Any]) -> Learner:
        """Returns the learner of one run."""
        return self.splits.learner(self.recipe_of(numbers), self.algorithm)

    # Functions of one run. They take and return the complete run state, so that buffers can be
    # donated: progress, numbers, and its rows of the training samples if seeds draw the split.

    def start(self, run: Any, samples: Samples) -> Any:
        """(key, numbers, *rows) -> the run before its first epoch, (progress, numbers, *rows)."""
        key, numbers, *rows = run
        return start(self.learner(numbers), key, samples), numbers, *rows

    def epoch(self, run: Any, samples: Samples) -> Any:
        """Trains one epoch; also returns the mean loss of each layer."""
        progress, numbers, *rows = run
        schedule = self.splits.schedule(self.recipe_of(numbers))
        own = rows[0] if rows else None
        progress, loss = train_epoch(self.learner(numbers), schedule, progress, samples, own)
        return (progress, numbers, *rows), loss

    def assess(self, run: Any, samples: Samples) -> Any:
        """Measures a run after an epoch; keeps the weights if they are the best so far."""
        progress, numbers, *rows = run
        if rows:
            samples = take(samples, rows[1])
        measured = {}
        if self.splits.validation is not None:
            accuracy = evaluate(self.learner(numbers), progress.state, samples)
            progress = keep_best(progress, accuracy.network)
            measured = {
                "validation_accuracy": accuracy.network,
                "validation_layer_accuracies": accuracy.layers,
            }
        if self.measure is not None:
            measured |= self.measure(progress.state, samples)
        return (progress, numbers, *rows), measured

    def test(self, run: Any, samples: Samples) -> tuple[Accuracy, Predictions | None]:
        """Returns the accuracy of the selected weights, and their predictions if `describe` needs
        them."""
        progress, numbers, *_ = run
        learner = self.learner(numbers)
        scores = score_samples(learner, self.selected(progress), samples)
        accuracy = accuracy_of(learner, scores, samples.labels)
        if self.describe is None:
            return accuracy, None
        return accuracy, predictions(scores[learner.scored].sum(axis=0), samples.labels)

    def learned(self, run: Any, samples: Samples) -> jax.Array:
        """Returns the accuracy of the selected weights on as many training images of the run as
        there are test images."""
        progress, numbers, rows, _ = run
        seen = take(samples, rows[spread_rows(len(rows), len(self.splits.test.labels))])
        return evaluate(self.learner(numbers), self.selected(progress), seen).network

    def finite(self, run: Any) -> jax.Array:
        """Returns whether the selected weights are finite: the last update's loss is not seen."""
        weights = jax.tree.leaves(self.selected(run[0]))
        numbers = [leaf for leaf in weights if jnp.issubdtype(leaf.dtype, jnp.floating)]
        return jnp.stack([jnp.isfinite(leaf).all() for leaf in numbers]).all()

    def selected(self, progress: Progress) -> State:
        """Returns the best weights on the validation split; without one, the last weights."""
        return progress.state if self.splits.validation is None else progress.best

    def start_all(self, group: Group) -> Any:
        """Returns all runs before their first epoch."""
        rows = zip(*map(self.splits.rows, group.seeds), strict=True)
        runs = (*group.keys_and_numbers(), *(jnp.asarray(np.stack(part)) for part in rows))
        return self.start_runs(runs, self.splits.train)

    @cached_property
    def start_runs(self) -> Callable[..., Any]:
        """`start` for several runs, traced once."""
        return jax.jit(Placement("map").lift(self.start))

    def fastest(self, group: Group) -> Placement:
        """Returns the fastest placement, measured on a few updates by this start or an earlier
        one."""
        modes = {placement.mode: placement for placement in available()}
        if len(modes) == 1 or len(group.seeds) == 1:
            return available()[0]
        measure = partial(self.try_placements, group)
        mode, known = fastest_known(self.work(group), modes, measure)
        if known:
            line = f"{self.label}: runs by {mode} (the fastest on an earlier start)"
            self.console.print(line, highlight=False)
        return modes[mode]

    def work(self, group: Group) -> dict[str, Any]:
        """Returns JSON that identifies the programs of a group and the devices they run on."""
        images = self.splits.train.images
        return {
            "recipe": dataclasses.asdict(self.recipe),
            "algorithm": self.algorithm,
            "images": [*images.shape, str(images.dtype)],
            "classes": self.splits.dataset.num_classes,
            "runs": len(group.seeds),
            "varied": sorted(group.varied),
            "devices": [jax.device_count(), jax.devices()[0].device_kind, os.cpu_count()],
            "jax": jax.__version__,
        }

    def try_placements(self, group: Group) -> str:
        """Measures all placements on a few updates and returns the fastest mode."""
        train, in_epoch = self.splits.train, self.splits.steps_per_epoch(self.recipe)
        steps = min(TRIAL_STEPS, in_epoch)
        few = self.recipe.batch_size * steps
        samples = train.replace(images=train.images[:few], labels=train.labels[:few])
        calls = self.recipe.epochs * in_epoch / steps
        progress, numbers, *rows = self.start_all(group)
        if rows:
            rows[0] = jnp.tile(jnp.arange(few, dtype=jnp.int32), (len(group.seeds), 1))
        choice = fastest(self.epoch, (progress, numbers, *rows), samples, calls=calls)
        seconds = ", ".join(f"{mode} {value:.3g} s" for mode, value in choice.seconds.items())
        if seconds:
            line = f"{self.label}: runs by {choice.placement.mode} (trial: {seconds})"
            self.console.print(line, highlight=False)
        return choice.placement.mode

    def info(self, group: Group, placement: Placement) -> dict[str, Any]:
        """Returns JSON that identifies the checkpoints of a group; padding adds runs to them."""
        untraced = self.recipe_of(dict.fromkeys(group.varied))
        return group.info() | {
            "runs": f"{self.algorithm}, {self.splits.num_training} images, {untraced}",
            "parallel": placement.mode,
            "padded": placement.padded(len(group.seeds)),
        }

    def compile(self, group: Group, placement: Placement, budget: int | None) -> Programs:
        """Returns the programs of as many of the runs as fit in memory."""
        runs = jax.eval_shape(lambda: self.start_all(group))
        train, validation = self.splits.train, self.splits.validation
        epoch, size = compile_within_memory(
            self.epoch, placement, runs, train, budget=budget, donate=True
        )
        samples = train if self.splits.assessed_in_training else validation
        shapes = placement.run_shapes(runs, size), placement.shared_shapes(samples, size)
        assess = jax.jit(placement.lift(self.assess), donate_argnums=0).lower(*shapes).compile()
        test = jax.jit(
            placement.lift(lambda run, images: (self.finite(run), *self.test(run, images)))
        )
        return Programs(size, epoch, assess, test, jax.jit(placement.lift(self.learned)))

    def train(
        self,
        group: Group,
        placement: Placement,
        programs: Programs,
        checkpoints: Checkpoints | None,
        every_seconds: float,
    ) -> list[dict[str, Any]]:
        """Trains and tests a group, from its last checkpoint; returns one record per run."""
        number, epochs = len(group.seeds), self.recipe.epochs
        splits = (self.splits.train, self.splits.validation, self.splits.test)
        by_seed = self.splits.held_out is not None
        # As many training images as test images, so that both accuracies share a program.
        seen = None if by_seed else spread(self.splits.train, len(self.splits.test.labels))
        train, validation, test, seen = placement.place_shared((*splits, seen), number)
        samples = train if self.splits.assessed_in_training else validation
        runs = placement.run_shapes(jax.eval_shape(lambda: self.start_all(group)), number)
        epoch, assess = programs.epoch, programs.assess
        measured_after = {"loss": epoch.out_info[1], **assess.out_info[1]}
        shapes = {name: x.shape[1:] for name, x in measured_after.items()}

        def carry_of(runs: Any) -> Carry:
            return Carry.untrained(runs, shapes, epochs, number)

        def step(number_of_epoch: int, carry: Carry) -> Carry:
            began = time.perf_counter()
            runs, loss = jax.block_until_ready(epoch(carry.runs, train))
            seconds = carry.seconds + np.float32(time.perf_counter() - began)
            runs, measured = assess(runs, samples)
            for name, values in to_host({"loss": loss, **measured}).items():
                carry.history[name][number_of_epoch] = values[:number]
            now = {name: values[number_of_epoch] for name, values in carry.history.items()}
            accuracies = None
            if validation is not None:
                accuracies = np.column_stack(
                    [now["validation_accuracy"], now["validation_layer_accuracies"]]
                )
            watcher.show(number_of_epoch + 1, now["loss"], accuracies)
            watcher.write(number_of_epoch, partial(scalars, carry.history, self.recipe.selection))
            return Carry(runs, carry.history, seconds)

        with Watcher(
            self.console, self.label, epochs, "epoch", self.recipe.selection, group.events
        ) as watcher:
            carry = run_resumable(
                lambda: carry_of(placement.place_runs(self.start_all(group))),
                step,
                epochs,
                checkpoints,
                info=self.info(group, placement),
                every_seconds=every_seconds,
                like=carry_of(runs),
            )
        tested = programs.test(carry.runs, test)
        if by_seed:
            learned = programs.learned(carry.runs, train)
        else:
            learned = programs.test(carry.runs, seen)[1].network
        kept = self.selected(carry.runs[0])
        save_networks(self.networks, self.splits, self.algorithm, self.recipe_of, group, kept)
        costs = {"flops_per_update": flops_per_update(epoch, placement, number)}
        records = self.records(group, placement, carry, Tested(*to_host((*tested, learned))))
        return [record | costs for record in records]

    def records(
        self, group: Group, placement: Placement, carry: Carry, tested: Tested
    ) -> list[dict[str, Any]]:
        """Returns one record per run, without the names of data set, algorithm and setting."""
        updates = self.recipe.epochs * self.splits.steps_per_epoch(self.recipe)
        common = {"updates": updates, "parallel": placement.mode}
        selection, describe = self.recipe.selection, self.describe
        records = run_records(group, carry, tested, selection=selection, describe=describe)
        return [record | common for record in records]


def train_runs(
    recipe: Recipe,
    algorithm: str,
    seeds: Sequence[int],
    splits: Splits,
    placement: Placement | None,
    label: str,
    varied: Mapping[str, Sequence[float]] | None = None,
    *,
    checkpoints: Checkpoints | None = None,
    every_seconds: float = 60.0,
    networks: Path | None = None,
    measure: Measure | None = None,
    describe: Describe | None = None,
    events: Sequence[Path] | None = None,
    choose: Choose | None = None,
) -> Iterator[list[dict[str, Any]]]:
    """Trains runs together, as many at once as fit in memory, and tests the best weights of each.

    Args:
      recipe, algorithm, splits, label, networks, measure, describe: as in `Trainer`.
      seeds: one per run.
      placement: assignment of runs to devices; None: the fastest, measured on a few updates.
      varied: numbers of the recipe that differ, one value per run; they are traced, so all runs
        share one program.
      checkpoints: where unfinished runs are saved. Interrupted runs resume with the
        same placement and give bit-identical results.
      every_seconds: minimum time between two checkpoints.
      events: folder of each run's TensorBoard events; None: none.
      choose: remembers a measured placement, see `RunFolder.placement`; None: measured anew.

    Yields:
      For each group that trained together one record per run, without the names of data set,
      algorithm and setting. The group's checkpoints are deleted when the next is requested.
    """
    trainer = Trainer(recipe, algorithm, splits, label, networks, measure, describe)
    remaining = Group(seeds, varied or {}, events)
    programs: dict[tuple[Placement, int], Programs] = {}
    while remaining.seeds:
        saved = saved_group(trainer.info, remaining, placement, checkpoints, label)
        if saved is not None:
            # The same group again, even if less memory is free now.
            (chosen, size), budget = saved, sys.maxsize
        else:
            size, budget = len(remaining.seeds), None
            if placement is None:
                measure_modes = partial(trainer.fastest, remaining)
                placement = choose(size, measure_modes) if choose else measure_modes()
            chosen = placement
        if (chosen, size) not in programs:
            compiled = trainer.compile(remaining[:size], chosen, budget)
            size = compiled.size
            programs[chosen, size] = compiled
        compiled = programs[chosen, size]
        yield trainer.train(remaining[:size], chosen, compiled, checkpoints, every_seconds)
        if checkpoints is not None:
            checkpoints.clear()
        remaining = remaining[size:]
