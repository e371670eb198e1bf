import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sffa_jax.continual.scenarios import Scenario, class_order, make_scenario, make_task_stream

PLACES = jnp.array([0, 3, 4])
"""Classes of tasks 0, 1 and 2 where a task has two."""


def test_the_three_scenarios_ask_different_questions():
    by_class, domain, task = (Scenario(kind, 3, 2) for kind in ("class", "domain", "task"))
    assert [s.num_labels for s in (by_class, domain, task)] == [6, 2, 6]
    assert by_class.labels(PLACES).tolist() == [0, 3, 4]
    assert domain.labels(PLACES).tolist() == [0, 1, 0]
    assert by_class.candidates(PLACES) is None
    assert domain.candidates(PLACES) is None
    assert task.candidates(PLACES).tolist() == [[0, 1], [2, 3], [4, 5]]


def test_only_classes_seen_so_far_compete():
    scenario = Scenario("class", 3, 2)
    every = jnp.arange(6)[None]
    assert scenario.allowed(every, jnp.int32(1)).tolist() == [[True] * 4 + [False] * 2]
    by_sample = scenario.allowed(jnp.tile(every, (2, 1)), jnp.array([0, 2]))
    assert by_sample.sum(axis=1).tolist() == [2, 6]
    assert bool(Scenario("task", 3, 2).allowed(every, jnp.int32(0)).all())


def test_drawn_candidates_are_the_own_label_and_a_hard_wrong_one():
    scenario = Scenario("class", 5, 2)
    places = np.tile(np.arange(6), 200)
    scores = np.zeros((1200, 10), np.float32)
    scores[:, 7], scores[:, 1] = 99.0, 2.0
    draw = jax.jit(scenario.draw_candidates)
    drawn = np.asarray(draw(jax.random.key(0), places, jnp.int32(2), scores))
    assert np.array_equal(drawn[:, 0], places)
    assert drawn.max() < 6, "label 7 has not been seen, whatever its score"
    assert all(len(set(row)) == 2 for row in drawn.tolist())
    # Of label 0's first draws, label 1 takes e^2 / (e^2 + 4).
    share = np.mean(drawn[np.asarray(places) == 0, 1] == 1)
    assert abs(share - np.exp(2) / (np.exp(2) + 4)) < 0.1


def test_in_the_task_scenario_a_wrong_label_is_one_of_the_samples_own_task():
    scenario = Scenario("task", num_tasks=3, classes_per_task=3)
    class_index = jnp.arange(900) % 9
    scores = jnp.zeros((900, 9)).at[:, 8].set(9.0)  # of a later task, and more probable
    draw = jax.jit(scenario.draw_candidates)
    drawn = np.asarray(draw(jax.random.key(0), class_index, jnp.int32(1), scores))
    assert np.array_equal(drawn[:, 0], class_index)
    assert np.array_equal(drawn[:, 1] // 3, class_index // 3)
    assert np.all(drawn[:, 0] != drawn[:, 1])


@given(seed=st.integers(0, 99), tasks=st.sampled_from([1, 2, 5]))
def test_a_stream_holds_every_sample_once_in_its_classs_task(seed, tasks):
    rng = np.random.default_rng(seed)
    train, test = (np.r_[np.arange(10), rng.integers(0, 10, n)].astype(np.int32) for n in (70, 20))
    order = class_order(10, tasks, seed)
    scenario = make_scenario("class", order, tasks)
    stream = make_task_stream(train, test, order, scenario)
    for labels, rows, counts, places in (
        (train, stream.train, stream.num_train, stream.train_class_index),
        (test, stream.test, stream.num_test, stream.test_class_index),
    ):
        members = [row[:n] for row, n in zip(np.asarray(rows), np.asarray(counts), strict=True)]
        assert sorted(np.concatenate(members)) == list(range(len(labels)))
        for task, indices in enumerate(members):
            brought = order[task * 10 // tasks : (task + 1) * 10 // tasks]
            assert set(labels[indices]) <= set(brought)
        assert np.array_equal(np.array(order)[np.asarray(places)], labels)


def test_streams_of_all_orders_have_one_shape():
    labels = np.repeat(np.arange(4), [1, 2, 3, 9]).astype(np.int32)
    shapes = set()
    for order in ((0, 1, 2, 3), (3, 0, 1, 2), (2, 3, 0, 1)):
        stream = make_task_stream(labels, labels, order, make_scenario("class", order, 2))
        shapes.add(tuple(leaf.shape for leaf in jax.tree.leaves(stream)))
    assert len(shapes) == 1


def test_an_order_by_hand_may_leave_classes_out():
    labels = np.repeat(np.arange(5), 2).astype(np.int32)
    stream = make_task_stream(labels, labels, (4, 0, 2, 1), make_scenario("task", (4, 0, 2, 1), 2))
    assert stream.num_train.tolist() == [4, 4]
    assert stream.train_class_index.tolist() == [1, 1, 3, 3, 2, 2, -1, -1, 0, 0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Scenario("classes", 2, 2), "`kind` must be one of class, domain, task"),
        (lambda: Scenario("class", 2, 1), "`classes_per_task` must be at least 2"),
        (lambda: class_order(10, 3, 0), "divide the 10 classes evenly, at least 2 a task, got 3"),
        (lambda: class_order(10, 10, 0), "at least 2 a task, got 10"),
        (lambda: make_scenario("class", (1, 2, 3), 2), "be divisible by 2 tasks"),
        (lambda: stream_of((0, 0, 1, 2)), "name 4 different classes"),
        (lambda: stream_of((0, 1, 2, 7)), r"classes that have training samples, got \[7\]"),
    ],
)
def test_what_cannot_be_shared_out_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def stream_of(order):
    labels = np.arange(4, dtype=np.int32)
    return make_task_stream(labels, labels, order, Scenario("class", 2, 2))
