"""Saves the selected network of each run."""

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jax

from experiments.config.recipe import Recipe
from experiments.harness.group import Group
from experiments.harness.splits import Splits
from sffa_jax.scale.processes import broadcast_from_main, to_host
from sffa_jax.training.learner import State
from sffa_jax.training.saved import save


def save_networks(
    folder: Path | None,
    splits: Splits,
    algorithm: str,
    recipe_of: Callable[[Mapping[str, Any]], Recipe],
    group: Group,
    states: State,
) -> None:
    """Saves a file for each run of a group.

    Args:
      folder: of the files; None: nothing is saved.
      splits: the data.
      algorithm: that trained the runs.
      recipe_of: varied numbers of a run -> its recipe.
      group: the runs.
      states: of all runs, stacked.
    """
    if folder is None:
        return
    states = to_host(states)
    for i, seed in enumerate(group.seeds):
        recipe = recipe_of({name: float(v[i]) for name, v in group.varied.items()})
        info = {"algorithm": algorithm, "recipe": dataclasses.asdict(recipe), **splits.described}
        learner = splits.learner(recipe, algorithm)
        state = jax.tree.map(lambda leaf, i=i: leaf[i], states)
        path = folder / f"{algorithm}-{seed}.npz"
        broadcast_from_main(partial(save, path, learner, state, splits.train, info=info))
