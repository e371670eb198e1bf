"""Splits by index, deterministic in their seed."""

from collections.abc import Iterable, Sequence
from numbers import Real

import numpy as np

from sffa_jax.data.dataset import DataError, check_whole


def stratified_split(
    labels: np.ndarray, fraction: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Holds out a share of every class.

    Args:
      labels: [samples] integers.
      fraction: share held out, in (0, 1); of each class at least one sample and not all.
      seed: which samples.

    Returns:
      Indices that stay and indices held out, each sorted; together all of them, once.

    Raises:
      DataError: for a fraction outside (0, 1), a negative seed or a class of fewer than two
        samples.
    """
    check_whole("stratified_split", "seed", seed, 0)
    if not isinstance(fraction, Real) or not 0 < fraction < 1:
        raise DataError(
            f"stratified_split: `fraction` must lie between 0 and 1, got {fraction!r}. "
            "0.1 holds out a tenth of every class."
        )
    rng = np.random.default_rng(seed)
    held_out = []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        if len(members) < 2:
            raise DataError(
                f"stratified_split: class {label} must have at least 2 samples, got {len(members)}."
            )
        count = min(max(round(fraction * len(members)), 1), len(members) - 1)
        held_out.append(rng.permutation(members)[:count])
    held = np.sort(np.concatenate(held_out))
    return np.setdiff1d(np.arange(len(labels)), held, assume_unique=True), held


def _named(where: str, argument: str, classes: Iterable[int]) -> list[int]:
    """The classes in `classes`; DataError if it is no sequence of whole numbers."""
    try:
        named = None if isinstance(classes, str | bytes) else list(classes)
    except TypeError:
        named = None
    if named is None:
        raise DataError(f"{where}: `{argument}` must be a sequence of classes, got {classes!r}.")
    for label in named:
        check_whole(where, argument, label, 0)
    return [int(label) for label in named]


def class_subset(labels: np.ndarray, classes: Sequence[int]) -> np.ndarray:
    """Indices of the samples of some classes, in their order.

    Args:
      labels: [samples] integers.
      classes: labels to keep.

    Raises:
      DataError: if no class is named, one is named twice, or one has no sample.
    """
    named = _named("class_subset", "classes", classes)
    if not named or len(set(named)) < len(named):
        raise DataError(
            f"class_subset: `classes` must name at least one class, each once, got {named}."
        )
    absent = sorted(set(named) - {int(label) for label in np.unique(labels)})
    if absent:
        raise DataError(f"class_subset: class {absent[0]} must have at least 1 sample, got 0.")
    return np.flatnonzero(np.isin(labels, named))


def task_splits(labels: np.ndarray, tasks: Sequence[Sequence[int]]) -> list[np.ndarray]:
    """Indices of each task's samples, where a task is a group of classes.

    Args:
      labels: [samples] integers.
      tasks: the classes of each task; no class in two of them.

    Raises:
      DataError: if a class is in two tasks, or as `class_subset`.
    """
    if isinstance(tasks, str | bytes) or not isinstance(tasks, Iterable):
        raise DataError(f"task_splits: `tasks` must be a sequence of sequences, got {tasks!r}.")
    groups = [_named("task_splits", "tasks", classes) for classes in tasks]
    named = [label for classes in groups for label in classes]
    if len(set(named)) < len(named):
        raise DataError(
            f"task_splits: `tasks` must share no class, got {', '.join(map(str, groups))}."
        )
    return [class_subset(labels, classes) for classes in groups]


def draw_tasks(num_classes: int, num_tasks: int, seed: int) -> list[list[int]]:
    """The classes of each task, drawn by seed: as many for each.

    Raises:
      DataError: if the classes cannot be shared out evenly, or for a negative seed.
    """
    check_whole("draw_tasks", "num_classes", num_classes, 1)
    check_whole("draw_tasks", "num_tasks", num_tasks)
    check_whole("draw_tasks", "seed", seed, 0)
    if num_tasks < 1 or num_classes % num_tasks:
        raise DataError(
            f"draw_tasks: `num_tasks` must divide the {num_classes} classes, got {num_tasks}."
        )
    order = np.random.default_rng(seed).permutation(num_classes)
    return [[int(label) for label in task] for task in order.reshape(num_tasks, -1)]
