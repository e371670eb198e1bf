import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.ndimage
from unchecked import no_shape_checks

from sffa_jax import Schedule, backprop_learner, dense_layers, make_samples
from sffa_jax.training import augment
from sffa_jax.training.fit import training_inputs

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
X = jnp.asarray(RNG.normal(size=(40, 4 * 5 * 2)), jnp.float32)
IMAGES = jnp.asarray(RNG.normal(size=(4, 81)), jnp.float32)
ONES = jnp.asarray(np.ones((200, 50), np.float32))


def test_dropout_keeps_the_mean_and_drops_its_share():
    out = np.array(jax.jit(augment.input_dropout(0.25))(KEY, ONES))
    assert set(np.unique(out)) == {0.0, np.float32(1 / 0.75)}
    assert 0.2 < np.mean(out == 0) < 0.3
    np.testing.assert_array_equal(jax.jit(augment.input_dropout(0.0))(KEY, X), X)


def test_every_shift_is_a_shift_and_all_occur():
    background = 0.5
    out = np.array(jax.jit(augment.shift((4, 5, 2), 1, background))(KEY, X)).reshape(40, 4, 5, 2)
    seen = set()
    for image, moved in zip(np.array(X).reshape(40, 4, 5, 2), out, strict=True):
        padded = np.pad(image - background, ((1, 1), (1, 1), (0, 0))) + background
        matches = [
            (i, j)
            for i in range(3)
            for j in range(3)
            if np.allclose(padded[i : i + 4, j : j + 5], moved, atol=1e-6)
        ]
        assert len(matches) == 1
        seen.add(matches[0])
    assert len(seen) == 9


def test_a_reflected_shift_is_a_window_of_the_mirrored_image():
    out = np.array(jax.jit(augment.shift((4, 5, 2), 2, edges="reflect"))(KEY, X)).reshape(
        40, 4, 5, 2
    )
    for image, moved in zip(np.array(X).reshape(40, 4, 5, 2), out, strict=True):
        mirrored = np.pad(image, ((2, 2), (2, 2), (0, 0)), "reflect")
        windows = np.lib.stride_tricks.sliding_window_view(mirrored, (4, 5, 2))
        assert (windows.reshape(-1, 4, 5, 2) == moved).all(axis=(1, 2, 3)).sum() == 1


def test_cutout_covers_one_square_in_all_channels():
    out = np.array(jax.jit(augment.cutout((4, 5, 2), 3, 9.0))(KEY, X)).reshape(40, 4, 5, 2)
    images = np.array(X).reshape(40, 4, 5, 2)
    covered = out == 9.0
    np.testing.assert_array_equal(out[~covered], images[~covered])
    np.testing.assert_array_equal(covered[..., 0], covered[..., 1])
    sizes = set()
    for square in covered[..., 0]:
        rows, columns = square.any(axis=1), square.any(axis=0)
        np.testing.assert_array_equal(square, np.outer(rows, columns))
        for side in (rows, columns):
            assert np.ptp(np.flatnonzero(side)) + 1 == side.sum() <= 3
        sizes.add((int(rows.sum()), int(columns.sum())))
    assert (3, 3) in sizes
    assert (2, 2) in sizes  # at a corner


def test_affine_turns_about_the_center():
    """scipy turns the same images by the angles that the key draws."""
    out = np.asarray(jax.jit(augment.affine((9, 9), 30.0, 0.2, 0.5))(KEY, IMAGES))

    @jax.jit
    def drawn():
        key_angle, key_zoom = jax.random.split(KEY)
        bound = np.log(1.2)
        zooms = jax.random.uniform(key_zoom, (4, 2), minval=-bound, maxval=bound)
        return jax.random.uniform(key_angle, (4,), minval=-30, maxval=30), zooms

    angles, zooms = map(np.asarray, drawn())
    angles, factors = np.deg2rad(angles), np.exp(zooms)
    for i, image in enumerate(np.array(IMAGES).reshape(4, 9, 9)):
        cos, sin = np.cos(angles[i]), np.sin(angles[i])
        matrix = np.array([[cos, -sin], [sin, cos]]) * factors[i]
        expected = scipy.ndimage.affine_transform(
            image - 0.5, matrix, np.array([4, 4]) - matrix @ [4, 4], order=1
        )
        inside = np.abs(out[i].reshape(9, 9) - 0.5 - expected) < 1e-4
        assert inside[1:-1, 1:-1].all()  # at the edge the two libraries interpolate differently


