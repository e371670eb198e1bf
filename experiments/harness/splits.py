"""Splits of a data set on the device, as configured by a recipe."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import jax
import numpy as np

from experiments.config.options import Common, Options
from experiments.config.recipe import Recipe
from experiments.config.sizes import check_images, check_size
from sffa_jax import data
from sffa_jax.scale.processes import main_process_first
from sffa_jax.training.fit import Schedule
from sffa_jax.training.learner import Learner
from sffa_jax.training.samples import Samples, make_samples

Split = TypeVar("Split")

MNIST_SCALE = (0.1307, 0.3081)
"""MNIST's mean and standard deviation as constants, as in the released code."""


@dataclass(frozen=True)
class Splits:
    """A data set's splits on the device, scaled by the training split's statistics.

    Attributes:
      dataset: the data set.
      train, test: the splits.
      validation: for the choice of the epoch; None if the last epoch is used.
      held_out: fraction of `train` that each seed holds out for the choice of the epoch in place
        of `validation`, which is seed 0's; None: all seeds share the splits.
    """

    dataset: data.Dataset
    train: Samples
    validation: Samples | None
    test: Samples
    held_out: float | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one image."""
        return self.dataset.train_images.shape[1:]

    @property
    def assessed_in_training(self) -> bool:
        """Whether runs are assessed after an epoch on rows of `train`, or not at all."""
        return self.validation is None or self.held_out is not None

    @cached_property
    def num_training(self) -> int:
        """Number of training samples."""
        rows = self.rows(0)
        return len(rows[0]) if rows else len(self.train.labels)

    def rows(self, seed: int) -> tuple[np.ndarray, ...]:
        """Returns the rows of `train` on which a seed trains and those that it holds out; empty
        if all seeds share the splits. The numbers of rows are the same for all seeds."""
        if self.held_out is None:
            return ()
        rows = data.stratified_split(self.dataset.train_labels, self.held_out, seed)
        return tuple(part.astype(np.int32) for part in rows)

    @property
    def described(self) -> dict[str, Any]:
        """Names of the classes and shape of an image, which saved networks hold."""
        names = list(self.dataset.class_names)
        return {"class_names": names, "image_shape": list(self.shape)}

    def learner(self, recipe: Recipe, algorithm: str) -> Learner:
        """Returns the recipe's learner for these images."""
        classes = self.dataset.num_classes
        return recipe.learner(algorithm, self.shape, classes, self.num_training)

    def check(self, recipe: Recipe, algorithm: str) -> None:
        """Builds the parts of a run without training; raises ValueError if they do not fit the data
        or the memory."""
        check_size(recipe, self.shape)
        self.schedule(recipe)
        learner, first = self.learner(recipe, algorithm), self.train.images[:1]

        def leaves() -> list[jax.Array]:
            return jax.tree.leaves(learner.init(jax.random.key(0), self.train.scaled(first)))

        jax.eval_shape(leaves)  # widths are checked where parameters are made

    def schedule(self, recipe: Recipe) -> Schedule:
        """Returns the recipe's schedule for these images."""
        black = -self.train.mean / self.train.std
        schedule = recipe.schedule(self.shape, black)
        schedule.steps_per_epoch(self.num_training)
        return schedule

    def steps_per_epoch(self, recipe: Recipe) -> int:
        """Returns the number of updates of one epoch."""
        return self.schedule(recipe).steps_per_epoch(self.num_training)


def split_rows(
    labels: np.ndarray, recipe: Recipe, validation: float, *, by_seed: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the rows of the training and of the validation split; see `make_splits`."""
    everything = np.arange(len(labels))
    if recipe.selection != "validation":  # nothing is held out
        return everything, np.arange(0)
    rows, held_out = data.stratified_split(labels, validation, seed=0)
    return everything if by_seed else rows, held_out


def choosing_split(recipe: Recipe, held_out: Callable[[], Split], test: Split) -> Split | None:
    """Returns the split on which the epoch is chosen; None if the last epoch is used."""
    return {"validation": held_out, "last": lambda: None, "test": lambda: test}[recipe.selection]()


def make_splits(
    dataset: data.Dataset, recipe: Recipe, validation: float, *, by_seed: bool = False
) -> Splits:
    """Splits and scales a data set by a recipe.

    Args:
      dataset: the data.
      recipe: only `selection` and `scaling` are used.
      validation: fraction of the training images held out to choose the epoch. Nothing is held out
        if the recipe selects the last epoch or selects on the test set.
      by_seed: whether each seed draws its own validation split. Pixels are then scaled by the
        statistics of all training images.
    """
    images, labels = dataset.train_images, dataset.train_labels
    rows, held_out = split_rows(labels, recipe, validation, by_seed=by_seed)
    mean, std = MNIST_SCALE if recipe.scaling == "mnist" else data.statistics(images[rows])
    scale: dict[str, Any] = {"mean": mean, "std": std, "num_classes": dataset.num_classes}
    test = make_samples(dataset.test_images, dataset.test_labels, **scale)
    train = make_samples(images[rows], labels[rows], **scale)
    choosing = choosing_split(
        recipe, lambda: make_samples(images[held_out], labels[held_out], **scale), test
    )
    by_seed = by_seed and recipe.selection == "validation"
    return Splits(dataset, train, choosing, test, validation if by_seed else None)


def data_record(dataset: data.Dataset) -> dict[str, Any]:
    """Returns source, classes and content hash of a data set, for `config.json`."""
    counts = np.bincount(dataset.train_labels, minlength=dataset.num_classes)
    return {
        "source": dataset.source,
        "class_names": list(dataset.class_names),
        "training_images": counts.tolist(),  # of each class
        "sha256": dataset.sha256,
    }


def conversion_of(options: Common) -> dict[str, Any]:
    """Returns the options that convert images, as arguments of `data.load`."""
    return {
        "image_size": options.image_size,
        "color": options.color,
        "test_fraction": options.test_fraction,
    }


def open_large(options: Common) -> data.OnDisk | None:
    """Opens the options' data set without reading it, if it is one of those of any size."""
    name = options.dataset
    if not name.startswith(("folder:", "tfds:")):
        return None
    return data.open_on_disk(name, **(conversion_of(options) if name.startswith("folder:") else {}))


def load_dataset(options: Common) -> data.Dataset:
    """Loads the options' data set; the main process downloads it, then all processes read it.

    Raises:
      DataError: see `data.load`.
      ValueError: for pictures that do not fit into memory, before they are read.
    """

    def load() -> data.Dataset:
        stored = open_large(options)
        if stored is not None:
            check_images(options.dataset, stored.num_bytes)
        return data.load(options.dataset, options.data_dir, **conversion_of(options))

    return main_process_first(load)


def load_splits(options: Options, *, by_seed: bool = False) -> Splits:
    """Loads the options' data set and splits it by their recipe; `by_seed` as in `make_splits`."""
    dataset = load_dataset(options)
    return make_splits(dataset, options.recipe, options.validation, by_seed=by_seed)
