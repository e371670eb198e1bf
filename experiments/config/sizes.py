"""Sizes that cannot work are refused before any work begins."""

import itertools
import math
from collections.abc import Sequence

from experiments.config.recipe import Recipe
from sffa_jax import scale
from sffa_jax.checks import check_range, reject

MOST_SEEDS, MOST_EPOCHS, MOST_LAYERS = 10_000, 100_000, 300
"""Largest numbers: more seeds do not narrow an interval, more layers compile for hours."""


def check_seeds(number: int) -> None:
    """Raises ValueError for more than `MOST_SEEDS`."""
    check_range("options", "seeds", number, at_most=MOST_SEEDS)


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


def check_images(name: str, num_bytes: int) -> None:
    """Raises ValueError for a data set larger than the memory: commands hold all images.

    Args:
      name: of the data set.
      num_bytes: of all images, which are read into the host's memory and copied to the device.
    """
    allowed = min(scale.limits.host_memory().free // 2, scale.sweep.memory_limit())
    if num_bytes > allowed:
        got = f"{num_bytes / 2**30:.1f} GiB in {name} where {allowed / 2**30:.1f} GiB are allowed"
        advice = (
            "Choose a smaller --image-size, or train from disk in Python with "
            "sffa_jax.scale.streaming (docs/data.md)."
        )
        rule = "fit into memory twice, read and on the device"
        raise reject("options", "dataset", rule, got, advice)
