from functools import cache, partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from sffa_jax import (
    Schedule,
    backprop_learner,
    data,
    dense_layers,
    fit,
    make_samples,
    predict,
    samples_from,
    sffa,
)
from sffa_jax.core.network import Network
from sffa_jax.core.overlays import corner_one_hot
from sffa_jax.scale.sweep import seed_keys
from sffa_jax.training import saved
from sffa_jax.training.averages import averaged
from sffa_jax.training.evaluate import accuracy_of, accuracy_of_ranges, evaluate, score_samples
from sffa_jax.training.fit import start, train_epoch
from sffa_jax.training.learner import Learner
from sffa_jax.training.local import local_learner

RNG = np.random.default_rng(0)
LABELS = np.tile(np.arange(3), 20)
# A bright column for each class: learnable in a few steps.
IMAGES = (RNG.integers(0, 60, (60, 4, 4)) + 150 * np.eye(4)[LABELS][:, None, :]).astype(np.uint8)
SCALE = {"num_classes": 3, "mean": 0.3, "std": 0.25}
SAMPLES = make_samples(IMAGES, LABELS, **SCALE)


def sffa_learner():
    network = Network(dense_layers([8]), sffa(logit_scale=3.0, eps=0.1), corner_one_hot(), 3)
    return local_learner(network, optax.adam(1e-2))


LEARNERS = {
    "sffa": sffa_learner(),
    "bp": backprop_learner(dense_layers([8]), 3, optax.adam(1e-2)),
}


@cache
def fit_of(name):
    return jax.jit(lambda key: fit(LEARNERS[name], Schedule(8, 10), key, SAMPLES, SAMPLES))


@cache
def first_state(name):
    return jax.jit(LEARNERS[name].init)(jax.random.key(1), SAMPLES.scaled(SAMPLES.images))


@pytest.mark.parametrize("name", LEARNERS)
def test_fit_learns_and_repeats(name):
    run = fit_of(name)
    first, again = run(jax.random.key(3)), run(jax.random.key(3))
    chex.assert_trees_all_equal(first.history, again.history)
    curve = first.history.validation_accuracy
    assert first.progress.best_accuracy == curve.max() > 0.9
    assert first.progress.best_epoch == 1 + int(np.argmax(curve))
    tested = evaluate(LEARNERS[name], first.state, SAMPLES)
    assert tested.network == first.progress.best_accuracy
    other = run(jax.random.key(4))
    assert not np.array_equal(first.history.loss, other.history.loss)


@pytest.mark.parametrize("name", LEARNERS)
def test_seeds_together_equal_seeds_alone(name):
    run, keys = fit_of(name), seed_keys([0, 5, 9])
    together = jax.jit(jax.vmap(run))(keys).history.loss
    for i in range(3):
        # Rounding differs between the programs, and grows from step to step.
        np.testing.assert_allclose(together[i][:2], run(keys[i]).history.loss[:2], rtol=1e-4)


def test_double_precision_and_nan_checks():
    """The same code runs where a user has switched these on."""
    with jax.enable_x64(True), jax.debug_nans(True):
        samples = make_samples(IMAGES, LABELS, **SCALE)
        learner, schedule = LEARNERS["sffa"], Schedule(2, 20)
        history = jax.jit(lambda key: fit(learner, schedule, key, samples, samples).history)(
            jax.random.key(0)
        )
    assert np.isfinite(history.loss).all()


def test_one_compilation_serves_every_epoch_and_seed():
    learner = LEARNERS["bp"]

    @jax.jit
    @chex.assert_max_traces(n=1)
    def epoch(progress):
        return train_epoch(learner, Schedule(3, 10), progress, SAMPLES)[0]

    begin = jax.jit(lambda key: start(learner, key, SAMPLES))
    for seed in (0, 1):
        progress = begin(jax.random.key(seed))
        for _ in range(3):
            progress = epoch(progress)
    assert progress.epoch == 3


def test_an_epoch_meets_every_sample_once():
    counts = Learner(
        init=lambda key, x: jnp.zeros(60, jnp.int32),
        step=lambda seen, key, x, labels: (seen.at[labels].add(1), jnp.zeros(1)),
        scores=lambda state, x: jnp.zeros((1, len(x), 60)),
        num_classes=60,
    )
    samples = SAMPLES.replace(labels=jnp.arange(60), num_classes=60)

    @jax.jit
    def epoch(key):
        return train_epoch(counts, Schedule(1, 10), start(counts, key, samples), samples)[0]

    progress = epoch(jax.random.key(0))
    np.testing.assert_array_equal(progress.state, np.ones(60))


