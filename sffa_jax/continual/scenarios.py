"""Scenarios: a data set divided into a sequence of tasks with new classes.

The classes have an order; each task adds the next few classes. In this package, a class
is identified by its `class_index`, its position in that order, so that the classes seen after n
tasks are the first n * classes_per_task indices. The three scenarios differ in the question asked
at test time (van de Ven et al. 2022, Three types of incremental learning): which class, among all
seen so far (class); which of a task's classes, with the task unknown (domain); the same, with the
task known (task).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Bool, Float, Int, Key

from sffa_jax.checks import check_choice, check_integer, check_integers, reject
from sffa_jax.data.arrays import to_labels
from sffa_jax.training.samples import Samples, check_samples

SCENARIOS = ("class", "domain", "task")


@dataclass(frozen=True)
class Scenario:
    """Defines each sample's label and the labels that compete for it.

    Attributes:
      kind: "class", "domain" or "task".
      num_tasks: tasks.
      classes_per_task: new classes per task.

    Raises:
      ValueError: for an unknown kind, no task, or fewer than 2 classes per task.
    """

    kind: str
    num_tasks: int
    classes_per_task: int

    def __post_init__(self) -> None:
        check_choice("Scenario", "kind", self.kind, SCENARIOS)
        check_integer("Scenario", "num_tasks", self.num_tasks, 1)
        check_integer("Scenario", "classes_per_task", self.classes_per_task, 2)

    @property
    def num_classes(self) -> int:
        """Number of classes of all tasks."""
        return self.num_tasks * self.classes_per_task

    @property
    def num_labels(self) -> int:
        """Number of labels: those of one task if tasks share labels, else one per class."""
        return self.classes_per_task * (1 if self.kind == "domain" else self.num_tasks)

    @property
    def num_candidates(self) -> int:
        """Number of labels that can compete for each sample."""
        return self.num_labels if self.kind == "class" else self.classes_per_task

    def task_of(self, class_index: Int[Array, " batch"]) -> Int[Array, " batch"]:
        """Returns the task in which a class arrives."""
        return class_index // self.classes_per_task

    def labels(self, class_index: Int[Array, " batch"]) -> Int[Array, " batch"]:
        """The network's correct label for each class."""
        return class_index % self.classes_per_task if self.kind == "domain" else class_index

    def candidates(
        self, class_index: Int[Array, " batch"]
    ) -> Int[Array, "batch candidates"] | None:
        """Labels that can compete for each sample; None: all of them."""
        if self.kind != "task":
            return None
        first = self.task_of(class_index)[:, None] * self.classes_per_task
        return first + jnp.arange(self.classes_per_task)[None]

    def allowed(
        self, candidates: Int[Array, "one_or_batch candidates"], task: Int[Array, "*one_or_each"]
    ) -> Bool[Array, "batch candidates"]:
        """Mask of the candidates that compete during task `task`: labels seen so far (class), else
        all.

        Candidates can be the same for all samples (one row), and so can `task` (one number).
        """
        if self.kind != "class":
            return jnp.ones(candidates.shape, bool)
        return candidates < jnp.reshape((task + 1) * self.classes_per_task, (-1, 1))

    def draw_candidates(
        self,
        key: Key[Array, ""],
        class_index: Int[Array, " batch"],
        task: Int[Array, ""],
        scores: Float[Array, "batch labels"],
    ) -> Int[Array, "batch 2"]:
        """Each sample's true label and one wrong label among those that compete for it.

        The wrong label is drawn with probability softmax(scores).
        """
        labels = jnp.arange(self.num_labels)
        competes = self.allowed(labels[None], task)
        if self.kind == "task":
            competes = self.task_of(labels)[None] == self.task_of(class_index)[:, None]
        # The argmax of scores plus Gumbel noise has this distribution.
        noisy = scores + jax.random.gumbel(key, scores.shape)
        noisy = jnp.where(competes, noisy, -jnp.inf)
        noisy = jnp.where(labels[None] == self.labels(class_index)[:, None], jnp.inf, noisy)
        return jnp.argsort(-noisy, axis=-1)[:, :2]


class TaskStream(struct.PyTreeNode):
    """The samples of each task, for one order of classes; several streams can be stacked.

    Attributes:
      train, test: [tasks, capacity] indices of a task's samples, the first `num_train` or
        `num_test` of a row; the rest is padding.
      num_train, num_test: [tasks].
      train_class_index, test_class_index: [samples] position of each sample's class in the order;
        -1 if no task contains it.
    """

    train: Int[Array, "*runs tasks train_capacity"]
    num_train: Int[Array, "*runs tasks"]
    train_class_index: Int[Array, "*runs train_samples"]
    test: Int[Array, "*runs tasks test_capacity"]
    num_test: Int[Array, "*runs tasks"]
    test_class_index: Int[Array, "*runs test_samples"]


class TaskData(NamedTuple):
    """The data of a run.

    Attributes:
      stream: the samples of each task.
      train, test: the samples; a validation split can replace the test split.
    """

    stream: TaskStream
    train: Samples
    test: Samples


