import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sffa_jax.core import class_units, rules

RNG = np.random.default_rng(0)


def logits_and_found(own, rule, h):
    """The first logits of the units' shares, and the rule's logits of the activity `h`."""

    @jax.jit
    def both(key, h):
        logits = own.init(key, h.shape[2:])
        return logits, rule.logit(own.select(logits, h))

    return map(np.asarray, both(jax.random.key(0), h))


@pytest.mark.parametrize("polar", [True, False])
def test_groups_by_hand(polar):
    """Each class's logit is that of its own units, half by half."""
    rule = rules.sffa(eps=0.1) if polar else rules.ffa()
    h = RNG.uniform(size=(5, 1, 12)).astype(np.float32)
    logit, select = jax.jit(rule.logit), class_units.groups()(3, polar).select
    found = np.asarray(jax.jit(lambda h: rule.logit(select(None, h)))(h))
    assert found.shape == (5, 3)
    for c in range(3):
        own = [2 * c, 2 * c + 1, 6 + 2 * c, 7 + 2 * c] if polar else list(range(4 * c, 4 * c + 4))
        np.testing.assert_allclose(found[:, c], logit(h[:, 0, own]), rtol=1e-5)


def test_a_unit_of_a_group_moves_its_own_class_alone():
    rule, own = rules.sffa(eps=0.1), class_units.groups()(3, True)
    slopes = jax.jit(jax.jacobian(lambda h: rule.logit(own.select(None, h[None, None]))[0]))(
        np.arange(1.0, 13.0, dtype=np.float32)
    )
    slopes = np.asarray(slopes)
    owner = np.tile(np.repeat(np.arange(3), 2), 2)
    np.testing.assert_array_equal(slopes != 0, np.arange(3)[:, None] == owner)


def test_learned_polarity_by_hand():
    """SFFA's goodness, every unit split between a class's positive and its negative half."""
    own = class_units.learned()(3, True)
    h = RNG.normal(size=(5, 1, 8)).astype(np.float32)
    logits, found = logits_and_found(own, rules.sffa(logit_scale=2.0, eps=1e-3), h)
    assert logits.shape == (2, 3, 8)
    p = np.exp(logits) / np.exp(logits).sum(0)
    squares = np.square(h[:, 0])
    for c in range(3):
        plus, minus = (squares * p[0, c]).mean(1), (squares * p[1, c]).mean(1)
        expected = 2 * (np.log(plus + 1e-3) - np.log(minus + 1e-3))
        np.testing.assert_allclose(found[:, c], expected, rtol=1e-4, atol=1e-5)


def test_a_faster_polarity_starts_closer_to_neutral():
    """Log-odds of p: half as large at twice the rate, and twice as fast."""
    fast, slow = class_units.learned(rate=2.0)(3, True), class_units.learned()(3, True)
    h = jnp.asarray(RNG.normal(size=(5, 1, 8)).astype(np.float32))
    drawn = [of.init(jax.random.key(0), (8,)) for of in (fast, slow)]
    np.testing.assert_allclose(drawn[0], drawn[1] / 4, rtol=1e-6)
    found, expected = fast.select(drawn[0], h), slow.select(2 * drawn[0], h)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    plus, minus = np.asarray(slow.init(jax.random.key(0), (5000,)))
    np.testing.assert_allclose((plus - minus).std(), 0.7, atol=0.02)


def test_learned_shares_without_halves_by_hand():
    """FFA's goodness; a unit's shares add up to the number of classes."""
    own = class_units.learned()(3, False)
    h = RNG.normal(size=(5, 1, 8)).astype(np.float32)
    logits, found = logits_and_found(own, rules.ffa(threshold=0.5, logit_scale=2.0), h)
    shares = 3 * np.exp(logits[0]) / np.exp(logits[0]).sum(0)
    expected = 2 * ((np.square(h) * shares).mean(2) - 0.5)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_polarity_over_averaged_places_by_hand():
    """5 x 4 maps in squares of side 3; those at the edges are incomplete."""
    own = class_units.learned(places=10)(3, True)
    h = RNG.normal(size=(2, 1, 5, 4, 2)).astype(np.float32)
    logits = np.asarray(own.init(jax.random.key(0), h.shape[2:]))
    assert logits.shape == (2, 3, 8)
    neurons = jax.jit(lambda p, h: own.select(p, h, unit_axes=3))(jnp.asarray(logits), h)
    p = np.exp(logits) / np.exp(logits).sum(0)
    for a in range(2):
        squares = [
            np.square(h[a, 0, top : top + 3, left : left + 3, map_]).mean()
            for map_, top, left in np.ndindex(2, 2, 2)
            for top, left in [(3 * top, 3 * left)]
        ]
        for half, c in np.ndindex(2, 3):
            expected = np.sqrt(np.mean(squares * p[half, c]))
            np.testing.assert_allclose(neurons[a, c, half], expected, rtol=1e-4)


def test_linear_head_by_hand():
    own = class_units.linear(places=2)(3, False)
    params = own.init(jax.random.key(0), (2, 2, 2))
    h = RNG.normal(size=(4, 1, 2, 2, 2)).astype(np.float32)
    scores = jax.jit(lambda p, h: own.select(p, h, unit_axes=3))(params, h)
    expected = h[:, 0].mean((1, 2)) @ np.asarray(params["kernel"]) + np.asarray(params["bias"])
    assert own.is_head
    np.testing.assert_allclose(scores[..., 0], expected, rtol=1e-4, atol=1e-5)


def test_certain_shares_are_groups():
    """Shares near 0 and 1 give what fixed groups of one class each give."""
    h = RNG.uniform(size=(5, 1, 6)).astype(np.float32)
    owner = np.repeat(np.arange(3), 2)
    logits = np.float32(50.0 * (np.arange(3)[:, None] == owner)[None])
    select = class_units.learned()(3, False).select, class_units.groups()(3, False).select
    found, by_group = map(
        np.asarray, jax.jit(lambda h: (select[0](jnp.asarray(logits), h), select[1](None, h)))(h)
    )
    np.testing.assert_allclose(found[..., 0], np.sqrt(np.square(by_group).mean(-1)), rtol=1e-4)


def test_slopes_are_finite_at_rest():
    own, rule = class_units.learned()(2, True), rules.sffa(eps=1e-6)

    @jax.jit
    def slopes_at(h):
        logits = own.init(jax.random.key(0), (4,))
        return jax.grad(lambda h: rule.logit(own.select(logits, h)).sum())(h)

    slopes = slopes_at(np.zeros((1, 1, 4), np.float32))
    assert np.isfinite(slopes).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: class_units.groups()(3, True).select(
                None, jnp.asarray(np.ones((2, 1, 8), np.float32))
            ),
            "3 classes can share in each half, got shape .* multiple of 6",
        ),
        (
            lambda: class_units.groups()(2, False).select(
                None, jnp.asarray(np.ones((2, 3, 8), np.float32))
            ),
            "must contain no label: one candidate",
        ),
        (
            lambda: class_units.learned()(2, False).select(
                jnp.asarray(np.ones((1, 2, 8), np.float32)),
                jnp.asarray(np.ones((2, 3, 8), np.float32)),
            ),
            "must contain no label: one candidate",
        ),
    ],
)
def test_bad_class_units(make, message):
    with pytest.raises(ValueError, match=message):
        make()
