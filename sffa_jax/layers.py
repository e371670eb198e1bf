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
    check_image_shape,
    check_integer,
    check_integers,
    reject,
)
from sffa_jax.convolution import convolve
from sffa_jax.overlays import Part
from sffa_jax.winners import keep_largest, keep_winners

Params = Any
"""Parameters of one layer: a pytree of arrays."""

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "relu": jax.nn.relu,
    "sigmoid": jax.nn.sigmoid,
    "tanh": jnp.tanh,
}

INITIALISERS: dict[str, nn.initializers.Initializer] = {
    "lecun_normal": nn.initializers.lecun_normal(),
    # Uniform within 1 / sqrt(inputs): the default of PyTorch's linear layer, 1/sqrt(3) as wide.
    "torch": nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform"),
}
"""How a dense layer's weights are drawn."""

# float32 is Flax's None: the type of input and parameters, float64 where those are.
DTYPES = {"float32": None, "bfloat16": jnp.bfloat16}
"""What a dense layer's products can be computed in."""


@dataclass(frozen=True)
class Grid:
    """How a flat row of features is an image, or the feature maps of a layer below.

    Images are flat row by row, their channels last. Maps are flat one after another: the first half
    of a polar layer's units are then the first half of its maps, whatever their size.

    Attributes:
      height, width, channels: of the image or the maps.
      maps: whether the row holds maps.

    Raises:
      ValueError: for a size below 1.
    """

    height: int
    width: int
    channels: int
    maps: bool = False

    def __post_init__(self) -> None:
        for name in ("height", "width", "channels"):
            check_integer("Grid", name, getattr(self, name), 1)

    @property
    def features(self) -> int:
        """Of a row."""
        return self.height * self.width * self.channels

    def read(self, row: Float[Array, "*lead features"]) -> Float[Array, "*lead h w c"]:
        """A row as a body sees it, channels last.

        Raises:
          ValueError: for rows of another length.
        """
        if row.shape[-1] != self.features:
            raise reject(
                "activity",
                "x",
                f"have rows of {self.height} x {self.width} x {self.channels} features",
                f"shape {row.shape}",
                "Build the network for inputs of this shape.",
            )
        size = (self.height, self.width)
        if self.maps:
            return jnp.moveaxis(row.reshape(*row.shape[:-1], self.channels, *size), -3, -1)
        return row.reshape(*row.shape[:-1], *size, self.channels)


def flatten_maps(maps: Float[Array, "*lead h w c"]) -> Float[Array, "*lead units"]:
    """Feature maps as a row, one map after another."""
    return jnp.moveaxis(maps, -1, -3).reshape(*maps.shape[:-3], -1)


def _in_fours(maps: Float[Array, "samples h w c"]) -> Float[Array, "samples h2 two w2 two c"]:
    """Each 2 x 2 block on axes 2 and 4; an odd last row or column is left out.

    A reduction over axes has an element-wise gradient; that of a window is a scatter, which cost a
    third of an update on CPU (docs/performance.md).
    """
    h, w = maps.shape[1] // 2, maps.shape[2] // 2
    return maps[:, : 2 * h, : 2 * w].reshape(-1, h, 2, w, 2, maps.shape[3])


POOLS: dict[str, Callable[[Array], Array]] = {
    "max": lambda maps: jnp.max(_in_fours(maps), axis=(2, 4)),
    "mean": lambda maps: jnp.mean(_in_fours(maps), axis=(2, 4)),
}
"""What halves the size of a layer's maps, [samples, h, w, c] -> [samples, h // 2, w // 2, c]."""

PADDINGS = ("SAME", "VALID")
"""How convolutions treat an image's edge: zeros around it, or no kernel across it."""

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


