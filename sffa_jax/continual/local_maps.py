"""Local maps: filters learned from patches without labels, by competition.

Each patch is centered, divided by its standard deviation and whitened; the most similar filter
turns toward it (spherical k-means). Nothing is backpropagated, and no label is used.
"""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sffa_jax.checks import check_image_shape, check_integer, check_range, reject
from sffa_jax.continual.model import Model, feature_model
from sffa_jax.core.bodies import Params

VARIANCE_EPS = 0.002
"""Added to the variance of a patch before division, in units of the pixels' variance."""

WHITENING_EPS = 0.1
"""Added to the variances of normalized patches (about 1) before whitening."""

PATCHES = 100_000
"""Patches from which filters are learned."""

ROUNDS = 15
"""Rounds of k-means."""

FILTERS_AT_ONCE = 400
"""Filters whose responses fit into a CPU's cache: 1600 at once take 2.7 times as long."""


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


def normalize_patches(patches: Float[Array, "patches pixels"]) -> Float[Array, "patches pixels"]:
    """Centers each patch and divides it by its standard deviation; a blank one becomes zero."""
    centered = patches - jnp.mean(patches, axis=-1, keepdims=True)
    variance = jnp.mean(jnp.square(centered), axis=-1, keepdims=True)
    return centered / jnp.sqrt(variance + VARIANCE_EPS)


