"""Features of continual-learning runs: extracted once for each seed, shared by strategies."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np

from sffa_jax.continual import features
from sffa_jax.continual.model import Model
from sffa_jax.continual.scenarios import TaskData, TaskStream
from sffa_jax.scale.processes import to_host
from sffa_jax.scale.sweep import seed_keys
from sffa_jax.training.samples import Samples

KEPT_BYTES = 2e9
"""Features of other seeds are dropped beyond this size."""


class Extracted(NamedTuple):
    """Features of several runs, stacked.

    Attributes:
      train, test: the samples.
      bytes: size of the parameters of one run's features.
    """

    train: Samples
    test: Samples
    bytes: int


class FeatureCache:
    """Features of the last kind that was asked for, by group of seeds."""

    def __init__(self) -> None:
        self.name: str | None = None
        self.groups: dict[tuple[int, ...], Extracted] = {}

    def get(
        self,
        name: str,
        model: Model,
        seeds: Sequence[int],
        streams: TaskStream,
        train: Samples,
        test: Samples,
    ) -> Extracted:
        """Returns the features of some seeds; extracts them if the last ones were others.

        Args:
          name: of the features and everything they depend on, except the seeds.
          model: the features.
          seeds: of the runs.
          streams: of the runs, stacked.
          train, test: the images.
        """
        if name != self.name:
            self.name, self.groups = name, {}
        if tuple(seeds) not in self.groups:

            @jax.jit
            def extract(
                key: jax.Array, stream: TaskStream, train: Samples, test: Samples
            ) -> tuple[TaskData, object]:
                return features.extract(model, key, TaskData(stream, train, test))

            if sum(kept.train.images.nbytes for kept in self.groups.values()) > KEPT_BYTES:
                self.groups = {}
            of_seed: dict[int, tuple[TaskData, object]] = {}
            for i, (seed, key) in enumerate(zip(seeds, seed_keys(seeds), strict=True)):
                if seed not in of_seed:  # trials of tuning repeat seeds
                    stream = jax.tree.map(lambda x, i=i: x[i], streams)
                    of_seed[seed] = to_host(extract(key, stream, train, test))
            rows = [of_seed[seed] for seed in seeds]
            runs = [data for data, _ in rows]
            size = sum(leaf.nbytes for leaf in jax.tree.leaves(rows[0][1]))

            def stack(samples: Sequence[Samples]) -> Samples:
                return jax.tree.map(lambda *leaves: np.stack(leaves), *samples)

            self.groups[tuple(seeds)] = Extracted(
                stack([run.train for run in runs]), stack([run.test for run in runs]), size
            )
        return self.groups[tuple(seeds)]