def test_no_key_is_used_twice():
    with jax.debug_key_reuse(True):
        run = jax.jit(lambda key: fit(LEARNERS["sffa"], Schedule(1, 20), key, SAMPLES, SAMPLES))
        run(jax.random.key(0))


def test_every_sample_is_scored_once(monkeypatch):
    """The last, partial chunk included."""
    monkeypatch.setattr("sffa_jax.training.evaluate.EVALUATION_CHUNK", 16)
    learner = LEARNERS["sffa"]
    state = first_state("sffa")
    chunked = score_samples(learner, state, SAMPLES)
    whole = jax.jit(learner.scores)(state, SAMPLES.scaled(SAMPLES.images))
    np.testing.assert_allclose(chunked, whole, rtol=1e-4, atol=1e-5)


def test_scores_are_compiled_once_and_bounded_in_memory(monkeypatch):
    """Also outside of `jit`, and with many classes."""
    sizes = []

    def scores(state, x):
        sizes.append(len(x))
        return jnp.zeros((1, len(x), 3))

    learner = Learner(lambda *_: None, lambda *_: None, scores, 3)
    monkeypatch.setattr("sffa_jax.training.evaluate.LABELED_IMAGES", 30)
    for _ in range(3):
        assert evaluate(learner, jnp.zeros(1), SAMPLES).network == pytest.approx(1 / 3)
    assert sizes == [10]


def test_a_diverged_network_is_right_about_nothing():
    learner = Learner(lambda *_: None, lambda *_: None, lambda s, x: jnp.full((1, len(x), 3), s), 3)
    assert evaluate(learner, jnp.nan, SAMPLES).network == 0
    assert evaluate(learner, jnp.float32(1), SAMPLES).network == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: Schedule(0, 10), ValueError, r"`epochs` must be at least 1, got 0"),
        (lambda: Schedule(1, 0), ValueError, r"`batch_size` must be at least 1, got 0"),
        (
            lambda: Schedule(1, 61).steps_per_epoch(60),
            ValueError,
            r"`batch_size` must be at most the 60 training samples, got 61",
        ),
    ],
)
def test_bad_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_the_last_state_without_a_validation_split():
    learner, calls = LEARNERS["bp"], []
    key, schedule = jax.random.key(3), Schedule(3, 20)

    def note(epoch, info):
        calls.append((int(epoch), float(info.loss[0])))

    result = jax.jit(lambda key: fit(learner, schedule, key, SAMPLES, callback=note))(key)
    jax.effects_barrier()
    assert result.history.validation_accuracy is None
    np.testing.assert_array_equal(result.history.loss[:, 0], [loss for _, loss in sorted(calls)])
    assert sorted(epoch for epoch, _ in calls) == [1, 2, 3]
    last = jax.jit(lambda key: fit(learner, schedule, key, SAMPLES, SAMPLES, select="last"))(key)
    chex.assert_trees_all_equal(result.state, last.state)
    with pytest.raises(ValueError, match="`select` must be 'last' without a validation split"):
        fit(learner, schedule, key, SAMPLES, select="best")


@pytest.mark.parametrize("name", LEARNERS)
def test_training_continues_from_a_state(name, tmp_path):
    learner, schedule, key = LEARNERS[name], Schedule(2, 20), jax.random.key(4)
    first = fit(learner, schedule, jax.random.key(3), SAMPLES)
    saved.save(tmp_path / "network", learner, first.state, SAMPLES)
    state = saved.load(tmp_path / "network", learner=learner).state
    continued = jax.jit(lambda key: fit(learner, schedule, key, SAMPLES, state=state))(key)
    # The same epochs by hand, from the weights and the moments of the optimizer.
    progress = start(learner, key, SAMPLES).replace(state=first.state, best=first.state)
    for _ in range(2):
        progress, _ = jax.jit(partial(train_epoch, learner, schedule))(progress, SAMPLES)
    chex.assert_trees_all_close(continued.state, progress.state, rtol=1e-5)
    other = LEARNERS["bp" if name == "sffa" else "sffa"]
    with pytest.raises(ValueError, match="`state` must have the structure, shapes and dtypes of"):
        fit(other, schedule, key, SAMPLES, state=state)
    without_optimizer = saved.load(tmp_path / "network").state
    with pytest.raises(ValueError, match=r"Pass `result.state` of `fit`, or `load\(path, learner"):
        fit(learner, schedule, key, SAMPLES, state=without_optimizer)


