import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sffa_jax.core import overlays

X = jax.random.normal(jax.random.key(0), (3, 12))
LABELS = jnp.array([0, 3, 1])


def draw(make_overlay, features=12, num_classes=4, seed=1):
    return make_overlay(jax.random.key(seed), (features,), num_classes)


def test_corner_one_hot_overwrites_the_first_pixels():
    out = overlays.overlay_inputs(draw(overlays.corner_one_hot(value=2.0)), X, LABELS)
    expected = np.array(X)
    expected[:, :4] = 2.0 * np.eye(4)[np.array(LABELS)]
    np.testing.assert_allclose(out, expected)


def test_appended_pattern_is_the_classes_own_binary_code():
    overlay = draw(overlays.appended_pattern(size=200, density=0.25))
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
        (
            lambda: draw(overlays.corner_one_hot(), features=3),
            r"`num_classes` must fit into the 3 input",
        ),
        (lambda: overlays.appended_pattern(size=0), r"`size` must"),
        (
            lambda: overlays.overlay_inputs(
                draw(overlays.corner_one_hot()), X, jnp.array([0, 4, -1])
            ),
            r"`labels` must lie in \[0, 4\), got min -1, max 4",
        ),
        (
            lambda: overlays.parts(draw(overlays.corner_one_hot(), features=9), X),
            r"`x` must have samples of the overlay's shape \(9,\), got shape \(3, 12\)",
        ),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_image_wave_is_a_plane_sine_per_class():
    overlay = draw(overlays.image_wave((5, 6, 2), lowest=0.2, highest=0.9), features=60, seed=3)
    wave = np.array(overlay.pattern).reshape(4, 5, 6, 2)
    np.testing.assert_array_equal(wave[..., 0], wave[..., 1])
    for c in range(4):
        a, b = np.arcsin(wave[c, 1, 0, 0]), np.arcsin(wave[c, 0, 1, 0])
        assert 0.2 <= abs(a) <= 0.9
        assert 0.2 <= abs(b) <= 0.9
        expected = np.sin(a * np.arange(5)[:, None] + b * np.arange(6)[None, :])
        np.testing.assert_allclose(wave[c, ..., 0], expected, atol=1e-4)
    images = jax.random.normal(jax.random.key(4), (3, 60))
    out = overlays.overlay_inputs(overlay, images, LABELS)
    np.testing.assert_allclose(out, images + overlay.pattern[LABELS], rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_shape": (5,)}, r"`image_shape` must be \(height, width"),
        ({"image_shape": (5, 5), "lowest": 0.0}, r"`lowest` must be a number above 0"),
        ({"image_shape": (5, 5), "highest": 0.01}, r"`highest` must be a number at least 0.1"),
    ],
)
def test_bad_waves(options, message):
    with pytest.raises(ValueError, match=message):
        overlays.image_wave(**options)


def test_a_wave_of_another_size():
    with pytest.raises(ValueError, match=r"`image_shape` must have the 12 pixels .* \(5, 5, 1\)"):
        draw(overlays.image_wave((5, 5)))
