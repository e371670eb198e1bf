"""Sizes that cannot work are refused before any work begins."""

import itertools
import math
from collections.abc import Sequence

from experiments.config.recipe import Recipe
from sffa_jax import scale
from sffa_jax.checks import check_range, reject

MOST_SEEDS, MOST_EPOCHS, MOST_LAYERS = 1000, 100_000, 300
"""Largest numbers: seeds from 1000 on are those of searches, more layers compile for hours."""

FROM_DISK = (
    "Choose a smaller --image-size, or train from disk with experiments.compare, or in Python with "
    "sffa_jax.scale.streaming (docs/data.md)."
)
"""What to do about images that do not fit, in commands that hold all images in memory."""


def check_size(recipe: Recipe, shape: Sequence[int]) -> None:
    """Raises ValueError for too many epochs or layers, or a network larger than the memory.

    Counts the dense weights and kernels with Adam's two moments, a lower bound of what a run needs.

    Args:
      recipe: of the runs.
      shape: of one image.
    """
    check_range("options", "epochs", recipe.epochs, at_most=MOST_EPOCHS)
    if recipe.depth > MOST_LAYERS:
        got = f"{recipe.depth} layers"
        raise reject("options", "hidden", f"hold at most {MOST_LAYERS} widths", got)
    inputs = [math.prod(shape)] * (not recipe.channels)
    weights = sum(a * b for a, b in itertools.pairwise([*inputs, *recipe.hidden]))
    weights += recipe.kernel**2 * sum(a * b for a, b in itertools.pairwise(recipe.channels))
    needed, exists = 3 * 4 * weights, scale.sweep.memory_limit()
    if needed > exists:
        got = f"weights of {needed / 2**30:.0f} GiB, {exists / 2**30:.0f} GiB exist"
        advice = "Choose smaller --hidden or --channels."
        raise reject("options", "hidden", "fit into memory with Adam's moments", got, advice)


def allowed_bytes() -> int:
    """Returns the largest size of images that are read into the host's memory and copied to the
    device."""
    return min(scale.limits.host_memory().free // 2, scale.sweep.memory_limit())


def fits(num_bytes: int) -> bool:
    """Returns whether images of this size fit into memory twice, read and on the device."""
    return num_bytes <= allowed_bytes()


def check_images(name: str, num_bytes: int, advice: str = FROM_DISK) -> None:
    """Raises ValueError for images larger than the memory.

    Args:
      name: of the images.
      num_bytes: of all of them.
      advice: what to do.
    """
    if not fits(num_bytes):
        allowed = allowed_bytes() / 2**30
        got = f"{num_bytes / 2**30:.1f} GiB in {name} where {allowed:.1f} GiB are allowed"
        rule = "fit into memory twice, read and on the device"
        raise reject("options", "dataset", rule, got, advice)