def test_a_given_state_draws_no_weights():
    learner, key = LEARNERS["bp"], jax.random.key(0)
    state = first_state("bp")
    program = jax.jit(lambda: start(learner, key, SAMPLES, state)).lower().as_text()
    drawing = jax.jit(lambda: start(learner, key, SAMPLES)).lower().as_text()
    assert ("erf_inv" in program, "erf_inv" in drawing) == (False, True)


@pytest.mark.parametrize("name", LEARNERS)
def test_predictions_are_what_is_evaluated(name):
    learner = LEARNERS[name]
    state = first_state(name)
    labels = predict(learner, state, SAMPLES)
    assert np.mean(labels == LABELS) == pytest.approx(
        float(evaluate(learner, state, SAMPLES).network)
    )
    np.testing.assert_array_equal(predict(learner, state, SAMPLES.scaled_images(IMAGES)), labels)
    with pytest.raises(TypeError, match="`images` must be scaled, got uint8"):
        predict(learner, state, jnp.asarray(IMAGES.reshape(60, -1)))


def test_the_number_of_classes_is_compared():
    learner, more = LEARNERS["bp"], SAMPLES.replace(num_classes=4)
    message = "`samples` must have the learner's 3 classes, got 4"
    with pytest.raises(ValueError, match=f"fit: {message}"):
        fit(learner, Schedule(1, 10), jax.random.key(0), more)
    with pytest.raises(ValueError, match=f"evaluate: {message}"):
        evaluate(learner, None, more)


def test_a_data_set_becomes_samples():
    digits = data.load("digits")
    train, validation, test = samples_from(digits, validation=0.2)
    assert len(train.labels) + len(validation.labels) == len(digits.train_labels)
    mean, std = data.statistics(np.asarray(train.images).reshape(-1, 8, 8))
    for samples in (train, validation, test):
        assert samples.num_classes == 10
        np.testing.assert_allclose(samples.mean, mean, rtol=1e-5)
        np.testing.assert_allclose(samples.std, std, rtol=1e-5)


def test_ranges_of_layers_by_hand():
    """A learner that scores layers 1 and 2 has the accuracy of that range."""
    scores = RNG.normal(size=(4, 30, 3)).astype(np.float32)
    labels = jnp.asarray(LABELS[:30])
    learner = LEARNERS["bp"]._replace(first_scored=1, last_scored=2)
    found, chosen = jax.jit(
        lambda scores: (accuracy_of_ranges(scores, labels), accuracy_of(learner, scores, labels))
    )(scores)
    for first, last in np.ndindex(4, 4):
        right = scores[first : last + 1].sum(0).argmax(-1) == LABELS[:30]
        expected = right.mean() if first <= last else 0
        np.testing.assert_allclose(found[first, last], expected, rtol=1e-6)
    assert chosen.network == found[1, 2]
    assert chosen.cumulated.tolist() == [found[0, 0], found[1, 1], found[1, 2], found[3, 3]]


def test_a_run_can_be_donated():
    learner, schedule = LEARNERS["sffa"], Schedule(1, 20)
    epoch = jax.jit(
        lambda progress: train_epoch(learner, schedule, progress, SAMPLES)[0], donate_argnums=0
    )
    assert epoch(start(learner, jax.random.key(0), SAMPLES)).epoch == 1


def test_a_sweep_over_a_rate_leaks_no_trace():
    def run(rate):
        network = Network(dense_layers([4]), sffa(), corner_one_hot(), 3)
        learner = local_learner(network, optax.adam(rate))
        result = fit(learner, Schedule(1, 20), jax.random.key(0), SAMPLES)
        return evaluate(learner, result.state, SAMPLES).network

    with jax.checking_leaks():
        assert jax.jit(run)(1e-2).shape == ()


