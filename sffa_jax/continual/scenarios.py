"""Scenarios: one data set cut into tasks of new classes that come one after another.

The classes are put in an order; each task brings the next few of them. A class is named here by its
*place* in that order, so that the classes seen after n tasks are simply the first n * classes per
task. What sets the three scenarios apart is what the network is asked at test time (van de Ven et
al. 2022, Three types of incremental learning): which class, among all seen so far (class); which of
a task's classes, not knowing the task (domain); the same, knowing the task (task).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Bool, Float, Int, Key

from sffa_jax.checks import check_choice, check_integer, check_integers, reject

SCENARIOS = ("class", "domain", "task")


@dataclass(frozen=True)
class Scenario:
    """What a sample's label is, and which labels compete for it.

    Attributes:
      kind: "class", "domain" or "task".
      num_tasks: tasks.
      classes_per_task: new classes a task.

    Raises:
      ValueError: for an unknown kind, no task, or fewer than 2 classes a task.
    """

    kind: str
    num_tasks: int
    classes_per_task: int

    def __post_init__(self) -> None:
        check_choice("Scenario", "kind", self.kind, SCENARIOS)
        check_integer("Scenario", "num_tasks", self.num_tasks, 1)
        check_integer("Scenario", "classes_per_task", self.classes_per_task, 2)

    @property
    def num_labels(self) -> int:
        """Labels the network tells apart: a task's where tasks share them, else everybody's."""
        return self.classes_per_task * (1 if self.kind == "domain" else self.num_tasks)

    @property
    def num_candidates(self) -> int:
        """Labels that are tried for each sample."""
        return self.num_labels if self.kind == "class" else self.classes_per_task

    def task_of(self, places: Int[Array, " batch"]) -> Int[Array, " batch"]:
        """The task that brings a class."""
        return places // self.classes_per_task

    def labels(self, places: Int[Array, " batch"]) -> Int[Array, " batch"]:
        """What the network should answer for a class."""
        return places % self.classes_per_task if self.kind == "domain" else places

    def candidates(self, places: Int[Array, " batch"]) -> Int[Array, "batch candidates"] | None:
        """Labels that can compete for each sample; None: all of them."""
        if self.kind != "task":
            return None
        own = jnp.arange(self.classes_per_task)[None]
        return self.task_of(places)[:, None] * self.classes_per_task + own

    def allowed(
        self, candidates: Int[Array, "one_or_batch candidates"], now: Int[Array, "*one_or_each"]
    ) -> Bool[Array, "batch candidates"]:
        """Which candidates do compete while task `now` is under way: labels seen so far (class).

        Candidates may be the same for all samples (one row), and so may `now` (one number).
        """
        if self.kind != "class":
            return jnp.ones(candidates.shape, bool)
        return candidates < jnp.reshape((now + 1) * self.classes_per_task, (-1, 1))

    def draw_candidates(
        self,
        key: Key[Array, ""],
        places: Int[Array, " batch"],
        now: Int[Array, ""],
        num_wrong: int,
        scores: Float[Array, "batch labels"],
    ) -> Int[Array, "batch candidates"]:
        """Each sample's own label and some wrong ones, drawn without replacement (class).

        Each draw takes a wrong label with probability softmax(scores). Where fewer have been seen,
        labels that do not compete yet fill up.
        """
        every = jnp.arange(self.num_labels)[None]
        # The largest of scores plus Gumbel noise are such draws.
        wanted = scores + jax.random.gumbel(key, scores.shape)
        wanted = jnp.where(self.allowed(every, now), wanted, -jnp.inf)
        wanted = jnp.where(every == self.labels(places)[:, None], jnp.inf, wanted)
        return jnp.argsort(-wanted, axis=-1)[:, : 1 + num_wrong]


class Stream(struct.PyTreeNode):
    """Which samples make up each task, for one order of classes; several streams can be stacked.

    Attributes:
      train, test: [tasks, capacity] indices of a task's samples, the first `num_train` or
        `num_test` of a row; the rest is padding.
      num_train, num_test: [tasks].
      train_places, test_places: [samples] place of each sample's class in the order; -1 where no
        task brings it.
    """

    train: Int[Array, "*runs tasks train_capacity"]
    num_train: Int[Array, "*runs tasks"]
    train_places: Int[Array, "*runs train_samples"]
    test: Int[Array, "*runs tasks test_capacity"]
    num_test: Int[Array, "*runs tasks"]
    test_places: Int[Array, "*runs test_samples"]


def class_order(num_classes: int, num_tasks: int, seed: int) -> tuple[int, ...]:
    """A random order of all classes.

    Raises:
      ValueError: if the classes cannot be shared out evenly, or for a negative seed.
    """
    check_integer("class_order", "num_classes", num_classes, 2)
    check_integer("class_order", "num_tasks", num_tasks, 1)
    check_integer("class_order", "seed", seed, 0)
    if num_classes % num_tasks or num_classes < 2 * num_tasks:
        raise reject(
            "class_order",
            "num_tasks",
            f"share out {num_classes} classes evenly, at least 2 a task",
            num_tasks,
            "Choose another number of tasks, or give an order of fewer classes.",
        )
    return tuple(int(c) for c in np.random.default_rng(seed).permutation(num_classes))


def make_scenario(kind: str, order: Sequence[int], num_tasks: int) -> Scenario:
    """The scenario in which `num_tasks` tasks share out the classes of `order`.

    Raises:
      ValueError: if they cannot be shared out evenly, or as `Scenario`.
    """
    check_integer("make_scenario", "num_tasks", num_tasks, 1)
    order = check_integers("make_scenario", "order", order, 0)
    if not order or len(order) % num_tasks:
        raise reject(
            "make_scenario",
            "order",
            f"share out evenly over {num_tasks} tasks",
            f"{len(order)} classes",
            "Name as many classes for each task.",
        )
    return Scenario(kind, num_tasks, len(order) // num_tasks)


def make_stream(
    train_labels: np.ndarray,
    test_labels: np.ndarray,
    order: Sequence[int],
    scenario: Scenario,
) -> Stream:
    """Shares the samples of a data set out over the tasks.

    Args:
      train_labels, test_labels: [samples] the classes as the data set numbers them.
      order: the classes in the order in which they come; may leave some out.
      scenario: how many tasks and classes.

    Returns:
      The stream. Its rows are as long as the largest possible task, so that the streams of all
      orders of one data set have one shape and one compiled program serves them.

    Raises:
      ValueError: if the order names a class twice, one that has no training or test sample, or
        another number of classes than the scenario's.
    """
    wanted = scenario.num_tasks * scenario.classes_per_task
    order = check_integers("make_stream", "order", order, 0)
    if len(order) != wanted or len(set(order)) != wanted:
        raise reject("make_stream", "order", f"name {wanted} different classes", list(order))
    num_classes = int(max(train_labels.max(), test_labels.max())) + 1
    strangers = [c for c in order if not (np.any(train_labels == c) and np.any(test_labels == c))]
    if strangers:
        raise reject(
            "make_stream", "order", "name classes that have samples", f"{strangers} among them"
        )
    place_of = np.full(num_classes, -1, np.int32)
    place_of[list(order)] = np.arange(wanted)

    def share_out(labels: np.ndarray) -> tuple[Array, Array, Array]:
        sizes = np.sort(np.bincount(labels, minlength=num_classes))
        capacity = int(sizes[-scenario.classes_per_task :].sum())
        places = place_of[labels]
        tasks = np.where(places < 0, -1, places // scenario.classes_per_task)
        members = [np.flatnonzero(tasks == task) for task in range(scenario.num_tasks)]
        rows = np.stack([np.pad(row, (0, capacity - len(row)), mode="edge") for row in members])
        counts = [len(row) for row in members]
        return (
            jnp.asarray(rows, jnp.int32),
            jnp.asarray(counts, jnp.int32),
            jnp.asarray(places, jnp.int32),
        )

    train, num_train, train_places = share_out(train_labels)
    test, num_test, test_places = share_out(test_labels)
    return Stream(train, num_train, train_places, test, num_test, test_places)
