"""Rows, images and feature maps: their conversion, functions of units on them, and pooling.

The activity of a layer is a row of units or maps [h, w, c]; maps stay in this layout from layer to
layer, because convolutions need it. Functions that need a row receive maps one after another, so
that the first half of the units is the first half of the maps.
"""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sffa_jax.checks import check_integer, reject


@dataclass(frozen=True)
class Grid:
    """Shape of the images or maps that a layer receives; rows contain images, channels last.

    Attributes:
      height, width, channels: of the image or the maps.

    Raises:
      ValueError: for a size below 1.
    """

    height: int
    width: int
    channels: int

    def __post_init__(self) -> None:
        for name in ("height", "width", "channels"):
            check_integer("Grid", name, getattr(self, name), 1)

    def read(self, x: Array, lead: int) -> Array:
        """Reshapes rows to images, channels last; returns images and maps as they are.

        Args:
          x: rows, images or maps, after `lead` other axes.
          lead: number of these axes.

        Raises:
          ValueError: for another number of features, or maps of another shape.
        """
        shape = (self.height, self.width, self.channels)
        if x.shape[lead:] == shape:
            return x
        if x.shape[lead:] != (self.height * self.width * self.channels,):
            raise reject(
                "activity",
                "x",
                f"have rows of {self.height} x {self.width} x {self.channels} features",
                f"shape {x.shape}",
                "Build the network for inputs of this shape.",
            )
        return x.reshape(*x.shape[:lead], *shape)


def flatten_maps(maps: Float[Array, "*lead h w c"]) -> Float[Array, "*lead units"]:
    """Flattens feature maps to rows, one map after another."""
    return jnp.moveaxis(maps, -1, -3).reshape(*maps.shape[:-3], -1)


def unflatten_maps(
    rows: Float[Array, "*lead units"], shape: Sequence[int]
) -> Float[Array, "*lead h w c"]:
    """Inverts `flatten_maps`; `shape` ends with that of the maps, (height, width, channels)."""
    height, width, channels = shape[-3:]
    maps = rows.reshape(*rows.shape[:-1], channels, height, width)
    return jnp.moveaxis(maps, -3, -1)


def average_places(
    maps: Float[Array, "*lead h w c"], features: int
) -> Float[Array, "*lead rows columns c"]:
    """Averages maps over the smallest squares of positions that leave at most `features` numbers.

    Squares at the lower and right edges may be incomplete. One position per map is the least.

    >>> average_places(jnp.arange(4.0).reshape(2, 2, 1), features=1)
    Array([[[1.5]]], dtype=float32)
    """
    height, width, channels = maps.shape[-3:]
    side = 1
    while -(-height // side) * -(-width // side) * channels > features and side < max(
        height, width
    ):
        side += 1
    if side == 1:
        return maps
    rows, columns = -(-height // side), -(-width // side)
    lead = maps.shape[:-3]
    missing = [(0, rows * side - height), (0, columns * side - width), (0, 0)]
    padded = jnp.pad(maps, [(0, 0)] * len(lead) + missing)
    squares = padded.reshape(*lead, rows, side, columns, side, channels)
    ones = np.pad(np.ones((height, width)), missing[:2])
    positions = ones.reshape(rows, side, columns, side).sum(axis=(1, 3))[..., None]
    positions = positions.reshape((1,) * len(lead) + positions.shape)
    return jnp.sum(squares, axis=(-4, -2)) / jnp.asarray(positions, maps.dtype)


def over_units(function: Callable[..., Any], h: Array, unit_axes: int) -> Any:
    """Applies a function of units [..., units] to rows or maps.

    Args:
      function: a function with an argument `unit_axes` receives maps as they are; any other
        function receives them as rows, the first half of the units is the first half of the maps.
      h: activity.
      unit_axes: number of its last axes that contain units: 1 for rows, 3 for maps.
    """
    if unit_axes == 1:
        return function(h)
    try:
        takes_maps = "unit_axes" in inspect.signature(function).parameters
    except ValueError:  # a function of C
        takes_maps = False
    return function(h, unit_axes=unit_axes) if takes_maps else function(flatten_maps(h))


def _in_fours(maps: Float[Array, "samples h w c"]) -> Float[Array, "samples h2 two w2 two c"]:
    """Puts each 2 x 2 block on axes 2 and 4; drops an odd last row or column.

    The gradient of a reduction over axes is element-wise; the gradient of a window is a scatter,
    which took a third of an update on CPU (docs/performance.md).
    """
    h, w = maps.shape[1] // 2, maps.shape[2] // 2
    return maps[:, : 2 * h, : 2 * w].reshape(-1, h, 2, w, 2, maps.shape[3])


Pool = Callable[[Array], Array]


def _max_of_fours(maps: Float[Array, "samples h w c"]) -> Float[Array, "samples h2 w2 c"]:
    """The maximum of each 2 x 2 block; its gradient goes to one of them.

    The gradient of `jnp.max` compares each number with the maximum. If XLA computes the numbers
    anew for it, with another rounding, none is equal, and the gradient is 0 / 0.
    """

    def larger(a: Array, b: Array) -> Array:
        return jnp.where(a < b, b, a)

    x = _in_fours(maps)
    upper = larger(x[:, :, 0, :, 0], x[:, :, 0, :, 1])
    lower = larger(x[:, :, 1, :, 0], x[:, :, 1, :, 1])
    return larger(upper, lower)


POOLS: dict[str, Pool] = {
    "max": _max_of_fours,
    "mean": lambda maps: jnp.mean(_in_fours(maps), axis=(2, 4)),
}
"""Pooling by name: [samples, h, w, c] -> [samples, h // 2, w // 2, c]."""
