"""Continual learning in one call."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Int

from sffa_jax.checks import check_choice, check_integers, check_range, check_type, reject
from sffa_jax.continual import metrics
from sffa_jax.continual.model import Model, forward_only
from sffa_jax.continual.problem import NEGATIVES
from sffa_jax.continual.runner import (
    ContinualConfig,
    RunState,
    make_task_schedule,
    predict_run,
    run_tasks,
)
from sffa_jax.continual.scenarios import Scenario, TaskData, TaskStream, split_tasks
from sffa_jax.continual.storage import StoredBytes, stored_bytes
from sffa_jax.continual.strategy import Strategy
from sffa_jax.core.network import Network
from sffa_jax.training.descriptions import agree, describe
from sffa_jax.training.evaluate import EVALUATION_CHUNK, filled_rows
from sffa_jax.training.learner import Learner, check_optimizer
from sffa_jax.training.local import LocalState
from sffa_jax.training.samples import Samples


@dataclass(frozen=True)
class ContinualRuns:
    """Finished runs, one for each seed. `print` shows their mean.

    Attributes:
      seeds: one for each run.
      orders: the classes in order of arrival, of each run.
      accuracy: [seeds, tasks + 1, 1 + modules, tasks] as in `ContinualResult`.
      losses: [seeds, tasks, steps, losses] each module's mean loss, nats.
      runs: parameters and strategy state of each run at the end.
      stored: what the method keeps, in bytes.
      config, data: what `run_tasks` got, the data for each run.
      network: the network, or the model.
    """

    seeds: tuple[int, ...]
    orders: tuple[tuple[int, ...], ...]
    accuracy: np.ndarray
    losses: np.ndarray
    runs: tuple[RunState, ...]
    stored: StoredBytes
    config: ContinualConfig
    data: tuple[TaskData, ...]
    network: Network | Model

    def predict(
        self, images: Any, *, run: int = 0, task: int | None = None
    ) -> Int[np.ndarray, " samples"]:
        """Predicts raw images by the network of one run, after its last task.

        Args:
          images: see `Samples.scaled_images`.
          run: number of the run, from 0; its seed is `seeds[run]`.
          task: the task that the images are of, from 0; in the task scenario only.

        Returns:
          The class of each image, by its number in the data set; in the domain scenario the label
          within the task.

        Raises:
          TypeError, ValueError: for images that do not fit; for a task in other scenarios than
            "task", or none there; for numbers out of range.
        """
        check_range("predict", "run", run, at_least=0, at_most=len(self.runs) - 1)
        tasks, known = self.scenario.num_tasks, self.scenario.kind == "task"
        if known != (task is not None):
            rule = "be given in the task scenario" if known else "be left out unless it is known"
            raise reject("predict", "task", rule, task, f"The scenario is {self.scenario.kind!r}.")
        task = tasks - 1 if task is None else task
        check_range("predict", "task", task, at_least=0, at_most=tasks - 1)
        data = self.data[run]
        x = data.train.scaled_images(images)
        filled = x[filled_rows(len(x))]
        size = min(EVALUATION_CHUNK, len(filled))
        parts = [
            _predict(self.config, self.runs[run], jnp.int32(task), data, filled[i : i + size])
            for i in range(0, len(filled), size)
        ]
        found = np.concatenate(parts)[: len(x)]
        return found if self.scenario.kind == "domain" else np.array(self.orders[run])[found]

    def state(self, learner: Learner, *, run: int = 0) -> LocalState:
        """Returns a run's network as a state of a learner, e.g. for `save` or further training.

        Label k of this state is the class `orders[run][k]` (domain scenario: the k-th of a task).

        Args:
          learner: a `local_learner` of the same network; its optimizers start anew.
          run: number of the run, from 0.

        Raises:
          ValueError: for a learner of another network, or unless a `Network` was trained by a
            strategy that predicts by its scores.
        """
        check_range("state", "run", run, at_least=0, at_most=len(self.runs) - 1)
        if not isinstance(self.network, Network) or self.config.strategy.scores is not None:
            rule = "predict by the scores of a `Network`"
            raise reject("state", "run", rule, "another model or strategy", "Use `predict`.")
        given = getattr(learner.build, "keywords", {}).get("network")
        described = [describe(each, strict=False) for each in (given, self.network)]
        if given is not self.network and not agree(*described):
            rule = "be a `local_learner` of the network that was trained"
            raise reject("state", "learner", rule, "another")
        train = self.data[run].train
        drawn = learner.init(jax.random.key(0), train.scaled(train.images[:1]))
        modules, overlay = self.runs[run].train.modules, self.runs[run].overlay
        layers = [layer.replace(params=of) for layer, of in zip(drawn.layers, modules, strict=True)]
        steps = jnp.int32(self.scenario.num_tasks * self.config.schedule.num_steps)
        assert learner.restart is not None
        assert overlay is not None
        return learner.restart(LocalState(tuple(layers), overlay, steps))

    @property
    def scenario(self) -> Scenario:
        """Tasks and labels."""
        return self.config.scenario

    @property
    def matrix(self) -> np.ndarray:
        """[seeds, tasks, tasks]: the network's accuracy on each task (across) after each (down)."""
        return self.accuracy[:, 1:, 0]

    @property
    def average_accuracy(self) -> np.ndarray:
        """[seeds] accuracy over all tasks after the last one."""
        return self._of_seeds(metrics.average_accuracy)

    @property
    def earlier_tasks(self) -> np.ndarray:
        """[seeds] accuracy on the earlier tasks after the last one; NaN for a single task."""
        return self._of_seeds(metrics.earlier_tasks)

    @property
    def newest_task(self) -> np.ndarray:
        """[seeds] accuracy on the last task after it."""
        return self._of_seeds(metrics.newest_task)

    @property
    def forgetting(self) -> np.ndarray:
        """[seeds] drop from a task's best accuracy to its last; NaN for a single task."""
        return self._of_seeds(metrics.forgetting)

    @property
    def diverged(self) -> np.ndarray:
        """[seeds] whether a loss of the run was not finite; its accuracies then mean nothing."""
        return ~np.isfinite(self.losses).all(axis=(1, 2, 3))

    def _of_seeds(self, measure: Callable[[np.ndarray], float | None]) -> np.ndarray:
        return np.array([measure(matrix) for matrix in self.matrix], float)

    def __str__(self) -> str:
        mean = 100 * self.matrix.mean(axis=0)
        tasks = range(1, len(mean) + 1)
        lines = ["".join(["after task", *(f"  task {task}" for task in tasks)])]
        for task, row in zip(tasks, mean, strict=True):
            cells = [f"{x:8.2f}" for x in row[:task]]
            lines.append(f"{task:10d}" + "".join(cells))
        measures = [("accuracy", self.average_accuracy)]
        if len(mean) > 1:
            measures += [("earlier tasks", self.earlier_tasks), ("newest task", self.newest_task)]
            measures += [("forgetting", self.forgetting)]
        shown = ", ".join(f"{name} {100 * values.mean():.2f}" for name, values in measures)
        lines.append(f"{shown} (%, mean over seeds: {len(self.seeds)})")
        if self.diverged.any():
            diverged = [str(s) for s, d in zip(self.seeds, self.diverged, strict=True) if d]
            lines.append(f"diverged (a loss was not finite): seeds {', '.join(diverged)}")
        return "\n".join(lines)


