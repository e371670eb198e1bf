"""Samples: floats as welcome as pixels, and what is checked before and while tracing."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from arguments import users_settings

from sffa_jax import backprop_learner, dense_layers, evaluate, make_samples, sffa
from sffa_jax.core.network import Network
from sffa_jax.core.overlays import appended_gaussian
from sffa_jax.training.evaluate import predict
from sffa_jax.training.local import local_learner
from sffa_jax.training.samples import Samples

__all__ = ["users_settings"]

RNG = np.random.default_rng(0)
IMAGES, LABELS = RNG.integers(0, 256, (60, 4, 4)).astype(np.uint8), np.tile(np.arange(3), 20)
SCALE = {"num_classes": 3, "mean": 0.3, "std": 0.25}
SAMPLES = make_samples(IMAGES, LABELS, **SCALE)
EXPECTED = (IMAGES.reshape(60, 16) / 255 - 0.3) / 0.25
LEARNERS = {
    "local_learner": local_learner(
        Network(dense_layers([4]), sffa(), appended_gaussian(size=2), 3), optax.adam(1e-2)
    ),
    "backprop_learner": backprop_learner(dense_layers([4]), 3, optax.adam(1e-2)),
}


def test_pixels_are_scaled_on_the_device():
    assert SAMPLES.images.dtype == jnp.uint8
    np.testing.assert_allclose(SAMPLES.scaled(SAMPLES.images), EXPECTED, rtol=1e-5, atol=1e-6)


def test_color_is_scaled_by_channel():
    images = RNG.integers(0, 256, (6, 4, 4, 3)).astype(np.uint8)
    mean, std = np.array([0.1, 0.2, 0.3]), np.array([1.0, 2.0, 4.0])
    samples = make_samples(images, LABELS[:6], num_classes=3, mean=mean, std=std)
    expected = ((images / 255 - mean) / std).reshape(6, -1)
    np.testing.assert_allclose(samples.scaled(samples.images), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("images", "scale"),
    [
        (IMAGES / 255, SCALE),
        (EXPECTED.reshape(IMAGES.shape), SCALE | {"mean": 0, "std": 1}),
        ((IMAGES / 255).reshape(60, -1), SCALE),
        (IMAGES.astype(float), SCALE | {"mean": 0.3 * 255, "std": 0.25 * 255}),
    ],
    ids=["unit range", "standardized", "rows", "pixels as floats"],
)
def test_floats_are_scaled_in_their_own_units(images, scale):
    samples = make_samples(images, LABELS.tolist(), **scale)
    assert samples.images.dtype == jnp.float32
    np.testing.assert_allclose(samples.scaled(samples.images), EXPECTED, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(samples.scaled_images(images), EXPECTED, rtol=1e-5, atol=1e-5)
    with pytest.raises(TypeError, match="must be floats of the training images' units, got uint8"):
        samples.scaled_images(IMAGES)


def test_samples_made_by_hand_are_scaled_by_their_dtype():
    scale = {"mean": jnp.array([0.3]), "std": jnp.array([0.25])}
    floats = jnp.asarray(IMAGES.reshape(60, 16) / 255, jnp.float32)
    samples = Samples(floats, jnp.asarray(LABELS), **scale, num_classes=3)
    np.testing.assert_allclose(samples.scaled(samples.images), EXPECTED, rtol=1e-5, atol=1e-5)


def test_new_images_may_be_floats_where_pixels_were_trained():
    np.testing.assert_allclose(SAMPLES.scaled_images(IMAGES / 255), EXPECTED, rtol=1e-4, atol=1e-5)
    for images, message in [
        (EXPECTED, r"must be uint8 or lie in \[0, 1\], got min -1.2, max 2.8"),
        (IMAGES[0], r"must have 16 pixels each, got shape \(4, 4\). Add an axis"),
    ]:
        with pytest.raises(ValueError, match=message):
            SAMPLES.scaled_images(images)


@pytest.mark.parametrize(
    ("images", "labels", "scale", "message"),
    [
        (IMAGES, LABELS[:9], {}, "60 images and 9 labels"),
        (IMAGES[:0], LABELS[:0], {}, "at least one, got 0 images"),
        (IMAGES, LABELS[:, None], {}, "got a column"),
        (IMAGES, LABELS + 1, {}, r"`labels` must lie in \[0, 3\), got min 1, max 3"),
        (IMAGES, LABELS, {"mean": 33.3}, "`mean` must be in units of pixel / 255"),
        (IMAGES, LABELS, {"mean": 0, "std": 255}, "`std` must be in units of pixel / 255"),
        (IMAGES.astype(float), LABELS, {}, "in the units of the float images, got .* 602"),
    ],
)
def test_what_make_samples_refuses(images, labels, scale, message):
    with pytest.raises(ValueError, match=f"^make_samples: .*{message}"):
        make_samples(images, labels, **(SCALE | scale))


@pytest.mark.parametrize("name", LEARNERS)
@pytest.mark.parametrize(
    ("x", "labels", "message"),
    [
        ((6, 16), jnp.zeros(6), "`labels` must be integers, got float32"),
        ((6, 16), jnp.zeros((6, 1), int), r"`labels` must have shape \(6,\), got shape \(6, 1\)"),
        ((6, 16), jnp.zeros(5, int), r"got shape \(5,\)"),
        ((6, 16), jnp.zeros(6, bool), "got bool"),
        ((6, 9), jnp.zeros(6, int), "`input` must have 16 features"),
    ],
)
def test_a_step_checks_dtypes_ranks_and_sizes_while_tracing(name, x, labels, message):
    learner, key = LEARNERS[name], jax.random.key(0)
    state = jax.eval_shape(learner.init, key, jnp.zeros((1, 16)))
    with pytest.raises((TypeError, ValueError), match=message):
        jax.eval_shape(learner.step, state, key, jnp.zeros(x), labels)


@pytest.mark.parametrize("name", LEARNERS)
def test_a_step_checks_pixels_and_the_range_of_labels(name):
    learner, key = LEARNERS[name], jax.random.key(0)
    with pytest.raises(TypeError, match=f"{name}.step: `x` must be scaled .*got uint8"):
        learner.step(None, key, SAMPLES.images, SAMPLES.labels)
    with pytest.raises(ValueError, match=r"`labels` must lie in \[0, 3\), got min 0, max 3"):
        learner.step(None, key, SAMPLES.scaled(SAMPLES.images[:2]), jnp.array([0, 3]))


def test_evaluate_and_predict_check_what_they_are_given():
    learner = LEARNERS["backprop_learner"]
    state = jax.eval_shape(learner.init, jax.random.key(0), jnp.zeros((1, 16)))
    column = SAMPLES.replace(labels=SAMPLES.labels[:, None])
    for samples, message in [
        ((IMAGES, LABELS), "`samples` must be `Samples`, got tuple"),
        (column, r"`labels` must have shape \(60,\), got shape \(60, 1\)"),
        (SAMPLES.replace(images=jnp.zeros((60, 16), int)), "`images` must be uint8 or float"),
        (SAMPLES.replace(labels=SAMPLES.labels + 1), r"must lie in \[0, 3\), got min 1, max 3"),
    ]:
        with pytest.raises((TypeError, ValueError), match=message):
            evaluate(learner, state, samples)
    for images, message in [
        (np.full((2, 16), np.nan), "predict: `images` must be finite"),
        (jnp.full((2, 16), jnp.inf), "predict: `images` must be finite"),
        (np.zeros((0, 16)), "at least one image"),
        (["a", "b"], "predict: `images` must be numbers"),
    ]:
        with pytest.raises((TypeError, ValueError), match=message):
            predict(learner, state, images)


def test_an_overlay_marks_the_classes_of_its_network():
    def three(key, shape, num_classes):
        return appended_gaussian(size=2)(key, shape, 3)

    learner = local_learner(Network(dense_layers([4]), sffa(), three, 10), optax.adam(1e-2))
    with pytest.raises(ValueError, match="must mark the network's 10 classes, got 3 codes"):
        learner.init(jax.random.key(0), jnp.zeros((1, 16)))


@pytest.mark.parametrize("std", [0.0, 1e-45])
def test_a_constant_feature_is_divided_by_1(std):
    images = np.array([[3.0, 1.0], [3.0, 2.0]], np.float32)
    samples = make_samples(images, [0, 1], mean=np.array([3.0, 1.0]), std=np.array([std, 2.0]))
    np.testing.assert_array_equal(samples.scaled(samples.images), [[0, 0], [0, 0.5]])
