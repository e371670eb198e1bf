"""Measures of forgetting and transfer from a matrix of accuracies.

R[i, j] is the accuracy on task j after task i, T the number of tasks, both counted from 0 here.
Only entries of learned tasks (j <= i) count, except in forward transfer. Every function takes the
matrix [tasks, tasks] and rejects one that is not square.
"""

import jax
import numpy as np

from sffa_jax.checks import reject

Matrix = np.ndarray | jax.Array


def _square(where: str, matrix: Matrix) -> np.ndarray:
    matrix = np.asarray(matrix, float)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not len(matrix):
        raise reject(where, "matrix", "have a row and a column for each task", matrix.shape)
    return matrix


def average_accuracy(matrix: Matrix) -> float:
    """Mean of the last row: accuracy over all tasks after the last one.

    >>> average_accuracy(np.array([[1.0, 0.0], [0.5, 0.9]]))
    0.7

    Reference: Lopez-Paz & Ranzato 2017, arXiv:1706.08840 (ACC).
    """
    return float(_square("average_accuracy", matrix)[-1].mean())


def earlier_tasks(matrix: Matrix) -> float | None:
    """Mean accuracy on the earlier tasks after the last one: stability. None for one task.

    >>> earlier_tasks(np.array([[1.0, 0.0], [0.5, 0.9]]))
    0.5
    """
    matrix = _square("earlier_tasks", matrix)
    return float(matrix[-1, :-1].mean()) if len(matrix) > 1 else None


def newest_task(matrix: Matrix) -> float:
    """Accuracy on the last task after it: plasticity.

    >>> newest_task(np.array([[1.0, 0.0], [0.5, 0.9]]))
    0.9
    """
    return float(_square("newest_task", matrix)[-1, -1])


def learning_curve(matrix: Matrix) -> np.ndarray:
    """Mean accuracy over the tasks learned so far, after each task."""
    matrix = _square("learning_curve", matrix)
    return np.array([matrix[i, : i + 1].mean() for i in range(len(matrix))])


def forgetting(matrix: Matrix) -> float | None:
    """Mean over the earlier tasks of max_{j <= i < T - 1} R[i, j] - R[T - 1, j]; None for one task.

    Reference: Chaudhry et al. 2018, arXiv:1801.10112. Negative if accuracy rises at the end.
    """
    matrix = _square("forgetting", matrix)
    last = len(matrix) - 1
    if not last:
        return None
    return float(np.mean([matrix[j:last, j].max() - matrix[last, j] for j in range(last)]))


def backward_transfer(matrix: Matrix) -> float | None:
    """Mean over the earlier tasks of R[T - 1, j] - R[j, j]; None for one task.

    Reference: Lopez-Paz & Ranzato 2017 (BWT).
    """
    matrix = _square("backward_transfer", matrix)
    last = len(matrix) - 1
    return float(np.mean(matrix[last, :last] - np.diagonal(matrix)[:last])) if last else None


def forward_transfer(matrix: Matrix, untrained: Matrix) -> float | None:
    """Mean over the later tasks of R[j - 1, j] - untrained[j]; None for one task.

    It measures how much earlier tasks help on a later task before it is learned, relative to an
    untrained network. In the class scenario it means nothing: a run records 0 for a task whose
    classes have not been seen.

    Reference: Lopez-Paz & Ranzato 2017 (FWT).
    """
    matrix = _square("forward_transfer", matrix)
    untrained = np.asarray(untrained, float)
    if untrained.shape != (len(matrix),):
        raise reject("forward_transfer", "untrained", f"have {len(matrix)} tasks", untrained.shape)
    if len(matrix) == 1:
        return None
    return float(np.mean(np.diagonal(matrix, 1) - untrained[1:]))
