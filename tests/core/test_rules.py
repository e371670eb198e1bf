import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sffa_jax.core import rules
from sffa_jax.core.class_units import groups


def test_next_layer_cannot_read_the_goodness():
    """After normalization all samples have the same goodness, whatever they had before."""
    h = jax.random.uniform(jax.random.key(0), (5, 8)) * jnp.arange(1.0, 6.0)[:, None]
    for rule in (rules.ffa(), rules.sffa()):
        assert np.ptp(rule.goodness(h)) > 0.1
        np.testing.assert_allclose(np.ptp(rule.goodness(rule.normalize(h))), 0, atol=1e-5)


def test_normalize_keeps_zero_finite():
    for rule in (rules.ffa(), rules.sffa()):
        value, pull = jax.vjp(rule.normalize, jnp.zeros((1, 4)))
        np.testing.assert_array_equal(value, np.zeros((1, 4)))
        assert np.isfinite(pull(jnp.ones((1, 4)))[0]).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: rules.ffa(threshold=0.0), r"ffa: `threshold` must be a number above 0, got 0"),
        (lambda: rules.sffa(logit_scale=float("nan")), r"sffa: `logit_scale` .* got nan"),
        (lambda: rules.sffa(eps=-1.0), r"sffa: `eps` .* got -1"),
        (lambda: rules.sffa(activity_rate=0.0), r"`activity_rate` .* got 0.0. None leaves"),
        (lambda: rules.ffa(prediction="max"), r"`prediction` must be one of log_odds, log_prob"),
        (lambda: rules.ffa(loss="mse"), r"`loss` must be one of bce, softmax, symba, got 'mse'"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_predictions_combine_layers_as_they_say():
    """Two layers with p = 0.8 and 0.4: log-odds add, probabilities add or multiply."""
    log_odds = jnp.log(jnp.array([0.8 / 0.2, 0.4 / 0.6]))
    for name, expected in [
        ("log_odds", np.log(4 * 2 / 3)),
        ("probability", 1.2),
        ("log_probability", np.log(0.32)),
    ]:
        for make in (rules.ffa, rules.sffa):
            total = make(prediction=name).score(log_odds).sum()
            np.testing.assert_allclose(total, expected, rtol=1e-5)


def test_hyperparameters_may_be_traced():
    sharp = jax.vmap(lambda tau: rules.sffa(logit_scale=tau).goodness(jnp.array([2.0, 1.0])))(
        jnp.array([1.0, 2.0])
    )
    np.testing.assert_allclose(sharp, np.log(4) * np.array([1, 2]), rtol=1e-5)


def test_polar_ffa_decides_by_the_difference():
    h = jnp.array([1.0, 3.0, 2.0, 1.0])
    assert rules.polar_ffa(logit_scale=2.0).goodness(h) == pytest.approx(2 * (5 - 2.5))
    assert rules.polar_ffa(measure="sum", threshold=0.5).goodness(h) == pytest.approx(0.5)


@pytest.mark.parametrize("make", [rules.ffa, rules.sffa, rules.polar_ffa])
def test_clipped_probabilities_have_no_gradient(make):
    rule = make(clip=1e-4, logit_scale=50.0)
    h = jnp.array([5.0, 5.0, 0.1, 0.1])
    p, slope = jax.value_and_grad(lambda h: jax.nn.sigmoid(rule.goodness(h)))(h)
    assert p == pytest.approx(1 - 1e-4, rel=1e-6)
    np.testing.assert_array_equal(slope, np.zeros(4))
    weak = make(clip=1e-4, logit_scale=0.01)
    assert float(jnp.abs(jax.grad(weak.goodness)(h)).sum()) > 0


def test_choices_reach_the_loss():
    log_odds, targets = jnp.array([[0.3, -0.2]]), jnp.array([[True, False]])
    plain = rules.sffa().loss(log_odds, targets)
    assert rules.sffa(margin=1.0).loss(log_odds, targets) > plain
    smooth = rules.ffa(loss="softmax", label_smoothing=0.2).loss(log_odds, targets)
    assert smooth > rules.ffa(loss="softmax").loss(log_odds, targets)


def test_normalize_can_be_chosen():
    h = jnp.array([[3.0, 4.0, 0.0, 1.0]])
    np.testing.assert_array_equal(rules.sffa(normalize="none").normalize(h), h)
    whole = rules.sffa(normalize="whole").normalize(h)
    np.testing.assert_allclose(whole, h / np.sqrt(26 / 4), rtol=1e-5)
    halves = rules.ffa(normalize="halves").normalize(h)
    expected = np.array([[3, 4, 0, 1]]) / np.sqrt([12.5, 12.5, 0.5, 0.5])
    np.testing.assert_allclose(halves, expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: rules.ffa(normalize="l1"), r"`normalize` must be one of halves, none, whole"),
        (lambda: rules.sffa(clip=0.5), r"`clip` must .* got 0.5. None does not clip"),
        (lambda: rules.sffa(margin=-1.0), r"`margin` must .* got -1"),
        (lambda: rules.sffa(label_smoothing=2.0), r"`label_smoothing` must .* got 2"),
        (lambda: rules.polar_ffa(measure="x"), r"polar_ffa: `measure` must be one of mean"),
        (lambda: rules.polar_ffa(logit_scale=0.0), r"polar_ffa: `logit_scale` must .* got 0"),
    ],
)
def test_bad_choices(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (lambda: rules.owned(rules.ffa(), groups(2, polar=False)), "no class owns yet, .* 2 cl"),
        (lambda: rules.ffa(activity_rate=1.0), "must have no activity factor"),
    ],
)
def test_bad_owned_rules(rule, message):
    with pytest.raises(ValueError, match=message):
        rules.owned(rule(), groups(2, polar=False))
