"""One layer: a body (any Flax module), an activation, and winners.

A layer sees the input of many label candidates at once. Where its body is affine (Dense, Conv),
the body is applied to each factor of the input by itself and the results are added, which is the
same number and far less work: the image's product is shared by all candidates of a sample, a
label's by all samples. Autodiff carries the saving over to the weight gradient.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Int, Key

from sffa_jax.checks import (
    check_choice,
    check_integer,
    reject,
)
from sffa_jax.core.image_layout import POOLS, Grid, flatten_maps
from sffa_jax.core.overlays import Part
from sffa_jax.core.winners import keep_largest, keep_winners

Params = Any
"""Parameters of one layer: a pytree of arrays."""


COMPETITIONS = ("layer", "position", "map")
"""Among which units `Layer.winners` are found."""


@dataclass(frozen=True)
class Layer:
    """What a layer computes.

    Attributes:
      body: a Flax module with `init` and `apply` that maps [samples, d_in] to [samples, units], or
        under a `grid` [samples, height, width, channels] to maps of such a shape or to units.
      activation: applied element-wise to the body's output.
      winners: units that stay active; None keeps all.
      grid: how the body sees its input; None: as a flat row.
      pool: one of `POOLS`, applied to the maps after the activation; None leaves them.
      competition: among which units there are so many winners: in each half of the "layer", in each
        half of the channels at each "position", or among the positions of each "map".
      by_position: whether the goodness is that of each position's channels, its log-odds averaged
        over positions, or that of all units together.

    Raises:
      ValueError: for no winner, an unknown name, or what needs maps on a layer without a grid.
    """

    body: nn.Module
    activation: Callable[[Array], Array] = jax.nn.relu
    winners: int | None = None
    grid: Grid | None = None
    pool: str | None = None
    competition: str = "layer"
    by_position: bool = False

    def __post_init__(self) -> None:
        if self.winners is not None:
            check_integer("Layer", "winners", self.winners, 1, "None keeps all units.")
        check_choice("Layer", "competition", self.competition, COMPETITIONS)
        if self.pool is not None:
            check_choice("Layer", "pool", self.pool, POOLS)
        if self.grid is None and (self.pool or self.by_position or self.competition != "layer"):
            named = ("pool", "by_position", "competition")
            values = {name: getattr(self, name) for name in named}
            raise reject("Layer", "grid", f"be given with {values}", None)


def is_affine(body: nn.Module) -> bool:
    """Whether the body is a product with a kernel plus a bias, so that its input factors."""
    if type(body) is nn.Conv:
        return body.feature_group_count == 1
    return type(body) is nn.Dense


def join(
    inputs: Sequence[Part], candidates: Int[Array, "batch candidates"] | None
) -> Float[Array, "batch candidates *d_in"]:
    """The input that the parts stand for, one row for each sample and candidate (unfactored)."""
    named: dict[str, Array] = {}
    for part in inputs:
        value = _per_candidate(part.value, part, candidates)
        named[part.name] = named[part.name] + value if part.name in named else value
    lead = jnp.broadcast_shapes(*(value.shape[:2] for value in named.values()))
    full = [jnp.broadcast_to(value, lead + value.shape[2:]) for value in named.values()]
    return jnp.concatenate(full, axis=-1) if len(full) > 1 else full[0]


def _seen(layer: Layer, value: Array) -> Array:
    """A flat row as the layer's body sees it."""
    return value if layer.grid is None else layer.grid.read(value)


def _per_candidate(
    value: Array, part: Part, candidates: Int[Array, "batch candidates"] | None
) -> Array:
    """Gives a value of shape [samples or classes, ...] the axes [batch or 1, candidates or 1]."""
    if part.per == "candidate":
        return value
    if part.per == "sample":
        return value[:, None]
    if candidates is None:
        return value[None]
    # A product with a one-hot code instead of a gather, whose transpose is a slow scatter; as one
    # plain product of matrices, since the transpose of a batched one is copied about first.
    one_hot = jax.nn.one_hot(candidates.reshape(-1), value.shape[0], dtype=value.dtype)
    flat = one_hot @ value.reshape(value.shape[0], -1)
    return flat.reshape(*candidates.shape, *value.shape[1:])


