import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sffa_jax.core import rules
from sffa_jax.core.class_units import groups
from sffa_jax.core.losses import LOSSES


def test_next_layer_cannot_read_the_goodness():
    """After normalization all samples have the same goodness, whatever they had before."""
    h = np.float32(np.random.default_rng(0).uniform(size=(5, 8)) * np.arange(1.0, 6.0)[:, None])
    for rule in (rules.ffa(), rules.sffa()):
        before, after = jax.jit(
            lambda h, rule=rule: (rule.logit(h), rule.logit(rule.normalize(h)))
        )(h)
        assert np.ptp(before) > 0.1
        np.testing.assert_allclose(np.ptp(after), 0, atol=1e-5)


def test_normalize_keeps_zero_finite():
    for rule in (rules.ffa(), rules.sffa()):

        @jax.jit
        def value_and_pull(h, rule=rule):
            value, pull = jax.vjp(rule.normalize, h)
            return value, pull(jnp.ones((1, 4)))[0]

        value, slope = value_and_pull(np.zeros((1, 4), np.float32))
        np.testing.assert_array_equal(value, np.zeros((1, 4)))
        assert np.isfinite(slope).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: rules.ffa(threshold=0.0), r"ffa: `threshold` must be a number above 0, got 0"),
        (lambda: rules.sffa(logit_scale=float("nan")), r"sffa: `logit_scale` .* got nan"),
        (lambda: rules.sffa(activity_rate=0.0), r"`activity_rate` .* got 0.0. None: no factor"),
        (lambda: rules.sffa(clip=0.5), r"`clip` must .* got 0.5. None: no clipping"),
        (lambda: rules.sffa(measure="x"), r"sffa: `measure` must be one of mean_square"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_predictions_combine_layers_as_they_say():
    """Two layers with p = 0.8 and 0.4: their logits or their probabilities add."""
    logits = jnp.log(jnp.array([0.8 / 0.2, 0.4 / 0.6]))
    for name, expected in [
        ("logit", np.log(4 * 2 / 3)),
        ("probability", 1.2),
        (jax.nn.log_sigmoid, np.log(0.32)),
    ]:
        for make in (rules.ffa, rules.sffa):
            total = make(score=name).score(logits).sum()
            np.testing.assert_allclose(total, expected, rtol=1e-5)


def test_hyperparameters_may_be_traced():
    h, scales = jnp.array([2.0, 1.0]), jnp.array([1.0, 2.0])
    sharp = jax.vmap(lambda tau: rules.sffa(logit_scale=tau, eps=1e-9).logit(h))(scales)
    np.testing.assert_allclose(sharp, np.log(4) * np.array([1, 2]), rtol=1e-5)


@pytest.mark.parametrize("make", [rules.ffa, rules.sffa])
def test_clipped_probabilities_have_no_gradient(make):
    rule = make(clip=1e-4, logit_scale=50.0)
    h = np.float32([5.0, 5.0, 0.1, 0.1])
    p, slope = jax.jit(jax.value_and_grad(lambda h: jax.nn.sigmoid(rule.logit(h))))(h)
    assert p == pytest.approx(1 - 1e-4, rel=1e-6)
    np.testing.assert_array_equal(slope, np.zeros(4))
    weak = make(clip=1e-4, logit_scale=0.01)
    assert np.abs(jax.jit(jax.grad(weak.logit))(h)).sum() > 0


def test_choices_reach_the_loss():
    logits, targets = jnp.array([[0.3, -0.2]]), jnp.array([[True, False]])
    for name, loss in LOSSES.items():
        expected = loss(logits, targets)
        np.testing.assert_array_equal(rules.sffa(loss=name).loss(logits, targets), expected)
        np.testing.assert_array_equal(rules.ffa(loss=loss).loss(logits, targets), expected)


def test_normalize_can_be_chosen():
    h = jnp.array([[3.0, 4.0, 0.0, 1.0]])
    np.testing.assert_array_equal(rules.sffa(normalize="none").normalize(h), h)
    whole = rules.sffa(normalize="whole").normalize(h)
    np.testing.assert_allclose(whole, h / np.sqrt(26 / 4), rtol=1e-5)
    halves = rules.ffa(normalize="halves").normalize(h)
    expected = np.array([[3, 4, 0, 1]]) / np.sqrt([12.5, 12.5, 0.5, 0.5])
    np.testing.assert_allclose(halves, expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (lambda: rules.with_class_units(rules.ffa(), groups()), "must have no class units yet"),
        (lambda: rules.ffa(activity_rate=1.0), "must have no activity factor"),
    ],
)
def test_bad_rules_for_class_units(rule, message):
    with pytest.raises(ValueError, match=message):
        rules.with_class_units(rule(), groups())


def test_a_rule_of_ones_own():
    """`make_rule` with FFA's logit and options is FFA."""
    logit, h = rules.ffa().logit, jnp.array([[3.0, 4.0, 0.0, 1.0]])
    rule, expected = (
        rules.make_rule(logit, loss="symba", clip=0.1),
        rules.ffa(loss="symba", clip=0.1),
    )
    np.testing.assert_array_equal(rule.logit(h), expected.logit(h))
    np.testing.assert_array_equal(rule.normalize(h), expected.normalize(h))
    assert rule.loss is expected.loss
    polar = rules.make_rule(logit, polar=True)
    np.testing.assert_array_equal(polar.normalize(h), rules.sffa().normalize(h))


def test_unit_length_in_float16():
    rows = jnp.array([[0.0, 0.0], [300.0, 300.0], [3e-4, -3e-4]], jnp.float16)
    scaled = rules.unit_length(rows)
    assert scaled.dtype == jnp.float16
    np.testing.assert_allclose(scaled, [[0, 0], [1, 1], [0.949, -0.949]], rtol=1e-2)