@pytest.mark.parametrize("average", [False, True])
@pytest.mark.parametrize("name", LEARNERS)
def test_a_restart_keeps_the_weights_for_another_optimizer(name, average):
    learner, schedule = LEARNERS[name], Schedule(2, 20)
    wrap = partial(averaged, decay=0.9) if average else lambda learner: learner
    first = fit(wrap(learner), schedule, jax.random.key(3), SAMPLES).state
    decaying = optax.sgd(optax.cosine_decay_schedule(0.1, schedule.epochs * 3))
    other = wrap(learner.build(optimizer=decaying))
    with pytest.raises(ValueError, match=r"of the optimizer, `learner.restart\(state\)`"):
        fit(other, schedule, jax.random.key(4), SAMPLES, state=first)
    state = other.restart(first)
    inner = (lambda s: s.state) if average else (lambda s: s)
    # The weights that predict.
    chex.assert_trees_all_equal(inner(state).params, first.params)
    once = fit(other, schedule, jax.random.key(4), SAMPLES, state=state).state
    # A schedule that has ended changes nothing more, until it starts again.
    ended = fit(other, schedule, jax.random.key(5), SAMPLES, state=once).state
    chex.assert_trees_all_equal(inner(ended).params, inner(once).params)
    again = fit(other, schedule, jax.random.key(5), SAMPLES, state=other.restart(once)).state
    with pytest.raises(AssertionError, match="not equal"):
        chex.assert_trees_all_equal(inner(again).params, inner(once).params)


def test_one_layer_trains_further():
    network = Network(dense_layers([8, 6]), sffa(), corner_one_hot(), 3)
    schedule = Schedule(2, 20)
    first = fit(local_learner(network, optax.adam(1e-2)), schedule, jax.random.key(0), SAMPLES)
    last = local_learner(network, [optax.set_to_zero(), optax.sgd(0.1)])
    state = last.restart(first.state)
    after = fit(last, schedule, jax.random.key(1), SAMPLES, state=state).state
    chex.assert_trees_all_equal(after.layers[0].params, first.state.layers[0].params)
    with pytest.raises(AssertionError, match="not equal"):
        chex.assert_trees_all_equal(after.layers[1].params, first.state.layers[1].params)


def test_a_second_fit_compiles_nothing():
    traces = []

    def step(*arguments):
        traces.append(1)
        return LEARNERS["bp"].step(*arguments)

    learner = LEARNERS["bp"]._replace(step=step)
    results = [fit(learner, Schedule(2, 20), jax.random.key(0), SAMPLES) for _ in range(2)]
    chex.assert_trees_all_equal(*(result.state for result in results))
    assert len(traces) == 1


def test_a_learner_of_other_classes_is_refused_by_own_loops():
    learner = backprop_learner(dense_layers([8]), 2, optax.adam(1e-2))
    with pytest.raises(
        ValueError, match="start: `samples` must have the learner's 2 classes, got 3"
    ):
        start(learner, jax.random.key(0), SAMPLES)
    progress = start(LEARNERS["bp"], jax.random.key(0), SAMPLES)
    with pytest.raises(
        ValueError, match="train_epoch: `samples` must have the learner's 2 classes"
    ):
        train_epoch(learner, Schedule(1, 20), progress, SAMPLES)


def test_learning_rates_may_be_mapped_with_one_key():
    """Only the learner holds traced numbers then, which must not stay in the cache."""
    network = Network(dense_layers([8]), sffa(), corner_one_hot(), 3)
    key = jax.random.key(0)

    def last_loss(rate):
        learner = local_learner(network, optax.adam(rate))
        return fit(learner, Schedule(2, 20), key, SAMPLES).history.loss[-1]

    rates = jnp.array([1e-3, 1e-2])
    expected = [last_loss(float(r)) for r in rates]
    for transform in (jax.vmap, lambda f: jax.jit(jax.vmap(f))):
        with jax.checking_leaks():
            losses = transform(last_loss)(rates)
        np.testing.assert_allclose(losses, expected, rtol=1e-4)


def test_what_a_cache_cannot_hold_is_compiled_anew():
    class Log(list):  # unhashable, as lists are
        def __call__(self, epoch, info):
            self.append(int(epoch))

    log = Log()
    fit(LEARNERS["bp"], Schedule(2, 20), jax.random.key(0), SAMPLES, callback=log)
    jax.effects_barrier()
    assert sorted(log) == [1, 2]
