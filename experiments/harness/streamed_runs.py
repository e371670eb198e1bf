"""Runs on images that are read from disk, batch by batch, because they do not fit into memory.

Runs train one after another. Splits, scale, order, keys and updates are those of a run in memory.
"""

import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.config.recipe import Recipe
from experiments.harness.group import Carry, Group
from experiments.harness.progress import Watcher, scalars
from experiments.harness.run_records import Describe, Tested
from experiments.harness.saved_networks import save_networks
from experiments.harness.streamed_splits import StreamedSplits
from experiments.harness.trainer import Trainer
from sffa_jax.analysis.precision import Predictions, reliability
from sffa_jax.data.splits import spread_rows
from sffa_jax.scale.checkpoints import Checkpoints
from sffa_jax.scale.placement import Placement
from sffa_jax.scale.processes import to_host
from sffa_jax.scale.resumable import run_resumable
from sffa_jax.scale.streaming import (
    Position,
    StreamedSamples,
    advance,
    begin_epoch,
    end_epoch,
    evaluate_streamed,
    evaluation_batches,
    mean_accuracy,
    start_streamed,
)
from sffa_jax.training.evaluate import Accuracy, evaluate
from sffa_jax.training.fit import Schedule, keep_best
from sffa_jax.training.learner import Learner

UPDATES = 1000
"""Largest number of updates between two moments at which a run can be saved or interrupted."""


@dataclass(frozen=True)
class StreamedTrainer(Trainer):
    """Trains one run at a time on splits on disk."""

    splits: StreamedSplits

    @cached_property
    def parts(self) -> tuple[Learner, Schedule]:
        """Learner and schedule of all runs, made once so that they share their programs."""
        return self.learner({}), self.splits.schedule(self.recipe)

    @cached_property
    def test_batch(self) -> Callable[..., tuple[Accuracy, Predictions | None]]:
        """`test`, compiled once."""
        return jax.jit(self.test)

    def start_streamed(self, group: Group) -> Position:
        """Returns the run before its first update."""
        (learner, schedule) = self.parts
        train = self.splits.streams_of(group.seeds[0]).train
        progress = start_streamed(learner, group.keys_and_numbers()[0][0], train)
        return begin_epoch(learner, schedule, progress, train)

    def train_run(
        self, group: Group, checkpoints: Checkpoints | None, every_seconds: float
    ) -> dict[str, Any]:
        """Trains and tests the run of a group of one, from its last checkpoint."""
        learner, schedule = self.parts
        train, validation, test = self.splits.streams_of(group.seeds[0])
        epochs, updates = self.recipe.epochs, schedule.steps_per_epoch(len(train))
        num_parts = -(-updates // UPDATES)
        first = jax.eval_shape(lambda: self.start_streamed(group))
        shapes = {"loss": first.losses.shape[1:]}
        if validation is not None:
            layers = jax.eval_shape(
                partial(evaluate, learner), first.progress.state, self.splits.validation
            ).layers.shape
            shapes |= {"validation_accuracy": (), "validation_layer_accuracies": layers}

        def carry_of(position: Position) -> Carry:
            return Carry.untrained(position, shapes, epochs, 1)

        def step(number: int, carry: Carry) -> Carry:
            position, history, seconds = carry
            epoch, part = divmod(number, num_parts)
            began = time.perf_counter()
            if part == 0:
                position = begin_epoch(learner, schedule, position.progress, train)
            left = min(UPDATES, updates - part * UPDATES)
            position = advance(learner, schedule, position, train, left)
            jax.block_until_ready(position.losses)
            seconds = seconds + np.float32(time.perf_counter() - began)
            if part + 1 < num_parts:
                return Carry(position, history, seconds)
            progress, loss = end_epoch(position)
            measured, accuracies = {"loss": loss}, None
            if validation is not None:
                accuracy = evaluate_streamed(learner, progress.state, validation)
                progress = keep_best(progress, accuracy.network)
                measured["validation_accuracy"] = accuracy.network
                measured["validation_layer_accuracies"] = accuracy.layers
                accuracies = np.concatenate([accuracy.network[None], accuracy.layers])[None]
            for name, value in to_host(measured).items():
                history[name][epoch, 0] = value
            watcher.show(epoch + 1, history["loss"][epoch], accuracies)
            watcher.write(epoch, partial(scalars, history, self.recipe.selection))
            return Carry(position.replace(progress=progress), history, seconds)

        label = f"{self.label}, seed {group.seeds[0]}"
        with Watcher(
            self.console, label, epochs, "epoch", self.recipe.selection, group.events
        ) as watcher:
            carry = run_resumable(
                lambda: carry_of(self.start_streamed(group)),
                step,
                epochs * num_parts,
                checkpoints,
                info=self.info(group, Placement("map")) | {"streamed": True},
                every_seconds=every_seconds,
                like=carry_of(first),
            )
        progress = carry.runs.progress
        rows = train.indices[spread_rows(len(train), len(test))]
        seen = dataclasses.replace(train, indices=rows)
        learned = evaluate_streamed(learner, self.selected(progress), seen).network
        accuracy, predicted = self.test_streamed((progress, {}), test)
        finite = jax.jit(self.finite)((progress, {}))
        # `records` and `save_networks` take stacked runs.
        progress, accuracy, predicted, learned, finite = jax.tree.map(
            lambda leaf: leaf[None], (progress, accuracy, predicted, learned, finite)
        )
        kept = self.selected(progress)
        save_networks(self.networks, self.splits, self.algorithm, self.recipe_of, group, kept)
        carry = carry._replace(runs=(progress, {}))
        tested = Tested(*to_host((finite, accuracy, predicted, learned)))
        return self.records(group, Placement("map"), carry, tested)[0]

    def test_streamed(
        self, run: Any, samples: StreamedSamples
    ) -> tuple[Accuracy, Predictions | None]:
        """Returns what `test` returns, for a split on disk."""
        batches = evaluation_batches(self.parts[0], samples)
        tested = [(len(batch.labels), *self.test_batch(run, batch)) for batch in batches]
        accuracy = mean_accuracy([(number, of_batch) for number, of_batch, _ in tested])
        if self.describe is None:
            return accuracy, None
        labels, confidence, nll = (
            jnp.concatenate([getattr(predicted, name) for *_, predicted in tested])
            for name in ("labels", "confidence", "nll")
        )
        right = labels == jnp.asarray(samples.records.labels[samples.indices])
        return accuracy, Predictions(labels, confidence, nll, reliability(confidence, right))


def train_streamed(
    recipe: Recipe,
    algorithm: str,
    seeds: Sequence[int],
    splits: StreamedSplits,
    label: str,
    *,
    checkpoints: Checkpoints,
    every_seconds: float,
    networks: Path | None,
    describe: Describe,
    events: Sequence[Path] | None,
) -> Iterator[list[dict[str, Any]]]:
    """Trains runs one after another; arguments and records are those of `train_runs`."""
    trainer = StreamedTrainer(recipe, algorithm, splits, label, networks, describe=describe)
    group = Group(seeds, {}, events)
    for i in range(len(seeds)):
        yield [trainer.train_run(group[i : i + 1], checkpoints, every_seconds)]
        checkpoints.clear()
