"""Parts of the runs of `records`: sets of few images, and the choice of the layers that predict."""

import dataclasses
from typing import Any

import numpy as np

from experiments.config.options import Common
from experiments.config.recipe import Recipe
from experiments.config.search_space import FIRST_SEED
from experiments.harness.splits import make_splits
from experiments.harness.trainer import train_runs
from sffa_jax.data import Dataset
from sffa_jax.scale.checkpoints import Checkpoints
from sffa_jax.training.evaluate import accuracy_of_ranges, score_samples

PILOT = 4
"""The layers that predict are chosen in a run of a quarter of the epochs."""

HELD_OUT = 4000
"""Number of training images that rows of few images are tested on."""


def of_few_images(dataset: Dataset, number: int) -> Dataset:
    """Returns a data set of some training images, tested on other training images."""
    order = np.random.default_rng(0).permutation(len(dataset.train_labels))
    train, test = order[:number], order[number : number + HELD_OUT]
    images, labels = dataset.train_images, dataset.train_labels
    return dataclasses.replace(
        dataset,
        train_images=images[train],
        train_labels=labels[train],
        test_images=images[test],
        test_labels=labels[test],
    )


def choose_layers(
    recipe: Recipe,
    algorithm: str,
    dataset: Dataset,
    options: Common,
    label: str,
    checkpoints: Checkpoints,
) -> list[int]:
    """Returns the first and the last layer that predict best on held-out training images, in a run
    of fewer epochs with a seed of its own."""
    recipe = dataclasses.replace(
        recipe,
        first_scored=0,
        last_scored=None,
        selection="validation",
        epochs=-(-recipe.epochs // PILOT),
    )
    splits = make_splits(dataset, recipe, options.validation)

    def measure(state: Any, samples: Any) -> dict[str, Any]:
        scores = score_samples(splits.learner(recipe, algorithm), state, samples)
        return {"ranges": accuracy_of_ranges(scores, samples.labels)}

    [(record,)] = train_runs(
        recipe,
        algorithm,
        [FIRST_SEED],
        splits,
        options.placement,
        label,
        checkpoints=checkpoints,
        every_seconds=options.checkpoint_seconds,
        measure=measure,
    )
    ranges = np.array(record["history"]["ranges"][-1])
    return [int(layer) for layer in np.unravel_index(np.argmax(ranges), ranges.shape)]
