"""Saves the selected network of each run."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import TYPE_CHECKING, Any

import jax

from sffa_jax.scale.processes import broadcast_from_main, to_host
from sffa_jax.training.saved import save

if TYPE_CHECKING:
    from experiments.harness.group import Group
    from experiments.harness.trainer import Trainer
    from sffa_jax.training.fit import Progress


def save_networks(trainer: Trainer, group: Group, progress: Progress) -> None:
    """Saves each run's selected network if the trainer has a folder for `networks`."""
    if trainer.networks is None:
        return
    states, training = to_host(trainer.selected(progress)), trainer.splits.training
    for i, seed in enumerate(group.seeds):
        numbers: dict[str, Any] = {name: float(v[i]) for name, v in group.varied.items()}
        recipe = trainer.recipe_of(numbers)
        info = {"algorithm": trainer.algorithm, "recipe": dataclasses.asdict(recipe)}
        info |= trainer.splits.described
        learner = trainer.splits.learner(recipe, trainer.algorithm)
        state = jax.tree.map(lambda leaf, i=i: leaf[i], states)
        path = trainer.networks / f"{trainer.algorithm}-{seed}.npz"
        broadcast_from_main(partial(save, path, learner, state, training, info=info))