def class_order(num_classes: int, num_tasks: int, seed: int) -> tuple[int, ...]:
    """A random order of all classes.

    Raises:
      ValueError: if the classes cannot be divided evenly, or for a negative seed.
    """
    check_integer("class_order", "num_classes", num_classes, 2)
    check_integer("class_order", "num_tasks", num_tasks, 1)
    check_integer("class_order", "seed", seed, 0)
    if num_classes % num_tasks or num_classes < 2 * num_tasks:
        raise reject(
            "class_order",
            "num_tasks",
            f"divide the {num_classes} classes evenly, at least 2 a task",
            num_tasks,
            "Choose another number of tasks, or an order of fewer classes.",
        )
    return tuple(int(c) for c in np.random.default_rng(seed).permutation(num_classes))


def make_scenario(kind: str, order: Sequence[int], num_tasks: int) -> Scenario:
    """Makes the scenario that divides the classes of `order` among `num_tasks` tasks.

    Raises:
      ValueError: if they cannot be divided evenly, or as in `Scenario`.
    """
    check_integer("make_scenario", "num_tasks", num_tasks, 1)
    order = check_integers("make_scenario", "order", order, 0)
    if not order or len(order) % num_tasks:
        raise reject(
            "make_scenario",
            "order",
            f"be divisible by {num_tasks} tasks",
            f"{len(order)} classes",
            "Name as many classes for each task.",
        )
    return Scenario(kind, num_tasks, len(order) // num_tasks)


def make_task_stream(
    train_labels: Any,
    test_labels: Any,
    order: Sequence[int],
    scenario: Scenario,
) -> TaskStream:
    """Distributes the samples of a data set over the tasks.

    Args:
      train_labels, test_labels: [samples] class numbers of the data set; see `data.to_labels`.
      order: classes in order of arrival, not necessarily all.
      scenario: defines the number of tasks and of classes.

    Returns:
      The stream. Its rows are as long as the largest possible task, so that all orders of one data
      set give the same shapes and share one compiled program.

    Raises:
      ValueError: if the order names a class twice, one that has no training or test sample, or
        another number of classes than the scenario's.
    """
    wanted = scenario.num_classes
    order = check_integers("make_task_stream", "order", order, 0)
    if len(order) != wanted or len(set(order)) != wanted:
        raise reject("make_task_stream", "order", f"name {wanted} different classes", list(order))
    train_labels = to_labels(train_labels, where="make_task_stream")
    test_labels = to_labels(test_labels, where="make_task_stream")
    num_classes = int(max(train_labels.max(), test_labels.max())) + 1
    for split, labels in (("training", train_labels), ("test", test_labels)):
        missing = sorted({*order} - {*labels.tolist()})
        if missing:
            rule = f"name classes that have {split} samples"
            advice = "Pass an `order` of other classes."
            raise reject("make_task_stream", "order", rule, f"{missing} among them", advice)
    index_of = np.full(num_classes, -1, np.int32)
    index_of[list(order)] = np.arange(wanted)

    def distribute(labels: np.ndarray) -> tuple[Array, Array, Array]:
        sizes = np.sort(np.bincount(labels, minlength=num_classes))
        capacity = int(sizes[-scenario.classes_per_task :].sum())
        class_index = index_of[labels]
        tasks = np.where(class_index < 0, -1, class_index // scenario.classes_per_task)
        members = [np.flatnonzero(tasks == task) for task in range(scenario.num_tasks)]
        rows = np.stack([np.pad(row, (0, capacity - len(row)), mode="edge") for row in members])
        counts = [len(row) for row in members]
        return (
            jnp.asarray(rows, jnp.int32),
            jnp.asarray(counts, jnp.int32),
            jnp.asarray(class_index, jnp.int32),
        )

    train, num_train, train_class_index = distribute(train_labels)
    test, num_test, test_class_index = distribute(test_labels)
    return TaskStream(train, num_train, train_class_index, test, num_test, test_class_index)


def split_tasks(
    train: Samples,
    test: Samples,
    *,
    kind: str = "class",
    num_tasks: int = 5,
    order: Sequence[int] | None = None,
    seed: int = 0,
) -> tuple[Scenario, TaskData]:
    """Divides a data set into tasks of new classes.

    Args:
      train, test: the splits.
      kind: "class", "domain" or "task".
      num_tasks: number of tasks; it must divide the number of classes.
      order: classes in order of arrival; None: a random order, drawn from `seed`.
      seed: seed of that order.

    Returns:
      The scenario, and the data of its tasks.

    Raises:
      TypeError: for splits that are not `Samples`.
      ValueError: for an unknown kind, tasks that do not divide the classes evenly, or splits of
        different numbers of classes.
    """
    for samples in (train, test):
        check_samples("split_tasks", samples, getattr(train, "num_classes", 0))
    if order is None:
        order = class_order(train.num_classes, num_tasks, seed)
    scenario = make_scenario(kind, order, num_tasks)
    stream = make_task_stream(train.labels, test.labels, order, scenario)
    return scenario, TaskData(stream, train, test)
