"""A second term of a layer's loss: it compares the samples of a batch with each other.

The first term, the rule's, asks whether a sample is positive for a label. The second term asks
whether samples of one class resemble each other more than samples of different classes. It sees one
layer's activity only, so no gradient crosses a layer. A term without parameters is *strictly
local*; a term with a trained function of its own, which is then thrown away, has a *local head*.
`rules.with_second_term` adds a term to a rule with class units: with a label in the input, the
activity would give the classes away.

Symbols: h is a layer's activity, a and b are samples of a batch.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from sffa_jax.checks import check_integer, check_range
from sffa_jax.core.goodness import split_polarity
from sffa_jax.core.image_layout import average_places

FEATURES = 2048
"""Largest number of features of one sample that a term compares."""


class SecondTerm(NamedTuple):
    """A loss of a batch's activity, and its parameters.

    Attributes:
      init: (key, shape of the activity of one sample: units, or maps [h, w, c]) -> parameters of
        the local head, trained with those of the layer, or None: strictly local.
      loss: (parameters, activity [batch, *units], labels [batch], number of classes) -> loss
        [batch], in units of its own.
      weight: factor of the loss beside the rule's.
    """

    init: Callable[[Array, Sequence[int]], Any]
    loss: Callable[[Any, Array, Array, int], Array]
    weight: float | Array = 1.0


def supervised_contrast(
    *, weight: float | Array = 1.0, temperature: float | Array = 0.2, size: int | None = 128
) -> SecondTerm:
    """Pulls samples of one class together and pushes those of other classes away.

    -mean over b of a's class of log softmax_b(z_a z_b / T), b != a, with vectors z of length 1. z
    is a linear function of the activity at length 1, averaged over squares of positions to at most
    `FEATURES` features. A sample that is alone in its class has no loss.

    Args:
      weight: factor beside the rule's loss.
      temperature: T > 0; small values look at the nearest samples of other classes.
      size: of z, by a local head, a trained linear function; None: no head, z is the activity.

    Raises:
      ValueError: for a number out of range.

    Reference: Khosla et al. 2020, arXiv:2004.11362, equation 2. Beside a local loss: HCL-FF.

    >>> term = supervised_contrast(size=None)
    >>> h = jnp.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    >>> term.loss(None, h, jnp.array([0, 0, 1]), 2).round(4)  # log(1 + exp(-5)), twice
    Array([0.0067, 0.0067, 0.    ], dtype=float32)
    """
    check_range("supervised_contrast", "weight", weight, above=0)
    check_range("supervised_contrast", "temperature", temperature, above=0)
    loss = partial(_contrast, temperature=temperature)
    if size is None:
        return SecondTerm(_no_head, loss, weight)
    check_integer("supervised_contrast", "size", size, 1, "None: no head.")
    return SecondTerm(partial(_draw_linear, size), loss, weight)


def similarity_matching(*, weight: float | Array = 20.0, head: bool = False) -> SecondTerm:
    """Makes samples as similar as their labels.

    Mean over b of (S(h)_ab - S(one-hot labels)_ab)^2, where S are the cosine similarities of
    vectors from each of which its mean is subtracted. The vector of maps is the standard deviation
    of each map over positions.

    Args:
      weight: factor beside the rule's loss.
      head: whether a local head, a trained 3 x 3 convolution of maps or linear function of units
        with as many outputs as inputs, comes before.

    Raises:
      ValueError: for a weight that is not positive.

    Reference: Nokland & Eidnes 2019, arXiv:1901.06656, section 2.1, with a head.

    >>> term = similarity_matching()
    >>> h = jnp.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    >>> term.loss(None, h, jnp.array([0, 0, 1]), 2).round(4)
    Array([0., 0., 0.], dtype=float32)
    """
    check_range("similarity_matching", "weight", weight, above=0)
    return SecondTerm(_draw_same_size if head else _no_head, _match_similarity, weight)


def polarity_of_pairs(
    *, weight: float | Array = 1.0, logit_scale: float | Array = 6.0, eps: float | Array = 1e-3
) -> SecondTerm:
    """SFFA's loss of pairs: same class is positive, another class negative.

    The co-activity of two samples in a unit is the product of their magnitudes. The logit of a pair
    is tau [log(mean over P + epsilon) - log(mean over N + epsilon)] of the co-activity, with the
    positive (first) half P of the units or maps and the negative half N. The loss is the binary
    cross-entropy; both kinds of pair have the same total weight. Exchanging P and N negates the
    logit. It has no parameters.

    Args:
      weight: factor beside the rule's loss.
      logit_scale: tau > 0.
      eps: epsilon > 0, in units of the mean square, which is 1 over all units.

    Raises:
      ValueError: for a number out of range; at use, for an odd number of units.

    >>> h = jnp.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    >>> polarity_of_pairs().loss(None, h, jnp.array([0, 0, 0]), 2).shape
    (3,)
    """
    check_range("polarity_of_pairs", "weight", weight, above=0)
    check_range("polarity_of_pairs", "logit_scale", logit_scale, above=0)
    check_range("polarity_of_pairs", "eps", eps, above=0)
    return SecondTerm(_no_head, partial(_pairs, logit_scale=logit_scale, eps=eps), weight)


SECOND_TERMS: dict[str, Callable[..., SecondTerm]] = {
    "contrast": supervised_contrast,
    "similarity": similarity_matching,
    "similarity_head": partial(similarity_matching, head=True),
    "pairs": polarity_of_pairs,
}
"""Terms by name: (weight=...) -> term."""


def _no_head(key: Key[Array, ""], shape: Sequence[int]) -> None:
    del key, shape


def _draw_linear(size: int, key: Key[Array, ""], shape: Sequence[int]) -> Array:
    features = jax.eval_shape(_features, jnp.zeros((1, *shape))).shape[-1]
    return jax.random.normal(key, (features, size)) / math.sqrt(features)


def _draw_same_size(key: Key[Array, ""], shape: Sequence[int]) -> Array:
    units = shape[-1]
    kernel = (3, 3, units, units) if len(shape) == 3 else (units, units)
    return jax.random.normal(key, kernel) / math.sqrt(math.prod(kernel[:-1]))


def _features(h: Float[Array, "batch *units"]) -> Float[Array, "batch features"]:
    """Rows of at most `FEATURES` averages of maps, or of all units."""
    h = h.astype(jnp.promote_types(h.dtype, jnp.float32))
    maps = average_places(h, FEATURES) if h.ndim == 4 else h
    return maps.reshape(len(h), -1)


def _with_length(rows: Float[Array, "batch features"], length: float) -> Array:
    # Epsilon is inside the root because the gradient of a norm at zero is undefined.
    return rows * length / jnp.sqrt(jnp.sum(jnp.square(rows), axis=-1, keepdims=True) + 1e-8)


def _mean_where(values: Float[Array, "a b"], where: Bool[Array, "a b"]) -> Float[Array, " a"]:
    """The mean of some entries of each row; 0 if there are none."""
    total = jnp.sum(jnp.where(where, values, 0.0), axis=-1)
    return total / jnp.maximum(jnp.sum(where, axis=-1), 1)


def _pair_kinds(labels: Int[Array, " batch"]) -> tuple[Array, Array]:
    """Whether two samples are different samples of one class, and whether of two classes."""
    same = labels[:, None] == labels[None]
    return same & ~jnp.eye(len(labels), dtype=bool), ~same


def _contrast(
    params: Float[Array, "features size"] | None,
    h: Float[Array, "batch *units"],
    labels: Int[Array, " batch"],
    num_classes: int,
    *,
    temperature: float | Array,
) -> Float[Array, " batch"]:
    del num_classes
    rows = _features(h)
    rows = _with_length(rows, math.sqrt(rows.shape[-1]))
    z = _with_length(rows if params is None else rows @ params, 1.0)
    similarity = z @ z.T / temperature
    others = ~jnp.eye(len(h), dtype=bool)
    total = jax.nn.logsumexp(similarity, axis=-1, where=others, keepdims=True)
    return _mean_where(total - similarity, _pair_kinds(labels)[0])


def _match_similarity(
    params: Array | None,
    h: Float[Array, "batch *units"],
    labels: Int[Array, " batch"],
    num_classes: int,
) -> Float[Array, " batch"]:
    h = h.astype(jnp.promote_types(h.dtype, jnp.float32))
    if h.ndim == 4:
        if params is not None:
            h = jax.lax.conv_general_dilated(
                h, params, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
            )
        h = jnp.sqrt(jnp.var(h, axis=(1, 2)) + 1e-8)
    elif params is not None:
        h = h @ params

    def similarities(rows: Array) -> Array:
        z = _with_length(rows - jnp.mean(rows, axis=-1, keepdims=True), 1.0)
        return z @ z.T

    wanted = similarities(jax.nn.one_hot(labels, num_classes, dtype=h.dtype))
    return jnp.mean(jnp.square(similarities(h) - wanted), axis=-1)


def _pairs(
    params: None,
    h: Float[Array, "batch *units"],
    labels: Int[Array, " batch"],
    num_classes: int,
    *,
    logit_scale: float | Array,
    eps: float | Array,
) -> Float[Array, " batch"]:
    del params, num_classes
    sizes = [_features(half) for half in split_polarity(jnp.abs(h))]
    rows = jnp.concatenate(sizes, axis=-1)
    halves = split_polarity(_with_length(rows, math.sqrt(rows.shape[-1])))
    positive, negative = (jnp.log(r @ r.T / r.shape[-1] + eps) for r in halves)
    logits = logit_scale * (positive - negative)
    same, different = _pair_kinds(labels)
    losses = jax.nn.softplus(jnp.where(same, -logits, logits))
    return 0.5 * _mean_where(losses, same) + 0.5 * _mean_where(losses, different)