def init_layer(layer: Layer, key: Key[Array, ""], inputs: Sequence[Part]) -> Params:
    """Parameters of a layer that takes these inputs (their shapes matter, not their values).

    An affine body is initialized on the concatenated input, as if it were not factored, and its
    kernel then split by rows, one piece for each name of the inputs.
    """
    names = {part.name for part in inputs}
    if layer.grid is not None and len(names) > 1:
        raise reject(
            "init_layer",
            "inputs",
            "be one image under a convolution, into which the label is written",
            ", ".join(sorted(names)),
            "Take an overlay that appends nothing, and no input skip.",
        )
    row = jax.eval_shape(lambda: _seen(layer, join(inputs, None)[:1, 0]))
    params = layer.body.init(key, jnp.zeros(row.shape, row.dtype))["params"]
    if not is_affine(layer.body):
        return params
    sizes = {part.name: row.shape[-1] if layer.grid else part.value.shape[-1] for part in inputs}
    edges = [sum(list(sizes.values())[: i + 1]) for i in range(len(sizes) - 1)]
    kernels = dict(zip(sizes, jnp.split(params["kernel"], edges, axis=-2), strict=True))
    return {"kernels": kernels} | ({"bias": params["bias"]} if "bias" in params else {})


def activity(
    layer: Layer,
    params: Params,
    inputs: Sequence[Part],
    candidates: Int[Array, "batch candidates"] | None = None,
) -> Float[Array, "batch one_or_candidates *units"]:
    """The layer's activity for each sample and each of its label candidates.

    Args:
      layer: what to compute.
      params: from `init_layer`.
      inputs: the factors of the input.
      candidates: labels to try for each sample; None tries all classes, in class order.

    Returns:
      Activity, maps flat as `flatten_maps` has them; the candidate axis has size 1 if no input
      depends on the label.
    """
    if is_affine(layer.body):
        linear = layer.body.clone(use_bias=False)
        products = []
        for part in inputs:
            kernel, value = params["kernels"][part.name], _seen(layer, part.value)
            if value.shape[-1] != kernel.shape[-2]:
                raise reject(
                    "activity",
                    part.name,
                    f"have {kernel.shape[-2]} features, as the layer was built for",
                    f"shape {part.value.shape}",
                    "Build the network for inputs of this shape.",
                )
            product = linear.apply({"params": {"kernel": kernel}}, value)
            assert isinstance(product, jax.Array)
            product = product.astype(value.dtype)
            products.append(_per_candidate(product, part, candidates))
        pre = sum(products[1:], start=products[0])
        if "bias" in params:
            pre = pre + jnp.expand_dims(params["bias"], tuple(range(pre.ndim - 1)))
    else:
        x = join(inputs, candidates)
        # A body of the user's may know one batch axis only.
        flat = x.reshape(math.prod(x.shape[:2]), *x.shape[2:])
        out = layer.body.apply({"params": params}, _seen(layer, flat))
        assert isinstance(out, jax.Array)
        out = out.astype(x.dtype)
        pre = out.reshape(*x.shape[:2], *out.shape[1:])
    h = layer.activation(pre)
    # Under a grid a body may still end in plain units.
    if layer.grid is None or h.ndim == 3:
        return h if layer.winners is None else keep_winners(h, layer.winners)
    if layer.pool is not None:
        pooled = POOLS[layer.pool](h.reshape(math.prod(h.shape[:2]), *h.shape[2:]))
        h = pooled.reshape(*h.shape[:2], *pooled.shape[1:])
    if layer.winners is not None and layer.competition == "position":
        h = keep_winners(h, layer.winners)
    h = flatten_maps(h)
    if layer.winners is None or layer.competition == "position":
        return h
    if layer.competition == "layer":
        return keep_winners(h, layer.winners)
    by_map = h.reshape(*h.shape[:-1], pre.shape[-1], -1)
    return keep_largest(by_map, layer.winners).reshape(h.shape)
