"""Latents of FFA, SFFA and backprop: sparsity, specialization, precision.

    python -m experiments.latents --dataset mnist --data-dir DIR --hidden 1400 1400 --seeds 5

trains each algorithm on each seed as `compare` does, measures every layer on test images, and draws
the networks of the first seed that did not diverge (from `pictures-ALGORITHM.npz`). The paper's
claims (SFFA's latents are sparser and more specialized, its goodness is more precise) are
differences to FFA, paired by seed.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

from experiments.config import options as shared
from experiments.config.cli import answer_usage
from experiments.reports.names import ALGORITHM_NAMES
from sffa_jax.checks import check_integer

LEAST = 50
"""Least number of images that are measured or drawn."""


@dataclass(frozen=True)
class Options(shared.Options):
    """Measure and draw the latents of FFA, SFFA and backprop."""

    seeds: int = 5
    """Number of seeds; the seeds are 0 .. N-1."""
    probes: int = 5000
    """Maximum number of test images to measure; probes are trained on as many training images."""
    embedded: int = 1000
    """Maximum number of test images in the pictures of embedded latents."""

    def resolve(self) -> Self:
        """Checks every option."""
        for name in ("probes", "embedded"):
            check_integer("options", name, getattr(self, name), LEAST)
        return super().resolve()


if __name__ == "__main__":
    answer_usage(Options, "latents")

import numpy as np

from experiments.harness.experiment import Cell, Missing, Plan, execute, run_experiment
from experiments.harness.layer_measurements import check_measured, gather, measure, watch
from experiments.harness.run_folder import RunFolder
from experiments.harness.splits import data_record, load_splits
from experiments.harness.subsets import spread
from experiments.harness.trainer import train_runs
from sffa_jax.analysis.latents import View, backprop_view, forward_only_view
from sffa_jax.scale.processes import is_main_process
from sffa_jax.training.learner import State
from sffa_jax.training.saved import load, write_file


def make_plan(options: Options) -> Plan:
    """One cell for each algorithm."""
    splits = load_splits(options)
    classes = splits.dataset.num_classes
    views: dict[str, View] = {}
    for algorithm in options.algorithms:
        recipe = options.recipe_of(algorithm)
        splits.check(recipe, algorithm)
        if algorithm == "bp":
            views["bp"] = backprop_view(recipe.layers("bp", splits.shape))
        else:
            views[algorithm] = forward_only_view(recipe.network(algorithm, splits.shape, classes))
    train, test = spread(splits.train, options.probes), spread(splits.test, options.probes)
    for name, some in (("training", train), ("test", test)):
        check_measured(name, some.labels, splits.dataset.class_names, LEAST)

    def saved_state(networks: Path, algorithm: str, seed: int) -> State:
        learner = splits.learner(options.recipe_of(algorithm), algorithm)
        return load(networks / f"{algorithm}-{seed}.npz", learner=learner).state

    def run(folder: RunFolder, missing: Missing) -> Iterator[list[dict[str, Any]]]:
        networks = folder.path / "networks"
        for cell, seeds in missing:
            algorithm = cell.names["algorithm"]
            for records in train_runs(
                options.recipe_of(algorithm),
                algorithm,
                seeds,
                splits,
                options.placement,
                ALGORITHM_NAMES[algorithm],
                checkpoints=folder.checkpoints(algorithm),
                every_seconds=options.checkpoint_seconds,
                networks=networks,
                events=folder.events((algorithm, f"seed-{seed}") for seed in seeds),
                choose=partial(folder.placement, ALGORITHM_NAMES[algorithm]),
                measure=watch(views[algorithm], classes),
            ):
                for record in records:
                    if record["status"] == "done":
                        state = saved_state(networks, algorithm, record["seed"])
                        record["layers"] = measure(views[algorithm], state, train, test, classes)
                yield [{**cell.names, **record} for record in records]
        if is_main_process():
            save_pictures(folder)

    def save_pictures(folder: RunFolder) -> None:
        """Draws the first seed of each algorithm that did not diverge."""
        for algorithm, view in views.items():
            networks, file = folder.path / "networks", folder.path / f"pictures-{algorithm}.npz"
            done = (r for r in folder.records if r["algorithm"] == algorithm and "layers" in r)
            seed = min((record["seed"] for record in done), default=-1)
            if (networks / f"{algorithm}-{seed}.npz").exists() and not file.exists():
                state = saved_state(networks, algorithm, seed)
                arrays: dict[str, Any] = gather(view, state, splits, test, options.embedded)
                write_file(file, partial(np.savez_compressed, **arrays))

    cells = [Cell({"algorithm": algorithm}) for algorithm in options.algorithms]
    return Plan(cells, run, data_record(splits.dataset))


def main(options: Options) -> None:
    """Trains and measures the runs that the output folder lacks and writes its report."""
    run_experiment("latents", options, make_plan)


if __name__ == "__main__":
    sys.exit(execute(main, Options, "latents"))
