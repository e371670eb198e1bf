"""What becomes of neurons, against hand-worked cases."""

import jax
import jax.numpy as jnp
import numpy as np

from sffa_jax.analysis import drift


def test_turnover():
    before = jnp.array([0, 0, 1, 1, -1, -1, 2, 0])
    after = jnp.array([0, 1, 1, -1, 3, -1, 2, 0])
    found = drift.turnover(before, after)
    np.testing.assert_allclose(found, np.array([4, 1, 1, 1, 1]) / 8)


def test_cka_sees_through_rotation_and_scale_alone():
    a = jax.random.normal(jax.random.key(0), (200, 6))
    rotation = jnp.linalg.qr(jax.random.normal(jax.random.key(1), (6, 6)))[0]
    np.testing.assert_allclose(drift.linear_cka(a, 3 * a @ rotation + 1), 1, rtol=1e-4)
    other = jax.random.normal(jax.random.key(2), (200, 6))
    assert drift.linear_cka(a, other) < 0.1