def dense_layers(
    hidden: Sequence[int],
    *,
    activation: str = "relu",
    winners: int | None = None,
    initialiser: str = "lecun_normal",
    precision: str = "float32",
) -> tuple[Layer, ...]:
    """Fully connected layers without bias (as in the released code), one per width.

    Args:
      hidden: width of each layer.
      activation: one of `ACTIVATIONS`.
      winners: units that stay active in each half; None keeps all.
      initialiser: one of `INITIALISERS`.
      precision: what products are computed in, one of `DTYPES`; parameters, sums of products' parts
        and activity keep the type of the input.

    Raises:
      ValueError: for no layer, a width below 1, winners above half a layer, or an unknown name.
    """
    check_choice("dense_layers", "activation", activation, ACTIVATIONS)
    check_choice("dense_layers", "initialiser", initialiser, INITIALISERS)
    check_choice("dense_layers", "precision", precision, DTYPES)
    hidden = check_integers("dense_layers", "hidden", hidden, 1)
    if not hidden:
        raise reject("dense_layers", "hidden", "name at least one width", "none")
    for units in hidden:
        if winners is not None:
            check_integer("dense_layers", "winners", winners, 1, "Leave it out to keep all units.")
            if winners > units // 2:
                raise reject(
                    "dense_layers",
                    "winners",
                    f"be at most half of the layer's {units} units",
                    winners,
                    "Choose fewer winners or a wider layer.",
                )
    draw = INITIALISERS[initialiser]
    return tuple(
        Layer(
            nn.Dense(units, use_bias=False, kernel_init=draw, dtype=DTYPES[precision]),
            ACTIVATIONS[activation],
            winners,
        )
        for units in hidden
    )


def conv_layers(
    shape: Sequence[int],
    channels: Sequence[int],
    *,
    kernel: int = 3,
    stride: int = 1,
    padding: str = "SAME",
    pool: str | None = "max",
    activation: str = "relu",
    winners: int | None = None,
    competition: str = "layer",
    by_position: bool = False,
    initialiser: str = "lecun_normal",
    precision: str = "float32",
) -> tuple[Layer, ...]:
    """Convolutional layers without bias, one per number of channels, each on the maps below.

    Args:
      shape: (height, width) or (height, width, channels) of the images.
      channels: feature maps of each layer.
      kernel, stride: side of the square kernel and its step, pixels.
      padding: "SAME" or "VALID".
      pool, competition, by_position: as in `Layer`.
      activation, winners, initialiser, precision: as in `dense_layers`.

    Raises:
      ValueError: for no layer, a number below 1, an unknown name, or maps that shrink to nothing.

    Reference: the released SFFA code's convolutional network is channels (64, 128), kernel 7,
    stride 2, padding "VALID", no pooling.
    """
    height, width, depth = check_image_shape("conv_layers", shape)
    channels = check_integers("conv_layers", "channels", channels, 1)
    if not channels:
        raise reject("conv_layers", "channels", "name at least one layer", "none")
    check_integer("conv_layers", "kernel", kernel, 1)
    check_integer("conv_layers", "stride", stride, 1)
    check_choice("conv_layers", "padding", padding, PADDINGS)
    check_choice("conv_layers", "activation", activation, ACTIVATIONS)
    check_choice("conv_layers", "initialiser", initialiser, INITIALISERS)
    check_choice("conv_layers", "precision", precision, DTYPES)

    def size(length: int) -> int:
        taken = 0 if padding == "SAME" else kernel - 1
        length = -(-(length - taken) // stride)
        return length if pool is None else length // 2

    layers = []
    grid = Grid(height, width, depth)
    for features in channels:
        body = nn.Conv(
            features,
            (kernel, kernel),
            (stride, stride),
            padding,
            use_bias=False,
            kernel_init=INITIALISERS[initialiser],
            dtype=DTYPES[precision],
            conv_general_dilated=convolve,
        )
        layer = Layer(body, ACTIVATIONS[activation], winners, grid, pool, competition, by_position)
        sides = size(grid.height), size(grid.width)
        if min(sides) < 1:
            raise reject(
                "conv_layers",
                "channels",
                f"leave something of images of shape {tuple(shape)}",
                f"{len(channels)} layers",
                "Take fewer layers, a smaller kernel or stride, or no pooling.",
            )
        grid = Grid(*sides, features, maps=True)
        layers.append(layer)
    return tuple(layers)


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

    An affine body is initialised on the concatenated input, as if it were not factored, and its
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
