"""Mistakes that a new user makes: each ends in one sentence that names it, before any training."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from unchecked import no_shape_checks

import sffa_jax as sf
from sffa_jax.training import averages

ADAM, KEY, SCHEDULE = optax.adam(1e-3), jax.random.key(0), sf.Schedule(1, 4)
LAYERS = sf.dense_layers([4])
IMAGES, LABELS = np.zeros((8, 2, 2), np.uint8), np.arange(8) % 3
SAMPLES = sf.make_samples(IMAGES, LABELS, mean=0.0, std=1.0)


def network(layers=LAYERS, rule=None, overlay=None):
    overlay = sf.overlays.appended_gaussian() if overlay is None else overlay
    return sf.Network(layers, sf.sffa() if rule is None else rule, overlay, num_classes=3)


LEARNER = sf.local_learner(network(), ADAM)
BASELINE = sf.backprop_learner(LAYERS, 3, ADAM)


def states():
    """A state of the learner, of the baseline, and of a deeper network."""
    deep = sf.local_learner(network(sf.dense_layers([4, 4])), ADAM)
    x = SAMPLES.scaled(SAMPLES.images)
    return [jax.eval_shape(each.init, KEY, x) for each in (LEARNER, BASELINE, deep)]


def fit(learner=LEARNER, schedule=SCHEDULE, key=KEY, train=SAMPLES):
    return sf.fit(learner, schedule, key, train)


def result():
    """What `fit` returns, of which users pass the whole in place of its state."""
    return sf.FitResult(states()[0], None, None)


def trained_with(**changes):
    """One update by a rule or negatives of the user's own."""
    logit = changes.pop("logit", lambda h: h.sum(axis=-1))
    rule = sf.make_rule(logit, loss=changes.pop("loss", "bce"))
    return fit(sf.local_learner(network(rule=rule), ADAM, **changes))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: network(rule=sf.sffa), "`rule` must be a `LocalRule`, got function. Call the"),
        (lambda: network(rule="sffa"), "`rule` must be a `LocalRule`, got str"),
        (
            lambda: network(overlay=sf.overlays.none),
            r"`make_overlay` must be a function of \(key, input_shape, num_classes\), got none. C",
        ),
        (lambda: network(overlay="none"), "`make_overlay` must be a function .*, got 'none'"),
        (lambda: network(LAYERS[0]), "`layers` must be a sequence of layers, got a single one"),
        (lambda: network([200]), "`layers` must be a sequence of layers, got int. `dense_layers"),
        (lambda: network((nn.Dense(4),)), "`layers` must be a sequence of layers, got Dense"),
        (lambda: sf.make_rule(0.3), r"`logit` must be a function of \(activity\), got float"),
        (
            lambda: sf.make_rule(jnp.sum, loss=lambda logits, targets: logits),
            r"`loss` must be a function of \(logits, targets, allowed\), got <lambda>",
        ),
        (
            lambda: trained_with(negatives=lambda key, labels, classes: labels),
            r"`negatives` must be a function of \(key, labels, num_classes, scores\), got <lambda>",
        ),
        (
            lambda: sf.with_class_units(sf.sffa, sf.class_units.groups()),
            "with_class_units: `rule` must be a `LocalRule`, got function",
        ),
        (
            lambda: sf.with_class_units(sf.sffa(), sf.class_units.learned),
            r"`class_units` must be a function of \(num_classes, polar\), got learned",
        ),
        (lambda: sf.local_learner(LAYERS, ADAM), "`network` must be a `Network`, got tuple"),
        (
            lambda: sf.local_learner(network(), optax.adam),
            r"`optimizer` must be an optax optimizer, got function. `optax.adam\(1e-3\)` is one",
        ),
        (lambda: sf.local_learner(network(), [1e-3]), "`optimizer` must .*, got float"),
        (
            lambda: sf.local_learner(network(), optax.MultiSteps(ADAM, 2)),
            r"`optimizer` must be an optax optimizer, got MultiSteps. Of `optax.MultiSteps`, pass "
            r"its `gradient_transformation\(\)`",
        ),
        (lambda: sf.backprop_learner(LAYERS, 3, 1e-3), "`optimizer` must be .*, got float"),
        (lambda: sf.backprop_learner([4], 3, ADAM), "`layers` must be .*, got int"),
        (lambda: sf.continual.end_to_end(network(), 3), "`layers` must be .*, got Network"),
        (lambda: fit(learner=network()), "fit: `learner` must be a learner, got Network"),
        (lambda: fit(schedule=3), "fit: `schedule` must be a `Schedule`, got int"),
        (lambda: fit(key=0), r"fit: `key` must be a random key, got int. `jax.random.key\(0\)`"),
        (lambda: fit(key=jax.random.split(KEY)), r"got key<fry> of shape \(2,\)"),
        (lambda: fit(train=(IMAGES, LABELS)), "fit: `samples` must be `Samples`, got tuple"),
        (lambda: sf.samples_from("digits"), "`dataset` must be a `Dataset`, got str"),
        (lambda: sf.evaluate(network(), None, SAMPLES), "evaluate: `learner` must be a learner"),
        (
            lambda: sf.evaluate(LEARNER, result(), SAMPLES),
            r"`state` must be a state of this learner, got FitResult. `fit\(...\).state` is one",
        ),
        (lambda: sf.predict(BASELINE, result(), SAMPLES), "`state` must be .* got FitResult"),
        (lambda: sf.predict(LEARNER, states()[1], SAMPLES), "`state` must .* got BackpropState"),
        (
            lambda: sf.predict(averages.averaged(LEARNER, 0.9), result(), SAMPLES),
            "`state` must be a state of this learner, got FitResult",
        ),
    ],
)
def test_a_thing_of_another_kind(call, message):
    with no_shape_checks(), pytest.raises(TypeError, match=message):
        call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sf.evaluate(LEARNER, states()[2], SAMPLES), "`state` must have 1 layers, got 2"),
        (
            lambda: trained_with(logit=lambda h: h),
            r"`logit` must map activity \[..., units\] to \[...\], got \(4, 2, 4\) to \(4, 2, 4\)",
        ),
        (
            lambda: trained_with(loss=lambda logits, targets, allowed=None: logits.mean()),
            r"`loss` must return one value for each sample, got shape \(\). Expected shape \(4,\)",
        ),
        (
            lambda: trained_with(negatives=lambda key, labels, classes, scores: labels),
            r"`negatives` must return integers of shape \(6, candidates\), .* got int32 of shape",
        ),
        (lambda: sf.predict(LEARNER, None, IMAGES / 255), r"scaled rows, got shape \(8, 2, 2\)"),
        (
            lambda: sf.predict(LEARNER, None, np.full((8, 4), 200.0)),
            r"predict: `images` must be scaled, got a root mean square of 200. Call `train.scaled",
        ),
        (
            lambda: sf.predict(LEARNER, None, jnp.full((8, 4), 200.0)),
            "predict: `images` must be scaled, got a root mean square of 200",
        ),
    ],
)
def test_a_value_of_another_form(call, message):
    with no_shape_checks(), pytest.raises(ValueError, match=message):
        call()


def test_a_key_of_either_kind_is_accepted():
    with no_shape_checks():
        new, old = (fit(key=key).history.loss for key in (KEY, jax.random.PRNGKey(0)))
    np.testing.assert_array_equal(new, old)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: sf.Layer(nn.Dense(4), activation="tanh"),
            "`activation` must be a function of .h.",
        ),
        (lambda: sf.Schedule(1, 4, augment="shift"), "`augment` must be a function of .key, x."),
        (
            lambda: sf.rules.with_second_term(
                sf.with_class_units(sf.sffa(), sf.class_units.learned()), lambda h: h
            ),
            "`second_term` must be a `SecondTerm`, got function",
        ),
    ],
)
def test_parts_that_are_no_functions_or_terms_are_refused(make, message):
    with no_shape_checks(), pytest.raises(TypeError, match=message):
        make()
