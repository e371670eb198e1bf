"""Features: pixels, random, or learned without labels from images of the first task.

`extract` replaces the images of a run by features. Networks, or closed forms on the model `pixels`,
then learn from them. The logits of the models in this file have no meaning.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sffa_jax.checks import check_integer, check_range, reject
from sffa_jax.continual.local_maps import maps
from sffa_jax.continual.model import Model, Modules, feature_model
from sffa_jax.continual.scenarios import TaskData
from sffa_jax.core.bodies import Params
from sffa_jax.training.samples import Samples

__all__ = [
    "extract",
    "maps",
    "pixels",
    "principal_components",
    "random_features",
    "random_fourier_features",
]

CONTRAST_EPS = 1e-8
"""Added to the variance of a sample's features before division."""

COMPONENT_EPS = 0.01
"""Added to the components' variances before division, in units of their mean."""

FIT_IMAGES = 3000
"""Images of the first task from which features are learned."""

CHUNK = 100
"""Images whose features are computed at once."""


def pixels() -> Model:
    """Returns a model whose features are the pixels."""
    return feature_model(lambda _key, _x: {}, lambda _params, x: x)


def random_features(width: int) -> Model:
    """Rectified random projections: a hidden layer that does not learn.

    Raises:
      ValueError: for no feature.
    """
    check_integer("random_features", "width", width, 1)

    def init(key: Array, x: Array) -> Params:
        return {"w": jax.random.normal(key, (x.shape[-1], width)) / x.shape[-1] ** 0.5}

    return feature_model(init, lambda params, x: jax.nn.relu(x @ params["w"]))


def random_fourier_features(width: int, *, length_scale: float = 1.0) -> Model:
    """Cosines of random projections, whose products approximate a Gaussian kernel.

    The kernel of two images x and y is exp(-|x - y|^2 / (2 length_scale^2 pixels)).

    Raises:
      ValueError: for no feature, or a length scale that is not positive.

    Reference: Rahimi & Recht 2007; the features of RanDumb (Prabhu et al. 2024, arXiv:2402.08823).
    """
    check_integer("random_fourier_features", "width", width, 1)
    check_range("random_fourier_features", "length_scale", length_scale, above=0)

    def init(key: Array, x: Array) -> Params:
        key_w, key_b = jax.random.split(key)
        size = length_scale * x.shape[-1] ** 0.5
        return {
            "w": jax.random.normal(key_w, (x.shape[-1], width)) / size,
            "b": jax.random.uniform(key_b, (width,), maxval=2 * jnp.pi),
        }

    def features(params: Params, x: Array) -> Array:
        return jnp.sqrt(2 / width) * jnp.cos(x @ params["w"] + params["b"][None])

    return feature_model(init, features)


def principal_components(below: Model, number: int) -> Model:
    """Whitened principal components of other features, each sample's contrast normalized first.

    The components are learned from images of the first task, without labels.

    Args:
      below: features, e.g. `maps(...)`.
      number: components; later layers then need smaller statistics.

    Raises:
      ValueError: for more components than features or images.
    """
    check_integer("principal_components", "number", number, 1)

    def normalized(params: Params, x: Array) -> Array:
        z = _of_images(below, (params["below"],), x)
        z = z - jnp.mean(z, axis=-1, keepdims=True)
        return z / jnp.sqrt(jnp.mean(jnp.square(z), axis=-1, keepdims=True) + CONTRAST_EPS)

    def init(key: Array, x: Array) -> Params:
        (params,), _ = below.init(key, x)
        features = jax.eval_shape(normalized, {"below": params}, x[:1]).shape[-1]
        if number > features:
            raise reject("principal_components", "number", f"be at most {features}", number)
        # The first features, until components are learned.
        return {"below": params, "mean": jnp.zeros(features), "w": jnp.eye(features, number)}

    def fit(key: Array, params: Params, x: Array) -> Params:
        if below.fit is not None:
            (learned,) = below.fit(key, (params["below"],), x)
            params = params | {"below": learned}
        z = _in_chunks(partial(normalized, params), x)
        if number > len(x):
            rule = f"be at most {len(x)} images of the first task"
            raise reject("principal_components", "number", rule, number)
        mean = jnp.mean(z, axis=0)
        return params | {"mean": mean, "w": _whitened_axes(z - mean[None], number)}

    def features(params: Params, x: Array) -> Array:
        return (normalized(params, x) - params["mean"][None]) @ params["w"]

    return feature_model(init, features, fit)


def _of_images(features: Model, modules: Modules, x: Array) -> Array:
    """Computes the features of images."""
    assert features.hidden is not None
    (z,) = features.hidden(modules, None, x, jnp.zeros(len(x), jnp.int32))
    return z


def _in_chunks(function: Callable[[Array], Array], x: Array) -> Array:
    """Applies a function of rows to a few rows at a time."""
    chunks = -(-len(x) // CHUNK)
    rows = jnp.arange(chunks * CHUNK).reshape(chunks, CHUNK) % len(x)
    z = jax.lax.map(lambda chosen: function(x[chosen]), rows)
    return z.reshape(-1, z.shape[-1])[: len(x)]


def extract(features: Model, key: Array, data: TaskData) -> tuple[TaskData, Params]:
    """Learns features without labels from images of the first task, and replaces images by them.

    Args:
      features: one of this module's models.
      key: draws the features and the images from which they are learned.
      data: the tasks.

    Returns:
      The tasks, whose samples now contain features, and the features' parameters.
    """
    train = data.train
    key_init, key_draw, key_fit = jax.random.split(key, 3)
    modules, _ = features.init(key_init, train.scaled(train.images[:1]))
    if features.fit is not None:
        number, count = min(FIT_IMAGES, data.stream.train.shape[1]), data.stream.num_train[0]
        drawn = jax.random.randint(key_draw, (number,), 0, count)
        # All images of a small task; draws would leave out a third of them.
        position = jnp.where(count <= number, jnp.arange(number) % count, drawn)
        images = train.images[data.stream.train[0, position]]
        modules = features.fit(key_fit, modules, train.scaled(images))

    def replaced(samples: Samples) -> Samples:
        z = _in_chunks(
            lambda images: _of_images(features, modules, samples.scaled(images)), samples.images
        )
        return samples.replace(images=z, mean=jnp.zeros(1), std=jnp.ones(1))

    return TaskData(data.stream, replaced(train), replaced(data.test)), modules[0]


def _whitened_axes(
    z: Float[Array, "samples features"], number: int
) -> Float[Array, "features number"]:
    """Leading principal axes of centered samples, divided by the standard deviation."""
    samples, features = z.shape
    if features <= samples:
        variances, axes = jnp.linalg.eigh(z.T @ z / samples)
        variances, axes = variances[-number:], axes[:, -number:]
    else:  # the smaller of the two matrices has the same variances
        variances, rows = jnp.linalg.eigh(z @ z.T / samples)
        variances, rows = jnp.maximum(variances[-number:], 1e-12), rows[:, -number:]
        axes = z.T @ (rows / jnp.sqrt(samples * variances)[None])
    return axes / jnp.sqrt(variances + COMPONENT_EPS * jnp.mean(variances))[None]
