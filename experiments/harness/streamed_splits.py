"""Splits of a data set that does not fit into memory: its images are read from disk."""

import hashlib
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import NamedTuple, cast

import numpy as np

from experiments.config.options import Options
from experiments.config.recipe import Recipe
from experiments.config.sizes import check_images, check_size, fits
from experiments.harness.splits import (
    MNIST_SCALE,
    Splits,
    choosing_split,
    conversion_of,
    load_splits,
    open_large,
    split_rows,
)
from sffa_jax import data
from sffa_jax.checks import reject
from sffa_jax.data.batches import import_grain, in_order
from sffa_jax.data.dataset import from_moments, moments
from sffa_jax.scale.processes import main_process_first
from sffa_jax.scale.streaming import DEVICE_BUFFER, StreamedSamples, make_streamed_samples
from sffa_jax.training.evaluate import EVALUATION_CHUNK

SCANNED = 64
"""Number of images that are read at once to compute checksums and statistics."""

POSSIBLE = {
    "tune": (0,),
    "parallel": ("auto", "map"),
    "devices_per_run": (1,),
    "coordinator": (None,),
}
"""Values of options that runs from disk support."""


@dataclass(frozen=True)
class ImagesOnDisk:
    """Images of a split, each read when it is indexed. Attributes: records: the split."""

    records: data.Records

    @property
    def shape(self) -> tuple[int, ...]:
        """[samples, height, width] or [samples, height, width, channels]."""
        return len(self.records), *self.records.image_shape

    def __getitem__(self, index: int) -> np.ndarray:
        return self.records.read(np.array([index]))[0][0]


@dataclass(frozen=True)
class DatasetOnDisk(data.Dataset):
    """A data set whose images are `ImagesOnDisk`. Attributes: digests: as `Dataset.sha256`."""

    digests: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Keeps the images as they are."""

    @property
    def sha256(self) -> dict[str, str]:
        """The checksums that the data set has in memory."""
        return self.digests


class Streams(NamedTuple):
    """The splits on disk, as in `Splits`."""

    train: StreamedSamples
    validation: StreamedSamples | None
    test: StreamedSamples


@dataclass(frozen=True)
class StreamedSplits(Splits):
    """Splits on disk. `train`, `validation` and `test` hold the first sample of each.

    Attributes: streams: all samples.
    """

    streams: Streams = field(kw_only=True)

    @property
    def num_training(self) -> int:
        return len(self.streams_of(0).train)

    def streams_of(self, seed: int) -> Streams:
        """Returns the splits of a seed."""
        rows = self.rows(seed)
        if not rows:
            return self.streams
        train, held_out = (replace(self.streams.train, indices=part) for part in rows)
        return Streams(train, held_out, self.streams.test)


def scan(records: data.Records, rows: np.ndarray) -> tuple[str, np.ndarray]:
    """Returns the SHA-256 of all images of a split, and the `moments` of those in `rows`."""
    digest, total, first = hashlib.sha256(), np.zeros((), np.uint64), 0
    chosen = np.isin(np.arange(len(records)), rows)
    for order in in_order(len(records), SCANNED):
        for images, _ in data.batches(records, order):
            digest.update(np.ascontiguousarray(images).data)
            total = np.add(total, moments(images[chosen[first : first + len(images)]]))
            first += len(images)
    return digest.hexdigest(), total


def glance(records: data.Records, rows: np.ndarray) -> tuple[str, np.ndarray]:
    """Returns no checksum and the `moments` of one image, in place of `scan`."""
    return "", moments(records.read(rows[:1])[0])


def stream_splits(
    stored: data.OnDisk,
    recipe: Recipe,
    validation: float,
    scan: Callable[[data.Records, np.ndarray], tuple[str, np.ndarray]] = scan,
    *,
    by_seed: bool = False,
) -> StreamedSplits:
    """Returns what `make_splits` returns, with images that stay on disk.

    Args:
      stored: the data set.
      recipe, validation, by_seed: as in `make_splits`.
      scan: computes the checksum and the scale; `scan` reads all images once.
    """
    classes, parts = len(stored.class_names), {"train": stored.train, "test": stored.test}
    labels = {name: data.to_labels(part.labels, classes) for name, part in parts.items()}
    train, held_out = split_rows(labels["train"], recipe, validation, by_seed=by_seed)
    everything = np.arange(len(stored.test))
    digests, total = {}, np.zeros(0)
    for name, rows in (("test", everything), ("train", train)):
        digests[f"{name}_images"], total = scan(parts[name], rows)
        digests[f"{name}_labels"] = hashlib.sha256(labels[name].data).hexdigest()
    mean, std = from_moments(total)  # of the training split
    if len(stored.train.image_shape) == 2:
        mean, std = mean.squeeze(), std.squeeze()
    if recipe.scaling == "mnist":
        mean, std = map(np.asarray, MNIST_SCALE)
    scaled = partial(make_streamed_samples, num_classes=classes, mean=mean, std=std)
    test = scaled(stored.test, everything)
    choosing = choosing_split(recipe, lambda: scaled(stored.train, held_out), test)
    streams = Streams(scaled(stored.train, train), choosing, test)
    dataset = DatasetOnDisk(
        stored.name,
        cast(np.ndarray, ImagesOnDisk(stored.train)),
        labels["train"],
        cast(np.ndarray, ImagesOnDisk(stored.test)),
        labels["test"],
        stored.class_names,
        stored.source,
        digests,
    )
    held = None if streams.validation is None else streams.validation.first()
    first = (streams.train.first(), held, test.first())
    by_seed = by_seed and recipe.selection == "validation"
    return StreamedSplits(dataset, *first, validation if by_seed else None, streams=streams)


def load_or_stream(options: Options, *, by_seed: bool) -> Splits:
    """Loads the options' data set into memory if it fits; else returns its `StreamedSplits`;
    `by_seed` as in `make_splits`.

    Raises:
      DataError: see `data.load`.
      ValueError: if not even a few batches fit, or for options that runs from disk do not support,
        or without grain.
    """
    stored = main_process_first(partial(open_large, options))
    if stored is None or fits(stored.num_bytes):
        return load_splits(options, by_seed=by_seed)
    try:
        import_grain()
    except ImportError as error:
        raise ValueError(f"{options.dataset} does not fit into memory. {error}") from None
    flat = options.flat()
    for name, values in POSSIBLE.items():
        if flat[name] not in values:
            rule = f"be {' or '.join(map(str, values))} for images that do not fit into memory"
            raise reject("options", name, rule, flat[name])
    if options.dataset.startswith("tfds:"):  # refuses a conversion
        stored = data.open_on_disk(options.dataset, **conversion_of(options))
    check_size(options.recipe, stored.train.image_shape)
    sizes = [options.recipe_of(algorithm).batch_size for algorithm in options.algorithms]
    at_once = max(EVALUATION_CHUNK, *sizes)
    ahead = at_once * (data.AHEAD.buffer + DEVICE_BUFFER)
    size = stored.num_bytes // (len(stored.train) + len(stored.test))
    advice = "Choose a smaller --image-size."
    check_images(f"{ahead} images of {options.dataset}", ahead * size, advice)
    glimpse = stream_splits(stored, options.recipe, options.validation, glance)
    for algorithm in options.algorithms:  # before all images are read, which may take long
        glimpse.check(options.recipe_of(algorithm), algorithm)
    line = f"{options.dataset} does not fit into memory: each epoch reads its images from disk."
    print(line, file=sys.stderr)
    return stream_splits(stored, options.recipe, options.validation, by_seed=by_seed)
