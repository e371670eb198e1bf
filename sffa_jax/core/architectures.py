"""Stacks of layers from their widths: dense and convolutional."""

import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array

from sffa_jax.checks import (
    check_choice,
    check_image_shape,
    check_integer,
    check_integers,
    choose,
    reject,
)
from sffa_jax.core.bodies import Body
from sffa_jax.core.conv_cpu import convolve
from sffa_jax.core.image_layout import Grid, Pool
from sffa_jax.core.layer import Layer

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "relu": jax.nn.relu,
    "sigmoid": jax.nn.sigmoid,
    "tanh": jnp.tanh,
}
"""Activations by name."""

INITIALIZERS: dict[str, nn.initializers.Initializer] = {
    "lecun_normal": nn.initializers.lecun_normal(),
    # Uniform within 1 / sqrt(inputs): the default of PyTorch's linear layer, 1/sqrt(3) as wide.
    "torch": nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform"),
}
"""How weights are drawn, by name."""


# float32 is Flax's None: the type of input and parameters, float64 where those are.
DTYPES = {"float32": None, "bfloat16": jnp.bfloat16}
"""Types in which a layer's products can be computed."""


PADDINGS = ("SAME", "VALID")
"""How convolutions treat the edge of an image: zeros around it, or no kernel across it."""


def _batch_normalization(units: int) -> nn.Module:
    del units
    return nn.BatchNorm(momentum=0.9)


def _group_normalization(units: int) -> nn.Module:
    return nn.GroupNorm(num_groups=None, group_size=math.gcd(units, 16))


NORMALIZATIONS: dict[str, Callable[[int], nn.Module]] = {
    "batch": _batch_normalization,
    "group": _group_normalization,
}
"""Normalizations between product and activation, by name: number of units or maps -> module.

"batch" uses the statistics of the batch in training and running ones (momentum 0.9) in scoring;
"group" normalizes groups of 16 units or maps of each sample, or of the largest power of two below
16 that divides their number. Both learn a scale and an offset.
"""

Normalization = Callable[[int], nn.Module | Body]
"""(number of units or maps) -> a body that keeps the shape."""


def dense_layers(
    hidden: Sequence[int],
    *,
    activation: str | Callable[[Array], Array] = "relu",
    winners: int | None = None,
    initializer: str | nn.initializers.Initializer = "lecun_normal",
    precision: str = "float32",
    normalization: str | Normalization | None = None,
    dropout: float = 0.0,
    bias: bool = False,
) -> tuple[Layer, ...]:
    """Fully connected layers, one per width.

    Args:
      hidden: width of each layer.
      activation: one of `ACTIVATIONS`, or an element-wise function.
      winners: units that stay active in each half; None keeps all.
      initializer: one of `INITIALIZERS`, or a function (key, shape, dtype) -> kernel.
      precision: type in which products are computed, one of `DTYPES`; parameters, sums over parts
        and activity keep the type of the input.
      normalization: between product and activation, one of `NORMALIZATIONS`, or a function (number
        of units) -> module; None: no normalization.
      dropout: fraction of units that training drops from what each layer passes on.
      bias: whether units have a bias, which starts at 0. The released SFFA code has none in
        classification, and one in continual learning.

    Raises:
      ValueError: for no layer, a width below 1, winners above half a layer, an odd width under
        group normalization, or an unknown name.

    >>> len(dense_layers([400, 400], winners=20))
    2
    """
    activation = choose("dense_layers", "activation", activation, ACTIVATIONS)
    initializer = choose("dense_layers", "initializer", initializer, INITIALIZERS)
    check_choice("dense_layers", "precision", precision, DTYPES)
    if normalization is not None:
        normalization = choose("dense_layers", "normalization", normalization, NORMALIZATIONS)
    hidden = check_integers("dense_layers", "hidden", hidden, 1)
    if not hidden:
        raise reject("dense_layers", "hidden", "name at least one width", "none")
    for units in hidden:
        if normalization is _group_normalization and units % 2:  # a group of one unit is always 0
            raise reject("dense_layers", "hidden", "be even under group normalization", units)
    layers = tuple(
        Layer(
            nn.Dense(units, use_bias=bias, kernel_init=initializer, dtype=DTYPES[precision]),
            activation,
            winners,
            normalization=None if normalization is None else normalization(units),
            dropout=dropout,
        )
        for units in hidden
    )
    if winners is not None and winners > min(hidden) // 2:
        rule = f"be at most half of the layer's {min(hidden)} units"
        advice = "Choose fewer winners or a wider layer."
        raise reject("dense_layers", "winners", rule, winners, advice)
    return layers


