import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sffa_jax import overlays

X = jax.random.normal(jax.random.key(0), (3, 12))
LABELS = jnp.array([0, 3, 1])


def test_corner_one_hot_overwrites_the_first_pixels():
    out = overlays.overlay_inputs(overlays.corner_one_hot(12, 4, value=2.0), X, LABELS)
    expected = np.array(X)
    expected[:, :4] = 2.0 * np.eye(4)[np.array(LABELS)]
    np.testing.assert_allclose(out, expected)


def test_appended_pattern_is_the_classes_own_binary_code():
    overlay = overlays.appended_pattern(jax.random.key(1), 4, size=200, density=0.25)
    out = np.array(overlays.overlay_inputs(overlay, X, LABELS))
    np.testing.assert_array_equal(out[:, :12], X)
    assert set(np.unique(out[:, 12:])) == {0.0, 1.0}
    assert 0.15 < out[:, 12:].mean() < 0.35
    assert not np.array_equal(out[0, 12:], out[1, 12:])
    again = overlays.overlay_inputs(overlay, X, jnp.array([0, 0, 0]))
    np.testing.assert_array_equal(again[1, 12:], out[0, 12:])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: overlays.corner_one_hot(3, 4), r"`num_classes` must fit into the 3 input"),
        (
            lambda: overlays.appended_pattern(jax.random.key(0), 4, density=1.5),
            r"`density` must .* got 1.5",
        ),
        (lambda: overlays.appended_pattern(jax.random.key(0), 4, size=0), r"`size` must"),
        (
            lambda: overlays.overlay_inputs(
                overlays.corner_one_hot(12, 4), X, jnp.array([0, 4, -1])
            ),
            r"`labels` must lie in \[0, 4\), got min -1, max 4",
        ),
        (
            lambda: overlays.parts(overlays.corner_one_hot(9, 4), X),
            r"`x` must have samples of the overlay's shape \(9,\), got shape \(3, 12\)",
        ),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()
