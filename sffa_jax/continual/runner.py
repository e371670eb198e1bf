"""A whole stream of tasks as one pure function: a scan over tasks of a scan over steps.

Every task has the same number of steps and every buffer one shape, so that a run is one compiled
program, whatever the order of classes, and the last task's steps cost what the first's do.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct
from jaxtyping import Array, Float, Int, Key

from sffa_jax.checks import check_integer, check_range
from sffa_jax.continual.model import Model, Modules
from sffa_jax.continual.scenarios import Scenario, Stream
from sffa_jax.continual.strategy import Batch, Memory, Problem, Strategy
from sffa_jax.core.overlays import Overlay
from sffa_jax.training.evaluate import EVALUATION_CHUNK
from sffa_jax.training.samples import Samples
from sffa_jax.training.sharding import split_batch

MakeStrategy = Callable[[Problem], Strategy]


@dataclass(frozen=True)
class Plan:
    """How long a task is.

    Attributes:
      num_steps: updates a task.
      batch_size: new samples an update.
      passes: shuffled orders of a task's samples that these updates can need.
    """

    num_steps: int
    batch_size: int
    passes: int


def make_plan(stream: Stream, *, epochs: float, batch_size: int) -> Plan:
    """Steps that make `epochs` passes over a task of mean size.

    Every task gets as many, so that a small task is passed a little more often, a large one a
    little less. One or several (stacked) streams.

    Raises:
      ValueError: for no epochs or an empty batch.
    """
    check_range("make_plan", "epochs", epochs, above=0)
    check_integer("make_plan", "batch_size", batch_size, 1)
    counts = np.asarray(stream.num_train)
    num_steps = max(1, round(epochs * counts.mean() / batch_size))
    return Plan(num_steps, batch_size, -(-num_steps * batch_size // int(counts.min())))


class TrainState(struct.PyTreeNode):
    """Attributes: modules: parameters of each; opt_states: of each; memory: the strategy's."""

    modules: Modules
    opt_states: tuple[optax.OptState, ...]
    memory: Memory


class RunResult(NamedTuple):
    """One run.

    Attributes:
      accuracy: [tasks + 1, 1 + modules, tasks] fraction right on each task's test samples, before
        the first task and after each; by the whole network, then by each module alone. In the class
        scenario a task counts 0 before its classes are seen.
      losses: [tasks, steps, losses] each module's mean loss, nats.
      state: at the end.
    """

    accuracy: Float[Array, "rows scorers tasks"]
    losses: Float[Array, "tasks steps losses"]
    state: TrainState


def step(
    problem: Problem,
    strategy: Strategy,
    optimizer: optax.GradientTransformation,
    state: TrainState,
    key: Key[Array, ""],
    indices: Int[Array, " batch"],
    now: Int[Array, ""],
) -> tuple[TrainState, Float[Array, " losses"]]:
    """One update of every module by its own loss, with what the strategy adds."""
    key_batch, key_candidates, key_penalty = jax.random.split(key, 3)
    batch = split_batch(strategy.batch(state.memory, key_batch, problem.batch(indices, now)))
    state = state.replace(memory=strategy.observe(state.memory, state.modules, batch))
    if strategy.loss is None:
        batch = problem.with_candidates(key_candidates, state.modules, batch)
        loss = problem.loss
    else:
        loss = partial(strategy.loss, state.memory, jax.random.fold_in(key_penalty, 1))
    own, losses = jax.grad(loss, has_aux=True)(state.modules, batch)
    gradients = strategy.gradients(state.memory, state.modules, own, batch)
    if strategy.penalty is not None:
        pull = jax.grad(strategy.penalty, argnums=2)(
            state.memory, key_penalty, state.modules, batch
        )
        gradients = jax.tree.map(jnp.add, gradients, pull)
    # One optimizer a module: nothing in it can mix them.
    stepped = [
        optimizer.update(*module)
        for module in zip(gradients, state.opt_states, state.modules, strict=True)
    ]
    updates = strategy.updates(state.memory, tuple(updates for updates, _ in stepped), batch)
    modules = optax.apply_updates(state.modules, updates)
    memory = strategy.after_step(state.memory, state.modules, modules, own)
    return TrainState(modules, tuple(opt_state for _, opt_state in stepped), memory), losses


