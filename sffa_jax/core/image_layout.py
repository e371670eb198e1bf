"""Conversion between flat rows and images or feature maps, and pooling."""

from collections.abc import Callable
from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array, Float

from sffa_jax.checks import check_integer, reject


@dataclass(frozen=True)
class Grid:
    """Layout of an image, or of the feature maps of the layer below, in a flat row of features.

    Images are flattened row by row with channels last. Feature maps are flattened one map after
    another, so that the first half of a polar layer's units is the first half of its maps.

    Attributes:
      height, width, channels: of the image or the maps.
      maps: whether the row contains feature maps.

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
        """Number of features in a row."""
        return self.height * self.width * self.channels

    def read(self, row: Float[Array, "*lead features"]) -> Float[Array, "*lead h w c"]:
        """Reshapes rows to images or maps, channels last.

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
    """Flattens feature maps to rows, one map after another."""
    return jnp.moveaxis(maps, -1, -3).reshape(*maps.shape[:-3], -1)


def _in_fours(maps: Float[Array, "samples h w c"]) -> Float[Array, "samples h2 two w2 two c"]:
    """Puts each 2 x 2 block on axes 2 and 4; drops an odd last row or column.

    The gradient of a reduction over axes is element-wise; the gradient of a window is a scatter,
    which took a third of an update on CPU (docs/performance.md).
    """
    h, w = maps.shape[1] // 2, maps.shape[2] // 2
    return maps[:, : 2 * h, : 2 * w].reshape(-1, h, 2, w, 2, maps.shape[3])


Pool = Callable[[Array], Array]

POOLS: dict[str, Pool] = {
    "max": lambda maps: jnp.max(_in_fours(maps), axis=(2, 4)),
    "mean": lambda maps: jnp.mean(_in_fours(maps), axis=(2, 4)),
}
"""Pooling by name: [samples, h, w, c] -> [samples, h // 2, w // 2, c]."""