def test_no_angle_and_no_zoom_is_the_identity():
    np.testing.assert_allclose(jax.jit(augment.affine((9, 9), 0.0))(KEY, IMAGES), IMAGES, atol=1e-6)


def test_no_shift_is_the_identity():
    np.testing.assert_allclose(jax.jit(augment.shift((4, 5, 2), 0))(KEY, X), X)


def test_flip_mirrors_about_half():
    out = np.array(jax.jit(augment.flip((4, 5, 2)))(KEY, X)).reshape(40, 4, 5, 2)
    images = np.array(X).reshape(40, 4, 5, 2)
    same = [np.array_equal(a, b) for a, b in zip(images, out, strict=True)]
    mirrored = [np.array_equal(a[:, ::-1], b) for a, b in zip(images, out, strict=True)]
    assert all(a != b for a, b in zip(same, mirrored, strict=True))
    assert 8 < sum(same) < 32


def test_mirrored_scores_by_hand():
    """The mean over an image and its mirror image, pixel by pixel; training is the learner's."""
    plain, x = backprop_learner(dense_layers([4]), 3, optax.adam(1e-1)), X[:6, :5]
    learner = augment.mirrored(plain, (1, 5))
    with no_shape_checks():
        state = plain.init(KEY, x)
        expected = np.mean([plain.scores(state, each) for each in (x, x[:, ::-1])], axis=0)
        np.testing.assert_allclose(learner.scores(state, x), expected, rtol=1e-5)
        wide = augment.mirrored(plain._replace(scores=lambda state, x: x[None]), (2, 2))
        images = jnp.arange(4.0)[None]
        np.testing.assert_allclose(wide.scores(None, images)[0], [[0.5, 0.5, 2.5, 2.5]])
    assert learner.step is plain.step


def test_a_chain_gives_each_step_its_own_key():
    assert augment.chain([]) is None
    twice = augment.chain([augment.input_dropout(0.5), augment.input_dropout(0.5)])
    out = np.array(jax.jit(twice)(KEY, ONES))
    assert 0.7 < np.mean(out == 0) < 0.8


def test_augmentation_and_layers_draw_different_numbers():
    """Of the key of one update."""
    drawn = []
    steps = [lambda key, x: (drawn.append(key), x)[1]] * 3
    samples = make_samples(np.zeros((2, 2, 2), np.uint8), [0, 1], mean=0.0, std=1.0)
    training_inputs(Schedule(1, 2, augment.chain(steps)), KEY, samples)
    (layer,) = dense_layers([4], dropout=0.5)
    drawn += [KEY, *(layer.key(KEY, k) for k in range(3))]
    assert len({tuple(jax.random.key_data(key).tolist()) for key in drawn}) == 7


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: augment.input_dropout(1.0), r"`rate` must .* got 1.0"),
        (lambda: augment.shift((4, 5), -1), r"`pixels` must be at least 0, got -1"),
        (lambda: augment.shift((4, 5), 4), r"`pixels` must be below the images' 4 pixels, got 4"),
        (lambda: augment.cutout((4, 5), 0), r"`side` must be at least 1, got 0"),
        (lambda: augment.affine((4, 5), 181.0), r"`degrees` must be .* at most 180.*, got 181.0"),
        (lambda: augment.affine((4, 5), 1.0, 2.0), r"`zoom` must be .*, got 2.0"),
        (
            lambda: augment.flip((4,)),
            r"`shape` must be \(height, width\[, channels\]\), got \(4,\)",
        ),
    ],
)
def test_bad_augmentations(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_images_of_other_channels_are_not_mirrored():
    """Three channels read as three images would be scrambled."""
    scored = augment.mirrored(backprop_learner(dense_layers([4]), 3, optax.adam(1e-1)), (4, 4))
    with pytest.raises(TypeError, match="reshape"):
        scored.scores(None, jnp.zeros((1, 48)))
    with pytest.raises(TypeError, match="reshape"):
        augment.flip((4, 4))(KEY, jnp.zeros((1, 48)))