def evaluate_tasks(
    problem: Problem,
    modules: Modules,
    test: Samples,
    now: Int[Array, ""],
    scores_of: Callable[[Modules, Batch], Array] | None = None,
) -> Float[Array, "scorers tasks"]:
    """Accuracy on every task's test samples, by the network and by each module alone.

    In the class scenario, tasks yet to come are not scored and count 0. `scores_of` stands in the
    place of the model's scores.
    """
    stream, scenario, model = problem.stream, problem.scenario, problem.model
    capacity = stream.test.shape[1]
    chunk = min(EVALUATION_CHUNK, capacity)
    num_chunks = -(-capacity // chunk)

    def right(indices: Array) -> Array:
        batch = Batch(
            test.scaled(split_batch(test.images[indices])),
            stream.test_places[indices],
            jnp.ones(indices.shape),
            now,
        )
        if scores_of is None:
            scores = model.scores(problem.outputs(modules, batch))
        else:
            scores = scores_of(modules, batch)
        total = jnp.sum(scores[model.first_scored :], axis=0, keepdims=True)
        scores = jnp.concatenate([total, scores])
        # argmax takes NaN for the maximum: a diverged network must not pass as the first class.
        finite = jnp.all(jnp.isfinite(scores), axis=-1)
        targets, allowed = problem.choices(batch)
        best = jnp.argmax(jnp.where(allowed[None], scores, -jnp.inf), axis=-1)
        hit = jnp.take_along_axis(targets[None], best[..., None], axis=-1)[..., 0]
        return hit & finite

    def of_task(task: Array) -> Array:
        positions = jnp.arange(num_chunks * chunk)
        indices = stream.test[task, positions % capacity].reshape(num_chunks, chunk)
        hits = jnp.moveaxis(jax.lax.map(right, indices), 1, 0).reshape(-1, num_chunks * chunk)
        counted = positions < stream.num_test[task]
        return jnp.sum(hits & counted[None], axis=-1) / stream.num_test[task]

    def scored(task: Array) -> Array:
        if scenario.kind != "class":
            return of_task(task)
        return jax.lax.cond(task <= now, of_task, lambda _: nothing, task)

    nothing = jnp.zeros(1 + len(modules))
    return jax.lax.map(scored, jnp.arange(scenario.num_tasks)).T


class Course(NamedTuple):
    """What is learned and how: all of a run but its key and the data.

    Attributes:
      model, scenario: what learns, and what is asked.
      make_strategy: problem -> strategy.
      optimizer: every module runs it with a state of its own.
      plan: steps and batches.
      num_wrong: wrong labels a step tries for each sample; None: all that compete for it.
      fresh_optimizer: whether its state begins anew with every task.
    """

    model: Model
    scenario: Scenario
    make_strategy: MakeStrategy
    optimizer: optax.GradientTransformation
    plan: Plan
    num_wrong: int | None = None
    fresh_optimizer: bool = False


class Data(NamedTuple):
    """Attributes: stream: which samples make up each task; training, test: the samples; a
    validation split may stand in for the test split."""

    stream: Stream
    training: Samples
    test: Samples


class Run(struct.PyTreeNode):
    """A run under way: all that its next step depends on.

    Attributes:
      train: what is trained, and the strategy's memory.
      overlay: the model's, as drawn.
      key: of all tasks; each folds its number into it.
    """

    train: TrainState
    overlay: Overlay | None
    key: Key[Array, "*runs"]


def _problem(course: Course, overlay: Overlay | None, data: Data) -> Problem:
    return Problem(
        course.scenario, course.model, overlay, data.training, data.stream, course.num_wrong
    )


class _TaskKeys(NamedTuple):
    """The random keys of one task."""

    order: Array
    before: Array
    steps: Array
    after: Array
    new: Array


def _task_keys(run: Run, now: Int[Array, ""]) -> _TaskKeys:
    return _TaskKeys(*jax.random.split(jax.random.fold_in(run.key, now), 5))


def begin(course: Course, key: Key[Array, ""], data: Data) -> Run:
    """A run before its first task."""
    key_init, key_tasks = jax.random.split(key)
    training = data.training
    modules, overlay = course.model.init(key_init, training.scaled(training.images[:1]))
    strategy = course.make_strategy(_problem(course, overlay, data))
    opt_states = tuple(course.optimizer.init(module) for module in modules)
    return Run(TrainState(modules, opt_states, strategy.init(modules)), overlay, key_tasks)


def open_task(course: Course, run: Run, now: Int[Array, ""], data: Data) -> Run:
    """What the strategy does before a task's first step."""
    strategy = course.make_strategy(_problem(course, run.overlay, data))
    keys, state = _task_keys(run, now), run.train
    if strategy.restart:
        fresh, _ = course.model.init(keys.new, data.training.scaled(data.training.images[:1]))
        opt_states = tuple(course.optimizer.init(module) for module in fresh)
        state = TrainState(fresh, opt_states, state.memory)
    if course.fresh_optimizer:
        state = state.replace(opt_states=tuple(map(course.optimizer.init, state.modules)))
    memory = strategy.before_task(state.memory, keys.before, state.modules, now)
    return run.replace(train=state.replace(memory=memory))


def train_steps(
    course: Course, run: Run, now: Int[Array, ""], steps: Int[Array, " steps"], data: Data
) -> tuple[Run, Float[Array, "steps losses"]]:
    """Some of a task's steps, by number; also each module's mean loss, nats."""
    stream, plan = data.stream, course.plan
    problem = _problem(course, run.overlay, data)
    strategy, keys = course.make_strategy(problem), _task_keys(run, now)
    count = stream.num_train[now]
    padding = jnp.arange(stream.train.shape[1]) >= count
    # A key a pass, so that more passes leave the first ones as they are.
    passes = jax.vmap(lambda i: jax.random.fold_in(keys.order, i))(jnp.arange(plan.passes))
    shuffled = jax.vmap(lambda k: jax.random.uniform(k, padding.shape))(passes)
    orders = jnp.argsort(jnp.where(padding[None], 2.0, shuffled), axis=-1)

    def one_step(state: TrainState, i: Array) -> tuple[TrainState, Array]:
        position = i * plan.batch_size + jnp.arange(plan.batch_size)
        indices = stream.train[now, orders[position // count, position % count]]
        key = jax.random.fold_in(keys.steps, i)
        return step(problem, strategy, course.optimizer, state, key, indices, now)

    state, losses = jax.lax.scan(one_step, run.train, steps)
    return run.replace(train=state), losses


def close_task(course: Course, run: Run, now: Int[Array, ""], data: Data) -> Run:
    """What the strategy does after a task's last step."""
    strategy, state = course.make_strategy(_problem(course, run.overlay, data)), run.train
    memory = strategy.after_task(state.memory, _task_keys(run, now).after, state.modules, now)
    return run.replace(train=state.replace(memory=memory))


def evaluate_run(
    course: Course, run: Run, now: Int[Array, ""], data: Data
) -> Float[Array, "scorers tasks"]:
    """`evaluate_tasks` of a run after task `now`; -1: before the first."""
    problem = _problem(course, run.overlay, data)
    strategy, state = course.make_strategy(problem), run.train
    scores = None if strategy.scores is None else partial(strategy.scores, state.memory)
    return evaluate_tasks(problem, state.modules, data.test, now, scores)


def run_tasks(course: Course, key: Key[Array, ""], data: Data) -> RunResult:
    """Learns the tasks one after another: a pure function, to be jitted and mapped over seeds.

    The steps above in one program. Whoever wants to stop on the way calls them one by one.

    Args:
      course: what is learned and how.
      key: of the whole run.
      data: the samples, and which of them make up each task.

    Returns:
      Accuracies, losses and final state.
    """

    def learn(run: Run, now: Array) -> tuple[Run, tuple[Array, Array]]:
        run = open_task(course, run, now, data)
        run, losses = train_steps(course, run, now, jnp.arange(course.plan.num_steps), data)
        run = close_task(course, run, now, data)
        return run, (evaluate_run(course, run, now, data), losses)

    run = begin(course, key, data)
    untrained = evaluate_run(course, run, jnp.int32(-1), data)
    run, (accuracy, losses) = jax.lax.scan(learn, run, jnp.arange(course.scenario.num_tasks))
    return RunResult(jnp.concatenate([untrained[None], accuracy]), losses, run.train)
