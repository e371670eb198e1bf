"""Strategies that store old samples, each against its definition."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_problems import KEY, after_two_tasks, make_problem, modules_of, quadratic_model

from sffa_jax.continual.strategies import derpp, gdumb, gem, joint, replay
from sffa_jax.continual.strategies.agem import project_modules, project_on_one
from sffa_jax.continual.strategies.gem import inner


def test_gem_never_raises_the_loss_on_an_earlier_task():
    problem = make_problem()
    strategy = gem(patterns=4, strength=0.0)
    modules = modules_of(problem)

    @jax.jit
    def project():
        memory = strategy.init(problem, modules)
        for now in (0, 1):
            key, task = jax.random.key(now), jnp.int32(now)
            memory = strategy.after_task(problem, memory, key, modules, task)
        olds = [problem.batch(memory.image[task], jnp.int32(2)) for task in (0, 1)]
        references = [problem.gradient(modules, old)[0] for old in olds]
        # A gradient that undoes the first task and minds the second one a little.
        own = jax.tree.map(lambda g: (-g).at[0].add(0.1), references[0])
        used, first = (
            strategy.gradients(
                problem,
                memory,
                KEY,
                modules,
                own,
                problem.batch(problem.stream.train[2], jnp.int32(task)),
            )
            for task in (2, 0)
        )
        agreement = [[inner(g[0], one[0]) for one in references] for g in (own, used)]
        return memory, own, first, jnp.array(agreement)

    memory, own, first, agreement = project()
    for task in (0, 1):
        assert np.all(np.isin(memory.image[task], problem.stream.train[task]))
    before, after = np.asarray(agreement)
    assert before.min() < 0, "the example must have something to project"
    assert after.min() >= -1e-5
    # In the first task there is nothing to agree with.
    np.testing.assert_array_equal(first[0]["w"], own[0]["w"])


def test_agem_takes_out_what_opposes_and_nothing_else():
    reference = {"w": jnp.array([2.0, 0.0])}
    opposed = project_on_one({"w": jnp.array([-3.0, 1.0])}, reference)
    assert opposed["w"].tolist() == [0.0, 1.0]
    agreed = project_on_one({"w": jnp.array([3.0, 1.0])}, reference)
    assert agreed["w"].tolist() == [3.0, 1.0]
    nothing = project_on_one({"w": jnp.array([3.0, 1.0])}, {"w": jnp.zeros(2)})
    assert nothing["w"].tolist() == [3.0, 1.0]


@pytest.mark.parametrize("coupled", [False, True])
def test_agem_projects_each_module_alone_unless_they_are_coupled(coupled):
    """The first module opposes the buffer by less than the second one agrees with it."""
    references = ({"w": jnp.array([1.0, 0.0])}, {"w": jnp.array([0.0, 1.0])})
    gradients = ({"w": jnp.array([-0.1, 0.3])}, {"w": jnp.array([0.2, 1.0])})
    first, second = project_modules(gradients, references, coupled)
    assert first["w"].tolist() == pytest.approx([-0.1, 0.3] if coupled else [0.0, 0.3])
    assert second["w"].tolist() == pytest.approx([0.2, 1.0])


def test_replay_adds_as_many_old_samples_and_none_in_the_first_task():
    problem = make_problem()
    strategy = replay(slots=5, weight=2.0, augment=lambda key, x: x + 100)
    memory = strategy.init(problem, modules_of(problem))
    batch_with = jax.jit(partial(strategy.batch, problem))
    new = problem.batch(problem.stream.train[0], jnp.int32(0))
    alone = batch_with(memory, KEY, new)
    assert alone.weights.tolist() == [1.0] * 8 + [0.0] * 8
    after_task = jax.jit(partial(strategy.after_task, problem))
    memory = after_task(memory, KEY, modules_of(problem), jnp.int32(0))
    new = problem.batch(problem.stream.train[1], jnp.int32(1))
    mixed = batch_with(memory, KEY, new)
    assert mixed.weights.tolist() == [1.0] * 8 + [2.0] * 8
    assert set(np.asarray(mixed.class_index)[8:]) == {0, 1}
    assert set(np.asarray(mixed.class_index)[:8]) == {2, 3}
    np.testing.assert_array_equal(np.asarray(mixed.x)[:8], new.x)
    assert np.all(np.asarray(mixed.x)[8:] > 90), "augmented"


def test_by_default_all_tasks_weigh_the_same():
    """As many old samples as new ones stand for `now` earlier tasks."""
    problem = make_problem()
    strategy = replay(slots=6)
    memory, _ = after_two_tasks(strategy, problem)
    batch_with = jax.jit(partial(strategy.batch, problem))
    for now in (1, 2):
        new = problem.batch(problem.stream.train[now], jnp.int32(now))
        assert batch_with(memory, KEY, new).weights.tolist() == [1.0] * 8 + [now] * 8


def test_a_buffer_may_be_balanced_over_tasks():
    problem = make_problem()
    with pytest.raises(ValueError, match="`balance` must be one of class, task"):
        replay(balance="size")
    memory, _ = after_two_tasks(replay(slots=6, balance="task"), problem)
    assert memory.class_index.tolist() == [0] * 3 + [1] * 3
    for task, images in enumerate(np.asarray(memory.image).reshape(2, 3)):
        assert np.all(np.isin(images, problem.stream.train[task]))


def test_gem_projects_the_gradient_of_a_shared_loss_as_one():
    """Module 0 opposes its reference by less than module 1 agrees: together they agree."""
    problem = make_problem(model=quadratic_model())
    strategy = gem(patterns=4)

    def projected(coupled):
        coupling = problem._replace(model=problem.model._replace(coupled=coupled))
        modules = modules_of(coupling)
        memory = strategy.init(coupling, modules)
        old = coupling.gradient(modules, coupling.batch(memory.image[0], jnp.int32(1)))[0]
        own = ({"w": -0.1 * old[0]["w"]}, {"w": 10 * old[1]["w"]})
        batch = coupling.batch(problem.stream.train[1], jnp.int32(1))
        return own, strategy.gradients(coupling, memory, KEY, modules, own, batch)

    own, used = jax.jit(lambda: projected(True))()
    np.testing.assert_array_equal(used[0]["w"], own[0]["w"])
    own, used = jax.jit(lambda: projected(False))()
    assert not np.allclose(used[0]["w"], own[0]["w"])


def test_joint_gives_every_seen_sample_the_same_weight():
    problem = make_problem()
    strategy = joint()
    new = problem.batch(problem.stream.train[2], jnp.int32(2))
    batch_with = jax.jit(partial(strategy.batch, problem, ()))
    drawn = [batch_with(jax.random.key(i), new) for i in range(50)]
    for batch in drawn:
        # 8 new samples for 16 old ones: an old draw counts twice.
        assert batch.weights.tolist() == [1.0] * 8 + [2.0] * 8
    old = np.concatenate([np.asarray(batch.class_index)[8:] for batch in drawn])
    counts = np.bincount(old, minlength=6)
    assert counts[4:].sum() == 0
    assert counts[:4].min() > 60
    first = batch_with(KEY, problem.batch(problem.stream.train[0], jnp.int32(0)))
    assert first.weights.tolist()[8:] == [0.0] * 8


def test_derpp_holds_each_sample_to_the_outputs_of_its_own_task():
    problem = make_problem()
    strategy = derpp(slots=4, alpha=0.5, beta=1.0)
    memory, ends = after_two_tasks(strategy, problem)
    buffer = memory.buffer
    x = np.asarray(problem.samples.scaled(problem.samples.images[buffer.image]))
    ends = [[{"w": np.asarray(end[0]["w"])}] for end in ends]
    logits = np.asarray(memory.logits)
    for slot, place in enumerate(buffer.class_index.tolist()):
        task = place // 2
        outputs = x[slot] @ ends[task][0]["w"]
        seen = 2 * (task + 1)
        np.testing.assert_allclose(logits[0, slot, :seen], outputs[:seen], rtol=1e-4)
        assert np.all(logits[0, slot, seen:] == 0)
    batch = problem.batch(problem.stream.train[2], jnp.int32(2))
    at_second_end = jax.jit(partial(strategy.penalty, problem))(memory, KEY, tuple(ends[1]), batch)
    changed = [
        float(np.mean((x[s] @ (ends[1][0]["w"] - ends[0][0]["w"]))[:2] ** 2)) * 2 / 6
        for s, place in enumerate(buffer.class_index.tolist())
        if place < 2
    ]
    # Four draws from four slots: each once.
    assert at_second_end == pytest.approx(0.5 * sum(changed) / 4, rel=1e-4)


def test_gdumb_learns_from_the_buffer_alone():
    problem = make_problem()
    strategy = gdumb(slots=6)
    assert strategy.restart
    memory = strategy.init(problem, modules_of(problem))
    before_task = jax.jit(partial(strategy.before_task, problem))
    for now in range(3):
        memory = before_task(memory, jax.random.key(now), (), jnp.int32(now))
    new = problem.batch(problem.stream.train[2], jnp.int32(2))
    batch = jax.jit(partial(strategy.batch, problem))(memory, KEY, new)
    assert sorted(set(np.asarray(batch.class_index))) == list(range(6))
    assert len(batch.class_index) == 8
