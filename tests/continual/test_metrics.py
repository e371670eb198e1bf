"""Against matrices worked by hand."""

import numpy as np
import pytest

from sffa_jax.continual import metrics

MATRIX = np.array(
    [
        [0.9, 0.3, 0.2],
        [0.6, 0.8, 0.4],
        [0.7, 0.5, 1.0],
    ]
)


def test_by_hand():
    assert metrics.average_accuracy(MATRIX) == pytest.approx((0.7 + 0.5 + 1.0) / 3)
    assert metrics.learning_curve(MATRIX) == pytest.approx([0.9, 0.7, 2.2 / 3])
    # Task 0 was best at 0.9, task 1 at 0.8; entries above the diagonal do not count.
    assert metrics.forgetting(MATRIX) == pytest.approx((0.2 + 0.3) / 2)
    assert metrics.backward_transfer(MATRIX) == pytest.approx((-0.2 - 0.3) / 2)
    untrained = np.array([0.5, 0.1, 0.25])
    assert metrics.forward_transfer(MATRIX, untrained) == pytest.approx((0.2 + 0.15) / 2)


def test_forgetting_takes_the_best_and_backward_transfer_the_first():
    risen = np.array([[0.5, 0, 0], [0.9, 0.6, 0], [0.7, 0.6, 0.4]])
    assert metrics.forgetting(risen) == pytest.approx((0.2 + 0.0) / 2)
    assert metrics.backward_transfer(risen) == pytest.approx((0.2 + 0.0) / 2)
    better = np.array([[0.5, 0], [0.8, 0.9]])
    assert metrics.forgetting(better) == pytest.approx(-0.3)


def test_what_was_not_seen_does_not_count():
    hidden = np.where(np.tril(np.ones((3, 3))) > 0, MATRIX, np.nan)
    for measure in ("average_accuracy", "forgetting", "backward_transfer"):
        function = getattr(metrics, measure)
        assert function(hidden) == function(MATRIX)
    assert np.array_equal(metrics.learning_curve(hidden), metrics.learning_curve(MATRIX))


def test_one_task_has_nothing_to_forget():
    one = np.array([[0.4]])
    assert metrics.average_accuracy(one) == 0.4
    assert metrics.forgetting(one) is metrics.backward_transfer(one) is None
    assert metrics.forward_transfer(one, np.array([0.1])) is None


def test_bad_shapes():
    with pytest.raises(ValueError, match="a row and a column for each task"):
        metrics.average_accuracy(np.ones((2, 3)))
    with pytest.raises(ValueError, match="`untrained` must have 3 tasks"):
        metrics.forward_transfer(MATRIX, np.ones(2))
