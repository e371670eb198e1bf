"""Fixed features: pixels, random features, or features learned without labels.

The strategies on top of them (`slda`, `ncm`, `class_subspaces`) use `Model.hidden`; the logits of
these models have no meaning.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sffa_jax.checks import check_image_shape, check_integer, check_range, reject
from sffa_jax.continual.model import Model, Modules, softmax_loss
from sffa_jax.core.bodies import Params
from sffa_jax.core.overlays import Overlay

VARIANCE_EPS = 0.1
"""Added to the variance of a patch before division, in units of the pixels' variance."""


def _model(
    init: Callable[[Array, Array], Params], features: Callable[[Params, Array], Array]
) -> Model:
    def logits(
        modules: Modules, overlay: Overlay | None, x: Array, candidates: Array | None
    ) -> Array:
        del overlay
        assert candidates is None, "features have no logits"
        return features(modules[0], x)[None]

    return Model(
        lambda key, x: ((init(key, x),), None),
        logits,
        softmax_loss,
        lambda scores: scores,
        hidden=lambda modules, _overlay, x, _labels: [features(modules[0], x)],
    )


def pixels() -> Model:
    """Returns a model whose features are the pixels."""
    return _model(lambda _key, _x: {}, lambda _params, x: x)


def random_features(width: int) -> Model:
    """Rectified random projections: a hidden layer that does not learn.

    Raises:
      ValueError: for no feature.
    """
    check_integer("random_features", "width", width, 1)

    def init(key: Array, x: Array) -> Params:
        return {"w": jax.random.normal(key, (x.shape[-1], width)) / x.shape[-1] ** 0.5}

    return _model(init, lambda params, x: jax.nn.relu(x @ params["w"]))


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

    return _model(init, features)


def box_means(size: int, parts: int) -> Float[np.ndarray, "parts size"]:
    """Returns rows that average each of `parts` equal pieces of `size` numbers.

    Raises:
      ValueError: for more parts than numbers.
    """
    check_integer("box_means", "size", size, 1)
    check_integer("box_means", "parts", parts, 1)
    if size < parts:
        raise reject("box_means", "parts", f"be at most {size}", parts)
    edges = np.linspace(0, size, parts + 1)
    low = np.maximum(edges[:-1, None], np.arange(size)[None])
    high = np.minimum(edges[1:, None], np.arange(1, size + 1)[None])
    return np.maximum(high - low, 0) * parts / size


def maps(
    shape: Sequence[int], width: int, *, kernel: int = 7, stride: int = 2, grid: int = 4
) -> tuple[Model, Callable[[Params, Array], Array]]:
    """Maps of the cosine similarity of patches and filters, averaged over a grid; and their loss.

    A map is the rectified cosine of a filter and the patch around each position, both centered.
    The filters learn forward only and without labels: at each position the most similar filter
    turns toward the patch; the loss is the mean of 1 - its cosine.

    Args:
      shape: shape of an image.
      width: number of features, grid * grid per filter.
      kernel: side of a patch, pixels.
      stride: between patches, pixels.
      grid: number of areas along each side that a map is averaged over.

    Returns:
      The model; and (parameters, x) -> loss of each image [batch].

    Raises:
      ValueError: for a width that is no multiple of grid * grid, or a grid finer than the maps.

    Reference: pooled patch features without labels: Coates, Lee & Ng 2011 (AISTATS), whose filters
    are cluster centers; here they follow the gradient of the same similarity.
    """
    height, columns, channels = check_image_shape("maps", shape)
    for name, value in (("kernel", kernel), ("stride", stride), ("grid", grid)):
        check_integer("maps", name, value, 1)
    check_integer("maps", "width", width, 1)
    if width % grid**2:
        raise reject("maps", "width", f"be a multiple of {grid**2} areas", width)
    filters = width // grid**2
    down, across = (box_means(-(-size // stride), grid) for size in (height, columns))
    ones = jnp.ones((kernel, kernel, channels, 1)) / (kernel**2 * channels)

    def slide(x: Array, w: Array) -> Array:
        return jax.lax.conv_general_dilated(
            x, w, (stride, stride), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )

    def cosines(params: Params, x: Array) -> Float[Array, "batch rows columns filters"]:
        x = (x - jnp.min(x, axis=-1, keepdims=True)).reshape(-1, height, columns, channels)
        w = params["w"] - jnp.mean(params["w"], axis=(0, 1, 2), keepdims=True)
        w = w / jnp.sqrt(jnp.mean(jnp.square(w), axis=(0, 1, 2), keepdims=True) + 1e-8)
        variance = jnp.maximum(slide(jnp.square(x), ones) - jnp.square(slide(x, ones)), 0)
        size = kernel**2 * channels
        return slide(x, w) / size / jnp.sqrt(variance + VARIANCE_EPS)

    def features(params: Params, x: Array) -> Array:
        h = jax.nn.relu(cosines(params, x))
        pooled = jnp.einsum(
            "gr,brcf,kc->bgkf", jnp.asarray(down, h.dtype), h, jnp.asarray(across, h.dtype)
        )
        return pooled.reshape(len(x), -1)

    def loss(params: Params, x: Array) -> Float[Array, " batch"]:
        return jnp.mean(1 - jnp.max(cosines(params, x), axis=-1), axis=(1, 2))

    def init(key: Array, x: Array) -> Params:
        if x.shape[-1] != height * columns * channels:
            raise reject("maps", "x", f"be images of shape {tuple(shape)}", x.shape)
        return {"w": jax.random.normal(key, (kernel, kernel, channels, filters))}

    return _model(init, features), loss
