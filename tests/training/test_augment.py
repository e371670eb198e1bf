import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sffa_jax.training import augment

KEY = jax.random.key(0)
X = jax.random.normal(jax.random.key(1), (40, 4 * 5 * 2))


def test_dropout_keeps_the_mean_and_drops_its_share():
    out = np.array(augment.input_dropout(0.25)(KEY, jnp.ones((200, 50))))
    assert set(np.unique(out)) == {0.0, np.float32(1 / 0.75)}
    assert 0.2 < np.mean(out == 0) < 0.3
    np.testing.assert_array_equal(augment.input_dropout(0.0)(KEY, X), X)


def test_every_shift_is_a_shift_and_all_occur():
    background = 0.5
    out = np.array(augment.shift((4, 5, 2), 1, background)(KEY, X)).reshape(40, 4, 5, 2)
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


def test_no_shift_is_the_identity():
    np.testing.assert_allclose(augment.shift((4, 5, 2), 0)(KEY, X), X)


def test_flip_mirrors_about_half():
    out = np.array(augment.flip((4, 5, 2))(KEY, X)).reshape(40, 4, 5, 2)
    images = np.array(X).reshape(40, 4, 5, 2)
    same = [np.array_equal(a, b) for a, b in zip(images, out, strict=True)]
    mirrored = [np.array_equal(a[:, ::-1], b) for a, b in zip(images, out, strict=True)]
    assert all(a != b for a, b in zip(same, mirrored, strict=True))
    assert 8 < sum(same) < 32


def test_a_chain_gives_each_step_its_own_key():
    assert augment.chain([]) is None
    twice = augment.chain([augment.input_dropout(0.5), augment.input_dropout(0.5)])
    out = np.array(twice(KEY, jnp.ones((200, 50))))
    assert 0.7 < np.mean(out == 0) < 0.8


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: augment.input_dropout(1.0), r"`rate` must .* got 1.0"),
        (lambda: augment.shift((4, 5), -1), r"`pixels` must be at least 0, got -1"),
        (lambda: augment.shift((4, 5), 4), r"`pixels` must be below the images' 4 pixels, got 4"),
        (
            lambda: augment.flip((4,)),
            r"`shape` must be \(height, width\[, channels\]\), got \(4,\)",
        ),
    ],
)
def test_bad_augmentations(make, message):
    with pytest.raises(ValueError, match=message):
        make()
