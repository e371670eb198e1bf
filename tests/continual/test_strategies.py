"""Each strategy against a closed form, on networks so small that one can be written down."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from sffa_jax.continual import quadratic, strategies
from sffa_jax.continual.model import Model, softmax_loss
from sffa_jax.continual.problem import Problem
from sffa_jax.continual.runner import TrainState, train_step
from sffa_jax.continual.scenarios import Scenario, make_task_stream
from sffa_jax.continual.strategies import derpp, ewc, gdumb, gem, joint, lwf, mas, replay, si
from sffa_jax.continual.strategies.agem import project_on_one
from sffa_jax.continual.strategies.ewc import fisher
from sffa_jax.continual.strategies.gem import inner
from sffa_jax.continual.strategies.mas import sensitivity
from sffa_jax.continual.strategy import Strategy, stored_floats
from sffa_jax.training.samples import make_samples

CURVATURES = (np.array([1.0, 0.5, 2.0]), np.array([0.3, 1.5, 0.1]))
"""Two modules of three parameters, each with a quadratic loss of its own."""

NUM_TASKS = 3
LABELS = np.arange(24, dtype=np.int32) % 6
IMAGES = np.random.default_rng(0).integers(0, 256, (24, 1, 3)).astype(np.uint8)
KEY = jax.random.key(0)


def quadratic_model():
    """Module k: outputs w - x; loss 1/2 sum_i a_ki (w_ki - x_i)^2."""

    def init(key, x):
        del key, x
        return ({"w": jnp.array([0.5, -1.0, 2.0])}, {"w": jnp.array([1.0, 0.0, -0.5])}), None

    def logits(modules, overlay, x, candidates):
        del overlay, candidates
        return jnp.stack([module["w"][None] - x for module in modules])

    def loss(logits, targets, allowed):
        del targets, allowed
        a = jnp.array(CURVATURES, logits.dtype)
        return 0.5 * jnp.sum(a[:, None] * jnp.square(logits), axis=-1)

    return Model(init, logits, loss, lambda scores: scores)


def linear_model(num_labels):
    """One module, a linear classifier: outputs x W."""

    def init(key, x):
        return ({"w": jax.random.normal(key, (x.shape[-1], num_labels))},), None

    def logits(modules, overlay, x, candidates):
        every = x @ modules[0]["w"]
        if candidates is not None:
            every = jnp.take_along_axis(every, candidates, axis=-1)
        return every[None]

    return Model(init, logits, softmax_loss, lambda scores: scores)


def make_problem(kind="class", model=None):
    scenario = Scenario(kind, NUM_TASKS, 2)
    samples = make_samples(IMAGES, LABELS, num_classes=6, mean=0.5, std=0.25)
    stream = make_task_stream(LABELS, LABELS, range(6), scenario)
    model = model or linear_model(scenario.num_labels)
    return Problem(scenario, model, None, samples, stream)


def modules_of(problem):
    return problem.model.init(jax.random.key(3), problem.samples.scaled(problem.samples.images))[0]


def all_of(problem, now=2):
    return problem.batch(jnp.arange(24), jnp.int32(now))


def test_fisher_is_the_mean_of_squared_gradients_sample_by_sample():
    problem = make_problem(model=quadratic_model())
    modules, batch = modules_of(problem), all_of(problem)
    x = np.float64(batch.x)
    for a, module, found in zip(CURVATURES, modules, fisher(problem, modules, batch), strict=True):
        by_sample = a * (np.float64(module["w"]) - x)
        np.testing.assert_allclose(found["w"], (by_sample**2).mean(axis=0), rtol=1e-5)
        assert not np.allclose(found["w"], by_sample.mean(axis=0) ** 2, rtol=0.1)


def after_two_tasks(strategy, problem):
    """Memory after tasks 0 and 1, which end at two known places."""
    start = modules_of(problem)
    ends = [jax.tree.map(lambda w, s=s: s * w + 0.1, start) for s in (0.5, 2.0)]
    memory = strategy.init(problem, start)
    for now, end in enumerate(ends):
        memory = strategy.after_task(
            problem, memory, jax.random.fold_in(KEY, now), end, jnp.int32(now)
        )
    return memory, ends


@pytest.mark.parametrize("mode", ["separate", "online"])
def test_ewcs_penalty_is_the_sum_of_the_tasks_quadratics(mode):
    problem = make_problem(model=quadratic_model())
    strategy = ewc(strength=3.0, mode=mode, fisher_decay=0.7, num_samples=5)
    memory, ends = after_two_tasks(strategy, problem)
    fishers = [
        fisher(
            problem,
            end,
            problem.batch(
                problem.draw(jax.random.fold_in(KEY, now), jnp.int32(now), 5), jnp.int32(now)
            ),
        )
        for now, end in enumerate(ends)
    ]

    def expected(modules):
        total = 0.0
        for k in range(2):
            w = modules[k]["w"]
            if mode == "separate":
                for f, end in zip(fishers, ends, strict=True):
                    total += jnp.sum(f[k]["w"] * (w - end[k]["w"]) ** 2)
            else:
                f = 0.7 * fishers[0][k]["w"] + fishers[1][k]["w"]
                total += jnp.sum(f * (w - ends[1][k]["w"]) ** 2)
        return 0.5 * 3.0 * total

    now = modules_of(problem)
    pull = jax.grad(strategy.penalty, argnums=3)(problem, memory, KEY, now, all_of(problem))
    for found, wanted in zip(pull, jax.grad(expected)(now), strict=True):
        np.testing.assert_allclose(found["w"], wanted["w"], rtol=1e-4, atol=1e-5)


def test_parameters_that_never_mattered_are_not_pulled():
    start = ({"w": jnp.array([1.0, 2.0])},)
    none = quadratic.zero_quadratic(start)
    grown = quadratic.add_quadratic(none, ({"w": jnp.array([0.0, 4.0])},), ({"w": jnp.zeros(2)},))
    assert quadratic.penalty(none, ({"w": jnp.array([9.0, 9.0])},)) == 0
    assert quadratic.penalty(grown, ({"w": jnp.array([9.0, 1.0])},)) == 4
    assert jnp.all(jnp.isfinite(grown.anchor[0]["w"]))


def test_sis_path_integral_is_the_loss_that_gradient_descent_took_off():
    """On a quadratic, n steps of rate r take the distance e to e (1 - r a)^n; the sum of
    -gradient * step is then a geometric series, and for small r the drop of the loss."""
    problem = make_problem(model=quadratic_model())
    strategy = si(strength=2.0, damping=0.1)
    start = modules_of(problem)
    rate, num_steps = 0.05, 40
    optimizer = optax.sgd(rate)
    state = TrainState(
        start, tuple(optimizer.init(m) for m in start), strategy.init(problem, start)
    )
    for i in range(num_steps):
        state, _ = train_step(
            problem, strategy, optimizer, state, jax.random.key(i), jnp.arange(24), jnp.int32(0)
        )
    middle = np.float64(all_of(problem).x).mean(axis=0)
    done = strategy.after_task(problem, state.strategy_state, KEY, state.modules, jnp.int32(0))
    for k, a in enumerate(CURVATURES):
        distance = np.float64(start[k]["w"]) - middle
        ratio = 1 - rate * a
        series = (1 - ratio ** (2 * num_steps)) / (1 - ratio**2)
        gain = rate * a**2 * distance**2 * series
        np.testing.assert_allclose(state.strategy_state.gain[k]["w"], gain, rtol=1e-4)
        drop = 0.5 * a * distance**2 * (1 - ratio ** (2 * num_steps))
        np.testing.assert_allclose(gain, drop, rtol=0.06)
        end = middle + distance * ratio**num_steps
        np.testing.assert_allclose(state.modules[k]["w"], end, rtol=1e-4)
        moved = end - np.float64(start[k]["w"])
        importance = done.quadratic.importance[k]["w"]
        np.testing.assert_allclose(importance, gain / (moved**2 + 0.1), rtol=1e-3)
        assert jnp.all(done.gain[k]["w"] == 0)
    away = jax.tree.map(lambda w: w + 1, state.modules)
    wanted = 2.0 * sum(float(m["w"].sum()) for m in done.quadratic.importance)
    assert strategy.penalty(problem, done, KEY, away, all_of(problem)) == pytest.approx(
        wanted, rel=1e-4
    )


def test_sis_gain_leaves_the_penalty_out():
    problem = make_problem(model=quadratic_model())
    weak, strong = (si(strength=s) for s in (0.0, 50.0))
    start = modules_of(problem)
    optimizer = optax.sgd(0.01)
    gains = []
    for strategy in (weak, strong):
        memory = strategy.init(problem, start)
        held = memory.quadratic.replace(
            importance=jax.tree.map(jnp.ones_like, start),
            anchor=jax.tree.map(lambda w: w - 1, start),
        )
        opt_states = tuple(optimizer.init(m) for m in start)
        state = TrainState(start, opt_states, memory.replace(quadratic=held))
        state, _ = train_step(
            problem, strategy, optimizer, state, KEY, jnp.arange(24), jnp.int32(0)
        )
        moved = jax.tree.map(jnp.subtract, state.modules, start)
        gains.append((state.strategy_state.gain, moved))
    gradient, _ = jax.grad(problem.loss, has_aux=True)(start, all_of(problem))
    for gain, moved in gains:
        for k in range(2):
            wanted = -gradient[k]["w"] * moved[k]["w"]
            np.testing.assert_allclose(gain[k]["w"], wanted, rtol=1e-4, atol=1e-7)


def test_mas_is_the_mean_absolute_slope_of_the_outputs_squared_length():
    problem = make_problem(model=quadratic_model())._replace(scenario=Scenario("task", 3, 3))
    modules, batch = modules_of(problem), all_of(problem)
    x = np.float64(batch.x)
    for module, found in zip(modules, sensitivity(problem, modules, batch), strict=True):
        slopes = np.abs(2 * (np.float64(module["w"]) - x))
        np.testing.assert_allclose(found["w"], slopes.mean(axis=0), rtol=1e-5)


def test_mas_mixes_importances_but_takes_the_first_whole():
    problem = make_problem()
    strategy = mas(strength=2.0, keep=0.25, num_samples=6)
    memory, ends = after_two_tasks(strategy, problem)
    new = [
        sensitivity(
            problem,
            end,
            problem.batch(
                problem.draw(jax.random.fold_in(KEY, now), jnp.int32(now), 6), jnp.int32(now)
            ),
        )[0]["w"]
        for now, end in enumerate(ends)
    ]
    np.testing.assert_allclose(
        memory.importance[0]["w"], 0.25 * new[0] + 0.75 * new[1], rtol=1e-5, atol=1e-6
    )
    np.testing.assert_array_equal(memory.anchor[0]["w"], ends[1][0]["w"])


def test_gem_never_raises_the_loss_on_an_earlier_task():
    problem = make_problem()
    strategy = gem(patterns=4, strength=0.0)
    modules = modules_of(problem)
    memory = strategy.init(problem, modules)
    batch = problem.batch(problem.stream.train[2], jnp.int32(2))
    for now in (0, 1):
        memory = strategy.after_task(problem, memory, jax.random.key(now), modules, jnp.int32(now))
    # A gradient that undoes the first task and minds the second one a little.
    old = problem.batch(memory.image[0], jnp.int32(2))
    own = jax.tree.map(jnp.negative, jax.grad(problem.loss, has_aux=True)(modules, old)[0])
    own = jax.tree.map(lambda g: g.at[0].add(0.1), own)
    used = strategy.gradients(problem, memory, KEY, modules, own, batch)
    conflicts = 0
    for task in (0, 1):
        assert np.all(np.isin(memory.image[task], problem.stream.train[task]))
        old = problem.batch(memory.image[task], jnp.int32(2))
        reference, _ = jax.grad(problem.loss, has_aux=True)(modules, old)
        conflicts += float(inner(own[0], reference[0])) < 0
        assert inner(used[0], reference[0]) >= -1e-5
    assert conflicts, "the example must have something to project"
    # In the first task there is nothing to agree with.
    first = strategy.gradients(problem, memory, KEY, modules, own, batch.replace(task=jnp.int32(0)))
    np.testing.assert_array_equal(first[0]["w"], own[0]["w"])


def test_agem_takes_out_what_opposes_and_nothing_else():
    reference = {"w": jnp.array([2.0, 0.0])}
    opposed = project_on_one({"w": jnp.array([-3.0, 1.0])}, reference)
    assert opposed["w"].tolist() == [0.0, 1.0]
    agreed = project_on_one({"w": jnp.array([3.0, 1.0])}, reference)
    assert agreed["w"].tolist() == [3.0, 1.0]
    nothing = project_on_one({"w": jnp.array([3.0, 1.0])}, {"w": jnp.zeros(2)})
    assert nothing["w"].tolist() == [3.0, 1.0]


def test_replay_adds_as_many_old_samples_and_none_in_the_first_task():
    problem = make_problem()
    strategy = replay(slots=5, weight=2.0, augment=lambda key, x: x + 100)
    memory = strategy.init(problem, modules_of(problem))
    new = problem.batch(problem.stream.train[0], jnp.int32(0))
    alone = strategy.batch(problem, memory, KEY, new)
    assert alone.weights.tolist() == [1.0] * 8 + [0.0] * 8
    memory = strategy.after_task(problem, memory, KEY, modules_of(problem), jnp.int32(0))
    new = problem.batch(problem.stream.train[1], jnp.int32(1))
    mixed = strategy.batch(problem, memory, KEY, new)
    assert mixed.weights.tolist() == [1.0] * 8 + [2.0] * 8
    assert set(np.asarray(mixed.class_index[8:])) == {0, 1}
    assert set(np.asarray(mixed.class_index[:8])) == {2, 3}
    np.testing.assert_array_equal(mixed.x[:8], new.x)
    assert jnp.all(mixed.x[8:] > 90), "augmented"


def test_joint_gives_every_seen_sample_the_same_weight():
    problem = make_problem()
    strategy = joint()
    new = problem.batch(problem.stream.train[2], jnp.int32(2))
    drawn = [strategy.batch(problem, (), jax.random.key(i), new) for i in range(50)]
    for batch in drawn:
        # 8 new samples for 16 old ones: an old draw counts twice.
        assert batch.weights.tolist() == [1.0] * 8 + [2.0] * 8
    old = np.concatenate([batch.class_index[8:] for batch in drawn])
    counts = np.bincount(old, minlength=6)
    assert counts[4:].sum() == 0
    assert counts[:4].min() > 60
    first = strategy.batch(problem, (), KEY, problem.batch(problem.stream.train[0], jnp.int32(0)))
    assert first.weights[8:].tolist() == [0.0] * 8


def test_derpp_holds_each_sample_to_the_outputs_of_its_own_task():
    problem = make_problem()
    strategy = derpp(slots=4, alpha=0.5, beta=1.0)
    memory, ends = after_two_tasks(strategy, problem)
    buffer = memory.buffer
    x = problem.samples.scaled(problem.samples.images[buffer.image])
    for slot, place in enumerate(buffer.class_index.tolist()):
        task = place // 2
        outputs = x[slot] @ ends[task][0]["w"]
        seen = 2 * (task + 1)
        np.testing.assert_allclose(memory.logits[0, slot, :seen], outputs[:seen], rtol=1e-4)
        assert jnp.all(memory.logits[0, slot, seen:] == 0)
    batch = problem.batch(problem.stream.train[2], jnp.int32(2))
    at_second_end = strategy.penalty(problem, memory, KEY, ends[1], batch)
    changed = [
        float(jnp.mean((x[s] @ (ends[1][0]["w"] - ends[0][0]["w"]))[:2] ** 2)) * 2 / 6
        for s, place in enumerate(buffer.class_index.tolist())
        if place < 2
    ]
    # Four draws from four slots: each once.
    assert at_second_end == pytest.approx(0.5 * sum(changed) / 4, rel=1e-4)


@pytest.mark.parametrize("kind", ["class", "domain", "task"])
def test_lwf_has_no_pull_where_nothing_changed_and_pulls_back_where_it_did(kind):
    problem = make_problem(kind)
    strategy = lwf(strength=1.0, temperature=2.0)
    old = modules_of(problem)
    batch = problem.batch(problem.stream.train[1], jnp.int32(1))
    pull = partial(jax.grad(strategy.penalty, argnums=3), problem)
    assert jnp.abs(pull(old, KEY, old, batch)[0]["w"]).max() < 1e-5
    moved = jax.tree.map(lambda w: w.at[:, 0].add(0.5), old)
    gradient = pull(old, KEY, moved, batch)[0]["w"]
    assert inner(gradient, moved[0]["w"] - old[0]["w"]) > 0
    first = batch.replace(task=jnp.int32(0))
    assert strategy.penalty(problem, old, KEY, moved, first) == 0
    # By hand, for the first sample (class): softmax at T = 2 over the two labels seen before.
    if kind == "class":
        one = batch.replace(
            x=batch.x[:1], class_index=batch.class_index[:1], weights=batch.weights[:1]
        )
        before, after = (np.float64(batch.x[0] @ m[0]["w"])[:2] / 2 for m in (old, moved))
        p = np.exp(before) / np.exp(before).sum()
        log_q = after - np.log(np.exp(after).sum())
        assert strategy.penalty(problem, old, KEY, moved, one) == pytest.approx(
            -4 * p @ log_q, rel=1e-4
        )


def test_gdumb_learns_from_the_buffer_alone():
    problem = make_problem()
    strategy = gdumb(slots=6)
    assert strategy.restart
    memory = strategy.init(problem, modules_of(problem))
    for now in range(3):
        memory = strategy.before_task(problem, memory, jax.random.key(now), (), jnp.int32(now))
    batch = strategy.batch(
        problem, memory, KEY, problem.batch(problem.stream.train[2], jnp.int32(2))
    )
    assert sorted(set(np.asarray(batch.class_index))) == list(range(6))
    assert len(batch.class_index) == 8


GENERAL = ("none", "ewc", "si", "mas", "lwf", "gem", "agem", "replay", "derpp", "gdumb", "joint")
"""Strategies that take any network."""


def test_the_state_is_counted_in_floats_with_an_index_as_its_image():
    problem = make_problem()
    modules = modules_of(problem)
    parameters = 3 * 6
    stored = {
        name: stored_floats(getattr(strategies, name)().init(problem, modules), image_size=100)
        for name in GENERAL
    }
    assert stored["none"] == stored["joint"] == 0
    assert stored["ewc"] == stored["mas"] == 2 * parameters
    assert stored["si"] == 3 * parameters
    assert stored["lwf"] == parameters
    assert stored["gem"] == 2 * 20 * 100
    assert stored["replay"] == stored["agem"] == 500 * (100 + 1 + 1)
    assert stored["derpp"] == stored["replay"] + 500 * 6


@pytest.mark.parametrize("name", GENERAL)
def test_hooks_keep_the_shape_of_the_state(name):
    """A scan over tasks needs it."""
    problem = make_problem()
    modules = modules_of(problem)
    strategy = getattr(strategies, name)()
    assert isinstance(strategy, Strategy)
    state = strategy.init(problem, modules)
    task = jnp.int32(1)
    for changed in (
        strategy.before_task(problem, state, KEY, modules, task),
        strategy.after_step(problem, state, modules, modules, modules),
        strategy.after_task(problem, state, KEY, modules, task),
    ):
        assert jax.tree.structure(changed) == jax.tree.structure(state)
        for old, new in zip(jax.tree.leaves(state), jax.tree.leaves(changed), strict=True):
            assert (old.shape, old.dtype) == (new.shape, new.dtype)


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (ewc, {"mode": "offline"}, "`mode` must be one of online, separate"),
        (ewc, {"strength": -1.0}, "`strength` must be a number at least 0"),
        (si, {"damping": 0.0}, "`damping` must be a number above 0"),
        (gem, {"patterns": 0}, "`patterns` must be at least 1"),
        (replay, {"slots": 0}, "`slots` must be at least 1"),
        (replay, {"weight": 0.0}, "`weight` must be a number above 0"),
        (lwf, {"temperature": 0.0}, "`temperature` must be a number above 0"),
        (mas, {"keep": 2.0}, "at most 1"),
    ],
)
def test_options_out_of_range(make, options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)