def run(
    network: Network | Model,
    strategy: Strategy,
    train: Samples,
    test: Samples,
    *,
    kind: str = "class",
    num_tasks: int = 5,
    order: Sequence[int] | None = None,
    epochs: float = 1.0,
    batch_size: int = 64,
    optimizer: optax.GradientTransformation | None = None,
    negatives: str = "all",
    seeds: Sequence[int] = (0,),
) -> ContinualRuns:
    """Learns the classes of a data set a few at a time, once for each seed.

    All seeds share one compiled program and run one after another. `run_tasks` is the pure function
    behind it, e.g. to map it over seeds with `jax.vmap`.

    Args:
      network: a forward-only network, or a `Model` (`end_to_end` for backprop).
      strategy: the method against forgetting.
      train, test: the splits.
      kind: "class", "domain" or "task".
      num_tasks: number of tasks; it must divide the number of classes.
      order: classes in order of arrival, for all seeds; None: each seed draws an order.
      epochs: passes over the samples of a task.
      batch_size: new samples per update.
      optimizer: each module has a separate state of it; None: Adam at 0.001.
      negatives: wrong labels that an update tries for each sample, see `Problem`.
      seeds: a run's seed draws its class order (without `order`), weights and batches.

    Raises:
      TypeError: for a network, strategy or optimizer of another type.
      TypeError, ValueError: as `split_tasks`, `make_task_schedule` and `forward_only`; for a
        network or model of another number of labels than the scenario's, or no seed.

    >>> from sffa_jax import data, dense_layers, samples_from, sffa
    >>> from sffa_jax.continual import strategies
    >>> from sffa_jax.core import overlays
    >>> train, test = samples_from(data.load("digits"))
    >>> network = Network(dense_layers([8]), sffa(), overlays.appended_gaussian(), num_classes=10)
    >>> result = run(network, strategies.none(), train, test)
    >>> result.matrix.shape, result.average_accuracy.shape
    ((1, 5, 5), (1,))
    """
    optimizer = optax.adam(1e-3) if optimizer is None else optimizer
    _check_types(network, strategy, optimizer)
    check_choice("run", "negatives", negatives, NEGATIVES)
    seeds = check_integers("run", "seeds", seeds, 0)
    if not seeds:
        raise reject("run", "seeds", "contain at least one seed", "none")
    divide = partial(split_tasks, train, test, kind=kind, num_tasks=num_tasks, order=order)
    divided = [divide(seed=seed) for seed in seeds]
    scenario = divided[0][0]
    if isinstance(network, Network) and network.num_classes != scenario.num_labels:
        raise reject(
            "run",
            "network",
            f"have {scenario.num_labels} classes, the labels of the {kind} scenario",
            network.num_classes,
        )
    model = forward_only(network) if isinstance(network, Network) else network
    streams = [data.stream for _, data in divided]
    # Of all orders, so that they share one program.
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *streams)
    schedule = make_task_schedule(stacked, epochs=epochs, batch_size=batch_size)
    config = ContinualConfig(model, scenario, strategy, optimizer, schedule, negatives)
    program = jax.jit(partial(run_tasks, config))
    results = [
        program(jax.random.key(seed), TaskData(stream, train, test))
        for seed, stream in zip(seeds, streams, strict=True)
    ]
    runs = tuple(result.run for result in results)
    return ContinualRuns(
        tuple(seeds),
        tuple(_order_of(scenario, stream, train.labels) for stream in streams),
        np.stack([np.asarray(result.accuracy, float) for result in results]),
        np.stack([np.asarray(result.losses) for result in results]),
        runs,
        stored_bytes(strategy, runs[0].train.modules, runs[0].train.strategy_state, divided[0][1]),
        config,
        tuple(data for _, data in divided),
        network,
    )


# Compiled once for a configuration and a number of images.
_predict = jax.jit(predict_run, static_argnums=0)


def _order_of(scenario: Scenario, stream: TaskStream, labels: Array) -> tuple[int, ...]:
    """The classes in order of arrival."""
    index, of_samples = np.asarray(stream.train_class_index), np.asarray(labels)
    return tuple(int(of_samples[np.argmax(index == k)]) for k in range(scenario.num_classes))


def _check_types(network: object, strategy: object, optimizer: object) -> None:
    """Raises TypeError for a network, strategy or optimizer of another type."""
    rule, advice = "be a `Network` or a `Model`", "For backprop, pass `end_to_end(layers, labels)`."
    check_type("run", "network", network, (Network, Model), rule, advice)
    advice = "Call the function that makes it, e.g. `strategies.replay()`."
    check_type("run", "strategy", strategy, Strategy, "be a `Strategy`", advice)
    check_optimizer("run", optimizer)
