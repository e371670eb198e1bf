"""One layer: a body (any Flax module), an activation, and winners.

A layer processes many label candidates at once. An affine body (Dense, Conv) is applied to each
part of the input separately and the results are added. This saves most of the work, because all
candidates of a sample share the product of the image, and all samples share the product of a label.
Automatic differentiation saves the same work in the weight gradient.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Int, Key

from sffa_jax.checks import check_integer, choose, reject
from sffa_jax.core.image_layout import POOLS, Grid, Pool, flatten_maps
from sffa_jax.core.overlays import Part
from sffa_jax.core.winners import keep_winners

Params = Any
"""Parameters of one layer: a pytree of arrays."""


@dataclass(frozen=True)
class Layer:
    """Configuration of a layer: body, activation, pooling, winners.

    Attributes:
      body: a Flax module with `init` and `apply` that maps [samples, d_in] to [samples, units], or
        under a `grid` [samples, height, width, channels] to maps of that form or to units.
      activation: applied element-wise to the body's output.
      winners: units that stay active in each half; None keeps all.
      grid: shape of the maps in a flat input row; None: the body takes the row.
      pool: one of `POOLS`, or a function from maps to maps, applied after the activation; None:
        no pooling.

    Raises:
      ValueError: for no winner, an unknown name, or pooling without a grid.

    >>> Layer(nn.Dense(8), winners=2).winners
    2
    """

    body: nn.Module
    activation: Callable[[Array], Array] = jax.nn.relu
    winners: int | None = None
    grid: Grid | None = None
    pool: str | Pool | None = None

    def __post_init__(self) -> None:
        if self.winners is not None:
            check_integer("Layer", "winners", self.winners, 1, "None keeps all units.")
        if self.pool is not None:
            choose("Layer", "pool", self.pool, POOLS)
            if self.grid is None:
                raise reject("Layer", "grid", "be given with pooling", None)


def is_affine(body: nn.Module) -> bool:
    """Whether the body is a kernel product plus a bias, so that its input can be factored."""
    if type(body) is nn.Conv:
        return body.feature_group_count == 1
    return type(body) is nn.Dense


def join(
    inputs: Sequence[Part], candidates: Int[Array, "batch candidates"] | None
) -> Float[Array, "batch candidates *d_in"]:
    """The unfactored input: one row for each sample and candidate."""
    named: dict[str, Array] = {}
    for part in inputs:
        value = _per_candidate(part.value, part, candidates)
        named[part.name] = named[part.name] + value if part.name in named else value
    lead = jnp.broadcast_shapes(*(value.shape[:2] for value in named.values()))
    full = [jnp.broadcast_to(value, lead + value.shape[2:]) for value in named.values()]
    return jnp.concatenate(full, axis=-1) if len(full) > 1 else full[0]


def _body_input(layer: Layer, value: Array) -> Array:
    """Reshapes flat rows for the layer's body."""
    return value if layer.grid is None else layer.grid.read(value)


def _per_candidate(
    value: Array, part: Part, candidates: Int[Array, "batch candidates"] | None
) -> Array:
    """Reshapes [samples or classes, ...] to [batch or 1, candidates or 1, ...]."""
    if part.per == "candidate":
        return value
    if part.per == "sample":
        return value[:, None]
    if candidates is None:
        return value[None]
    # A one-hot product instead of a gather, whose transpose is a slow scatter. One plain product,
    # because XLA copies operands for the transpose of a batched product.
    one_hot = jax.nn.one_hot(candidates.reshape(-1), value.shape[0], dtype=value.dtype)
    flat = one_hot @ value.reshape(value.shape[0], -1)
    return flat.reshape(*candidates.shape, *value.shape[1:])


def init_layer(layer: Layer, key: Key[Array, ""], inputs: Sequence[Part]) -> Params:
    """Draws the parameters of a layer for inputs of these shapes; their values are not used.

    An affine body is initialized on the concatenated input, as if it were not factored, and its
    kernel is then split by rows, one piece per input name.
    """
    names = {part.name for part in inputs}
    if layer.grid is not None and len(names) > 1:
        raise reject(
            "init_layer",
            "inputs",
            "be one image under a convolution, with the label written into it",
            ", ".join(sorted(names)),
            "Use an overlay that appends nothing, and no input skip.",
        )
    row = jax.eval_shape(lambda: _body_input(layer, join(inputs, None)[:1, 0]))
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
      layer: configuration of the layer.
      params: from `init_layer`.
      inputs: the factors of the input.
      candidates: candidate labels of each sample; None: all classes, in class order.

    Returns:
      Activity, maps flattened by `flatten_maps`; the candidate axis has size 1 if no input depends
      on the label.

    >>> layer = Layer(nn.Dense(4))
    >>> inputs = (Part("input", jnp.ones((2, 3)), "sample"),)
    >>> params = init_layer(layer, jax.random.key(0), inputs)
    >>> activity(layer, params, inputs).shape
    (2, 1, 4)
    """
    if is_affine(layer.body):
        linear = layer.body.clone(use_bias=False)
        products = []
        for part in inputs:
            kernel, value = params["kernels"][part.name], _body_input(layer, part.value)
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
        # A user's body may support a single batch axis only.
        flat = x.reshape(math.prod(x.shape[:2]), *x.shape[2:])
        out = layer.body.apply({"params": params}, _body_input(layer, flat))
        assert isinstance(out, jax.Array)
        out = out.astype(x.dtype)
        pre = out.reshape(*x.shape[:2], *out.shape[1:])
    h = layer.activation(pre)
    # A body with a grid may also return plain units.
    if layer.grid is not None and h.ndim > 3:
        if layer.pool is not None:
            pool = choose("activity", "pool", layer.pool, POOLS)
            pooled = pool(h.reshape(math.prod(h.shape[:2]), *h.shape[2:]))
            h = pooled.reshape(*h.shape[:2], *pooled.shape[1:])
        h = flatten_maps(h)
    return h if layer.winners is None else keep_winners(h, layer.winners)