def conv_layers(
    shape: Sequence[int],
    channels: Sequence[int],
    *,
    kernel: int = 3,
    stride: int = 1,
    padding: str = "SAME",
    pool: str | Pool | None = "max",
    pooled: Sequence[int] | None = None,
    activation: str | Callable[[Array], Array] = "relu",
    winners: int | None = None,
    initializer: str | nn.initializers.Initializer = "lecun_normal",
    precision: str = "float32",
    normalization: str | Normalization | None = None,
    dropout: float = 0.0,
    bias: bool = False,
) -> tuple[Layer, ...]:
    """Convolutional layers, one per number of channels, each on the maps below.

    Args:
      shape: (height, width) or (height, width, channels) of the images.
      channels: feature maps of each layer.
      kernel, stride: side of the square kernel and its step, pixels.
      padding: "SAME" or "VALID".
      pool: one of `POOLS`, a function that halves height and width of [samples, h, w, c], or None.
      pooled: numbers of the layers that pool, from 0; None: all.
      precision: type in which convolutions are computed and maps are passed on, one of `DTYPES`;
        parameters, statistics and logits keep the type of the input.
      activation, winners, initializer, normalization, dropout, bias: as in `dense_layers`.

    Raises:
      ValueError: for no layer, a number below 1, an unknown name, or maps that shrink to nothing.

    Reference: the released SFFA code's convolutional network is channels (64, 128), kernel 7,
    stride 2, padding "VALID", no pooling.

    >>> conv_layers((28, 28), [32, 64])[1].grid
    Grid(height=14, width=14, channels=32)
    """
    height, width, depth = check_image_shape("conv_layers", shape)
    channels = check_integers("conv_layers", "channels", channels, 1)
    if not channels:
        raise reject("conv_layers", "channels", "name at least one layer", "none")
    if pooled is not None:
        pooled = check_integers("conv_layers", "pooled", pooled, 0)
    for k in pooled or ():
        if k >= len(channels):
            raise reject("conv_layers", "pooled", f"be below {len(channels)} layers", k)
    check_integer("conv_layers", "kernel", kernel, 1)
    check_integer("conv_layers", "stride", stride, 1)
    check_choice("conv_layers", "padding", padding, PADDINGS)
    activation = choose("conv_layers", "activation", activation, ACTIVATIONS)
    initializer = choose("conv_layers", "initializer", initializer, INITIALIZERS)
    check_choice("conv_layers", "precision", precision, DTYPES)
    if normalization is not None:
        normalization = choose("conv_layers", "normalization", normalization, NORMALIZATIONS)

    def size(length: int, pools: bool) -> int:
        taken = 0 if padding == "SAME" else kernel - 1
        length = -(-(length - taken) // stride)
        return length // 2 if pools else length

    layers = []
    grid = Grid(height, width, depth)
    for k, features in enumerate(channels):
        pools = pool is not None and (pooled is None or k in pooled)
        body = nn.Conv(
            features,
            (kernel, kernel),
            (stride, stride),
            padding,
            use_bias=bias,
            kernel_init=initializer,
            dtype=DTYPES[precision],
            conv_general_dilated=convolve,
        )
        normalized = None if normalization is None else normalization(features)
        layer = Layer(body, activation, winners, grid, pool if pools else None, normalized, dropout)
        sides = size(grid.height, pools), size(grid.width, pools)
        if min(sides) < 1:
            raise reject(
                "conv_layers",
                "channels",
                f"leave something of images of shape {tuple(shape)}",
                f"{len(channels)} layers",
                "Use fewer layers, a smaller kernel or stride, or no pooling.",
            )
        grid = Grid(*sides, features)
        layers.append(layer)
    return tuple(layers)
