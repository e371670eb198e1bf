"""A continual-learning run as one pure function: a scan over tasks of a scan over steps.

Every task has the same number of steps and every state has a fixed shape. One compiled program
therefore serves every order of classes, and all tasks take the same time.
"""

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct
from jaxtyping import Array, Float, Int, Key

from sffa_jax.checks import check_integer, check_range, reject
from sffa_jax.continual.model import Model, Modules
from sffa_jax.continual.problem import Batch, Problem
from sffa_jax.continual.scenarios import Scenario, TaskData, TaskStream
from sffa_jax.continual.strategy import State, Strategy, check_hooks
from sffa_jax.core.overlays import Overlay
from sffa_jax.training.evaluate import chunk_size
from sffa_jax.training.sharding import split_batch


@dataclass(frozen=True)
class TaskSchedule:
    """Length of a task.

    Attributes:
      num_steps: updates per task.
      batch_size: new samples per update.
      passes: maximum number of shuffled orders of a task's samples in these updates.
    """

    num_steps: int
    batch_size: int
    passes: int


def make_task_schedule(stream: TaskStream, *, epochs: float, batch_size: int) -> TaskSchedule:
    """A schedule of `epochs` passes over a task of mean size.

    Every task has the same number of updates: small tasks are repeated slightly more often than
    large ones. `stream` is one stream or several, stacked.

    Raises:
      ValueError: for no epochs, an empty batch, or one that is larger than a task.
    """
    check_range("make_task_schedule", "epochs", epochs, above=0)
    check_integer("make_task_schedule", "batch_size", batch_size, 1)
    counts = np.asarray(stream.num_train)
    if batch_size > counts.min():
        rule = f"be at most the {counts.min()} samples of the smallest task"
        raise reject(
            "make_task_schedule", "batch_size", rule, batch_size, "Choose a smaller batch."
        )
    num_steps = max(1, round(epochs * counts.mean() / batch_size))
    return TaskSchedule(num_steps, batch_size, -(-num_steps * batch_size // int(counts.min())))


class ContinualConfig(NamedTuple):
    """Everything that defines a run, except its key and its data.

    Attributes:
      model: the network.
      scenario: tasks and the labels that compete.
      strategy: the method against forgetting.
      optimizer: each module has a separate state of it; one that needs the loss gets the module's,
        without a strategy's penalty.
      schedule: steps and batches of a task.
      negatives: wrong labels that an update tries for each sample, see `Problem`.
      reset_optimizer: whether each task starts with a new optimizer state.
    """

    model: Model
    scenario: Scenario
    strategy: Strategy
    optimizer: optax.GradientTransformation
    schedule: TaskSchedule
    negatives: str = "all"
    reset_optimizer: bool = False


class TrainState(struct.PyTreeNode):
    """Everything that an update changes.

    Attributes:
      modules: parameters of each module.
      opt_states: optimizer state of each module.
      strategy_state: the memory of the strategy.
    """

    modules: Modules
    opt_states: tuple[optax.OptState, ...]
    strategy_state: State


class RunState(struct.PyTreeNode):
    """An unfinished run: everything that its next step depends on.

    Attributes:
      train: parameters, optimizer and strategy state.
      overlay: the model's label overlay.
      key: random key of all tasks; each task folds its number into it.
    """

    train: TrainState
    overlay: Overlay | None
    key: Key[Array, "*runs"]


class ContinualResult(NamedTuple):
    """A finished run.

    Attributes:
      accuracy: [tasks + 1, 1 + modules, tasks] fraction of each task's test samples that are
        correct, before the first task and after each; by the whole network, then by each module
        alone. In the class scenario a task counts 0 before its classes are seen.
      losses: [tasks, steps, losses] each module's mean loss, nats.
      run: at the end.
    """

    accuracy: Float[Array, "rows scorers tasks"]
    losses: Float[Array, "tasks steps losses"]
    run: RunState


def train_step(
    problem: Problem,
    strategy: Strategy,
    optimizer: optax.GradientTransformation,
    state: TrainState,
    key: Key[Array, ""],
    indices: Int[Array, " batch"],
    task: Int[Array, ""],
) -> tuple[TrainState, Float[Array, " losses"]]:
    """Updates each module once by its loss, with the strategy's hooks; also returns the losses."""
    key_batch, key_candidates, key_penalty = jax.random.split(key, 3)
    strategy_state, modules = state.strategy_state, state.modules
    batch = strategy.batch(problem, strategy_state, key_batch, problem.batch(indices, task))
    batch = split_batch(batch)
    strategy_state = strategy.observe(problem, strategy_state, modules, batch)
    loss = None
    if strategy.loss is None:
        batch = problem.with_negatives(key_candidates, modules, batch)
    else:
        loss = partial(strategy.loss, problem, strategy_state, jax.random.fold_in(key_penalty, 1))
    loss_gradients, losses = problem.gradient(modules, batch, loss)
    key_gradients = jax.random.fold_in(key_penalty, 2)
    gradients = strategy.gradients(
        problem, strategy_state, key_gradients, modules, loss_gradients, batch
    )
    if strategy.penalty is not None:
        penalty_gradients = jax.grad(strategy.penalty, argnums=3)(
            problem, strategy_state, key_penalty, modules, batch
        )
        gradients = jax.tree.map(jnp.add, gradients, penalty_gradients)
    # One optimizer per module, so that nothing mixes modules.
    optimizer = optax.with_extra_args_support(optimizer)
    # Coupled modules have one loss.
    values = losses if len(losses) == len(modules) else [jnp.sum(losses)] * len(modules)
    stepped = [
        optimizer.update(*module, value=value)
        for *module, value in zip(gradients, state.opt_states, modules, values, strict=True)
    ]
    updates, opt_states = zip(*stepped, strict=True)
    updates = strategy.updates(problem, strategy_state, updates, batch)
    updated = optax.apply_updates(modules, updates)
    strategy_state = strategy.after_step(problem, strategy_state, modules, updated, loss_gradients)
    return TrainState(updated, opt_states, strategy_state), losses


def _problem(config: ContinualConfig, overlay: Overlay | None, data: TaskData) -> Problem:
    return Problem(
        config.scenario, config.model, overlay, data.train, data.stream, config.negatives
    )


class _TaskKeys(NamedTuple):
    """The random keys of one task."""

    order: Array
    before: Array
    steps: Array
    after: Array
    new: Array


def _task_keys(run: RunState, task: Int[Array, ""]) -> _TaskKeys:
    return _TaskKeys(*jax.random.split(jax.random.fold_in(run.key, task), 5))


def start_run(config: ContinualConfig, key: Key[Array, ""], data: TaskData) -> RunState:
    """Returns a run before its first task.

    Raises:
      TypeError: for a hook of the strategy that takes other arguments.
      ValueError: for a model without one output per label, unless the strategy computes the scores.
    """
    check_hooks("start_run", config.strategy)
    key_init, key_tasks = jax.random.split(key)
    train = data.train
    x = train.scaled(train.images[:1])
    modules, overlay = config.model.init(key_init, x)
    if config.strategy.scores is None:
        _check_outputs(config, modules, overlay, x)
    opt_states = tuple(map(config.optimizer.init, modules))
    state = config.strategy.init(_problem(config, overlay, data), modules)
    return RunState(TrainState(modules, opt_states, state), overlay, key_tasks)


def _check_outputs(
    config: ContinualConfig, modules: Modules, overlay: Overlay | None, x: Array
) -> None:
    """Raises ValueError unless a model has one output per label of the scenario."""
    scenario = config.scenario
    logits = jax.eval_shape(lambda m: config.model.logits(m, overlay, x, None), modules)
    if logits.shape[-1] != scenario.num_labels:
        rule = f"have {scenario.num_labels} outputs, the labels of the {scenario.kind} scenario"
        raise reject("start_run", "model", rule, logits.shape[-1])


def start_task(
    config: ContinualConfig, run: RunState, task: Int[Array, ""], data: TaskData
) -> RunState:
    """Prepares a task: new weights or optimizer states if configured, and the strategy's hook."""
    problem, strategy = _problem(config, run.overlay, data), config.strategy
    keys, modules, opt_states = _task_keys(run, task), run.train.modules, run.train.opt_states
    if strategy.restart:
        modules, _ = config.model.init(keys.new, data.train.scaled(data.train.images[:1]))
    if strategy.restart or config.reset_optimizer:
        opt_states = tuple(map(config.optimizer.init, modules))
    strategy_state = strategy.before_task(
        problem, run.train.strategy_state, keys.before, modules, task
    )
    return run.replace(train=TrainState(modules, opt_states, strategy_state))


def train_steps(
    config: ContinualConfig,
    run: RunState,
    task: Int[Array, ""],
    steps: Int[Array, " steps"],
    data: TaskData,
) -> tuple[RunState, Float[Array, "steps losses"]]:
    """Runs some of a task's steps, given by number; also returns each module's mean loss, nats."""
    stream, schedule = data.stream, config.schedule
    problem, keys = _problem(config, run.overlay, data), _task_keys(run, task)
    count = stream.num_train[task]
    padding = jnp.arange(stream.train.shape[1]) >= count

    def order(i: Array) -> Array:
        # One key per pass, so that additional passes do not change the first ones.
        shuffled = jax.random.uniform(jax.random.fold_in(keys.order, i), padding.shape)
        return jnp.argsort(jnp.where(padding, 2.0, shuffled))

    orders = jax.vmap(order)(jnp.arange(schedule.passes))

    def one_step(state: TrainState, i: Array) -> tuple[TrainState, Array]:
        position = i * schedule.batch_size + jnp.arange(schedule.batch_size)
        indices = stream.train[task, orders[position // count, position % count]]
        key = jax.random.fold_in(keys.steps, i)
        return train_step(problem, config.strategy, config.optimizer, state, key, indices, task)

    state, losses = jax.lax.scan(one_step, run.train, steps)
    return run.replace(train=state), losses


def end_task(
    config: ContinualConfig, run: RunState, task: Int[Array, ""], data: TaskData
) -> RunState:
    """Applies the strategy's hook after a task's last step."""
    problem, state = _problem(config, run.overlay, data), run.train
    strategy_state = config.strategy.after_task(
        problem, state.strategy_state, _task_keys(run, task).after, state.modules, task
    )
    return run.replace(train=state.replace(strategy_state=strategy_state))


def _scores(
    config: ContinualConfig, problem: Problem, state: TrainState, batch: Batch
) -> Float[Array, "modules batch candidates"]:
    if config.strategy.scores is None:
        return config.model.scores(problem.logits(state.modules, batch))
    return config.strategy.scores(problem, state.strategy_state, state.modules, batch)


def predict_run(
    config: ContinualConfig,
    run: RunState,
    task: Int[Array, ""],
    data: TaskData,
    x: Float[Array, "batch *input"],
) -> Int[Array, " batch"]:
    """Predicts the label of each scaled image, one of the scenario's labels.

    `task` is the last one learned (class and domain scenario), or the task of the images (task
    scenario). The other arguments are those of `evaluate_run`.
    """
    problem = _problem(config, run.overlay, data)
    first = jnp.broadcast_to(task * config.scenario.classes_per_task, (len(x),))
    batch = Batch(x, first, jnp.ones(len(x)), task)
    total = jnp.sum(_scores(config, problem, run.train, batch)[config.model.first_scored :], axis=0)
    _, allowed = problem.targets_and_allowed(batch)
    best = jnp.argmax(jnp.where(allowed, total, -jnp.inf), axis=-1)
    candidates = problem.candidates(batch)
    if candidates is None:
        return best
    return jnp.take_along_axis(candidates, best[:, None], axis=-1)[:, 0]


def evaluate_run(
    config: ContinualConfig, run: RunState, task: Int[Array, ""], data: TaskData
) -> Float[Array, "scorers tasks"]:
    """Accuracy on every task's test samples, by the network and by each module alone.

    In the class scenario, tasks after `task`, the last one learned (-1: none), are not scored and
    count 0. A strategy with `scores` replaces the model's scores.
    """
    problem, test = _problem(config, run.overlay, data), data.test
    stream, scenario, model = problem.stream, problem.scenario, problem.model
    capacity = stream.test.shape[1]
    chunk = chunk_size(capacity, scenario.num_candidates)
    num_chunks = -(-capacity // chunk)

    def correct(indices: Array) -> Array:
        batch = Batch(
            test.scaled(split_batch(test.images[indices])),
            stream.test_class_index[indices],
            jnp.ones(indices.shape),
            task,
        )
        scores = _scores(config, problem, run.train, batch)
        total = jnp.sum(scores[model.first_scored :], axis=0, keepdims=True)
        scores = jnp.concatenate([total, scores])
        # argmax treats NaN as the maximum; a diverged network must not predict the first class.
        finite = jnp.all(jnp.isfinite(scores), axis=-1)
        targets, allowed = problem.targets_and_allowed(batch)
        best = jnp.argmax(jnp.where(allowed[None], scores, -jnp.inf), axis=-1)
        hit = jnp.take_along_axis(targets[None], best[..., None], axis=-1)[..., 0]
        return hit & finite

    def of_task(number: Array) -> Array:
        positions = jnp.arange(num_chunks * chunk)
        indices = stream.test[number, positions % capacity].reshape(num_chunks, chunk)
        hits = jnp.moveaxis(jax.lax.map(correct, indices), 1, 0).reshape(-1, num_chunks * chunk)
        counted = positions < stream.num_test[number]
        return jnp.sum(hits & counted[None], axis=-1) / stream.num_test[number]

    def scored(number: Array) -> Array:
        if scenario.kind != "class":
            return of_task(number)
        return jax.lax.cond(number <= task, of_task, lambda _: zeros, number)

    zeros = jnp.zeros(1 + len(run.train.modules))
    return jax.lax.map(scored, jnp.arange(scenario.num_tasks)).T


def run_tasks(config: ContinualConfig, key: Key[Array, ""], data: TaskData) -> ContinualResult:
    """Learns the tasks one after another: a pure function, to be jitted and mapped over seeds.

    It combines the functions above in one program. Call them one by one to save checkpoints.

    Args:
      config: model, scenario, strategy, optimizer and schedule.
      key: random key of the run.
      data: the samples, and which of them make up each task.

    Returns:
      Accuracies, losses and the run's final state.

    Raises:
      ValueError: as `start_run` and the strategy.
    """

    def learn(run: RunState, task: Array) -> tuple[RunState, tuple[Array, Array]]:
        run = start_task(config, run, task, data)
        run, losses = train_steps(config, run, task, jnp.arange(config.schedule.num_steps), data)
        run = end_task(config, run, task, data)
        return run, (evaluate_run(config, run, task, data), losses)

    run = start_run(config, key, data)
    untrained = evaluate_run(config, run, jnp.int32(-1), data)
    run, (accuracy, losses) = jax.lax.scan(learn, run, jnp.arange(config.scenario.num_tasks))
    return ContinualResult(jnp.concatenate([untrained[None], accuracy]), losses, run)
