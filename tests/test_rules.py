import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sffa_jax import rules


def test_next_layer_cannot_read_the_goodness():
    """After normalisation all samples have the same goodness, whatever they had before."""
    h = jax.random.uniform(jax.random.key(0), (5, 8)) * jnp.arange(1.0, 6.0)[:, None]
    for rule in (rules.ffa(), rules.sffa()):
        assert np.ptp(rule.goodness(h)) > 0.1
        np.testing.assert_allclose(np.ptp(rule.goodness(rule.normalise(h))), 0, atol=1e-5)


def test_normalise_keeps_zero_finite():
    for rule in (rules.ffa(), rules.sffa()):
        value, pull = jax.vjp(rule.normalise, jnp.zeros((1, 4)))
        np.testing.assert_array_equal(value, np.zeros((1, 4)))
        assert np.isfinite(pull(jnp.ones((1, 4)))[0]).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: rules.ffa(threshold=0.0), r"ffa: `threshold` must be a number above 0, got 0"),
        (lambda: rules.sffa(sharpness=float("nan")), r"sffa: `sharpness` .* got nan"),
        (lambda: rules.sffa(floor=-1.0), r"sffa: `floor` .* got -1"),
        (lambda: rules.ffa(loss="mse"), r"`loss` must be one of bce, softmax, got 'mse'"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_hyperparameters_may_be_traced():
    sharp = jax.vmap(lambda tau: rules.sffa(sharpness=tau).goodness(jnp.array([2.0, 1.0])))(
        jnp.array([1.0, 2.0])
    )
    np.testing.assert_allclose(sharp, np.log(4) * np.array([1, 2]), rtol=1e-5)