def spherical_kmeans(
    filters: Float[Array, "filters pixels"],
    patches: Float[Array, "patches pixels"],
    *,
    rounds: int,
) -> Float[Array, "filters pixels"]:
    """Turns each filter toward the patches to which it is most similar, of either sign.

    Args:
      filters: start, of unit length.
      patches: whitened; at most a remainder below one chunk of 1000 is left out.
      rounds: passes over the patches.

    Returns:
      Filters of unit length; one without patches stays.

    Reference: Coates & Ng 2012, Learning feature representations with k-means.
    """
    check_integer("spherical_kmeans", "rounds", rounds, 1)
    size = min(1000, len(patches))
    chunks = patches[: len(patches) // size * size].reshape(-1, size, patches.shape[-1])

    def one_round(_: Array | int, now: Array) -> Array:
        def add_chunk(i: Array | int, total: Array) -> Array:
            similarity = chunks[i] @ now.T
            winner = jax.nn.one_hot(jnp.argmax(jnp.abs(similarity), axis=-1), len(now))
            return total + (winner * similarity).T @ chunks[i]

        total = jax.lax.fori_loop(0, len(chunks), add_chunk, now)
        return total / jnp.maximum(jnp.linalg.norm(total, axis=-1, keepdims=True), 1e-12)

    return jax.lax.fori_loop(0, rounds, one_round, filters)


def whitening(x: Float[Array, "samples numbers"], eps: float) -> tuple[Array, Array]:
    """Returns the mean and the symmetric matrix that whitens (ZCA); `eps` is added to variances."""
    mean = jnp.mean(x, axis=0)
    centered = x - mean[None]
    variances, axes = jnp.linalg.eigh(centered.T @ centered / len(x))
    return mean, (axes / jnp.sqrt(jnp.maximum(variances, 0) + eps)[None]) @ axes.T


def maps(
    shape: Sequence[int],
    width: int,
    *,
    kernel: int = 6,
    stride: int = 1,
    grid: int = 2,
    threshold: float = 0.25,
    mirrored: bool = False,
    learned: bool = True,
) -> Model:
    """Features from local filters: rectified on both sides, averaged over areas, square root.

    Args:
      shape: shape of an image.
      width: number of features: 2 grid^2 for each filter.
      kernel: side of a patch, pixels.
      stride: between patches, pixels.
      grid: number of areas along each side of the image.
      threshold: responses of smaller size are zero.
      mirrored: whether to average the areas of an image and of its mirror image, which then have
        the same features.
      learned: whether the filters are learned from patches of the first task's images; otherwise
        they are random, and patches are not whitened.

    Raises:
      ValueError: for a width that is no multiple of 2 grid^2, a kernel larger than the image, or a
        grid finer than the maps.

    Reference: Coates, Lee & Ng 2011, An analysis of single-layer networks in unsupervised feature
    learning (AISTATS).
    """
    height, columns, channels = check_image_shape("maps", shape)
    for name, value in (("kernel", kernel), ("stride", stride), ("grid", grid), ("width", width)):
        check_integer("maps", name, value, 1)
    check_range("maps", "threshold", threshold, at_least=0)
    of_filter = 2 * grid**2
    if width % of_filter:
        raise reject("maps", "width", f"be a multiple of {of_filter} features a filter", width)
    if kernel > min(height, columns):
        raise reject("maps", "kernel", f"be at most {min(height, columns)}", kernel)
    filters, size = width // of_filter, kernel**2 * channels
    rows, across = ((side - kernel) // stride + 1 for side in (height, columns))
    areas = jnp.asarray(np.kron(box_means(rows, grid), box_means(across, grid)), jnp.float32)

    def of_areas(params: Params, image: Float[Array, "height columns channels"]) -> Array:
        """Mean rectified responses: [2 sides x areas, filters]."""
        down, right = stride * (rows - 1) + 1, stride * (across - 1) + 1
        patches = jnp.concatenate(
            [
                image[i : i + down : stride, j : j + right : stride]
                for i in range(kernel)
                for j in range(kernel)
            ],
            axis=-1,
        )
        patches = normalize_patches(patches.reshape(-1, size))

        def responses(some: tuple[Array, Array]) -> Array:
            w, shift = some
            h = patches @ w - shift[None]
            return jnp.concatenate([areas @ jax.nn.relu(side - threshold) for side in (h, -h)])

        parts = -(-filters // FILTERS_AT_ONCE)
        missing = -filters % parts
        w = jnp.pad(params["w"], ((0, 0), (0, missing))).reshape(size, parts, -1)
        shift = jnp.pad(params["shift"], (0, missing)).reshape(parts, -1)
        pooled = jax.lax.map(responses, (jnp.moveaxis(w, 1, 0), shift))
        return jnp.moveaxis(pooled, 0, 1).reshape(of_filter, -1)[:, :filters]

    def of_image(params: Params, image: Float[Array, "height columns channels"]) -> Array:
        pooled = of_areas(params, image)
        if mirrored:
            pooled = (pooled + of_areas(params, image[:, ::-1])) / 2
        # Epsilon is inside the root because the gradient of a root at zero is infinite.
        return jnp.sqrt(pooled.reshape(-1) + 1e-12)

    def features(params: Params, x: Array) -> Array:
        images = x.reshape(-1, height, columns, channels)
        # One image fits into a CPU's cache: four times as fast as a convolution of many.
        at_once = 1 if jax.default_backend() == "cpu" else len(images)
        return jax.lax.map(partial(of_image, params), images, batch_size=at_once)

    def init(key: Array, x: Array) -> Params:
        if x.shape[-1] != height * columns * channels:
            raise reject("maps", "x", f"be images of shape {tuple(shape)}", x.shape)
        w = jax.random.normal(key, (size, filters)) / size**0.5
        return {"w": w, "shift": jnp.zeros(filters)}

    def fit(key: Array, params: Params, x: Array) -> Params:
        keys = jax.random.split(key, 3)
        images = x.reshape(-1, height, columns, channels)
        image, row, column = (
            jax.random.randint(k, (PATCHES,), 0, high)
            for k, high in zip(
                keys, (len(x), height - kernel + 1, columns - kernel + 1), strict=True
            )
        )

        def patch(image: Array, row: Array, column: Array) -> Array:
            start, sizes = (image, row, column, 0), (1, kernel, kernel, channels)
            return jax.lax.dynamic_slice(images, start, sizes).reshape(-1)

        patches = normalize_patches(jax.vmap(patch)(image, row, column))
        mean, whiten = whitening(patches, WHITENING_EPS)
        start = params["w"].T / jnp.linalg.norm(params["w"], axis=0)[:, None]
        learned = spherical_kmeans(start, (patches - mean[None]) @ whiten, rounds=ROUNDS)
        w = whiten @ learned.T
        return {"w": w, "shift": mean @ w}

    return feature_model(init, features, fit if learned else None)
