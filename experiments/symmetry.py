"""Gradients of positive and of negative samples in FFA and SFFA: is SFFA's loss symmetric?

    python -m experiments.symmetry --dataset mnist --data-dir DIR --hidden 1400 --epochs 5

The report has two parts. The *landscape* shows how the loss of positive and of negative samples
depends on the activity of a layer with one positive and one negative neuron. The *training run*
shows the gradient norm of both kinds of samples for the weights of each layer, before training and
after each epoch. Both parts compare the published rules (logit_scale 1, threshold 2) with the
preset's.
"""

import dataclasses
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

from experiments.config import options as shared
from experiments.config.cli import answer_usage
from experiments.config.grids import GRADIENT_SETTINGS, PUBLISHED
from experiments.config.recipe import Recipe
from experiments.reports.names import ALGORITHM_NAMES
from sffa_jax.checks import check_choice, reject

NUM_PROBES = 500
"""Maximum number of validation images (with `--selection last`, test images) on which gradients
are measured."""


@dataclass(frozen=True)
class Options(shared.Options):
    """Measure the gradients of positive and of negative samples in the layers of FFA and SFFA."""

    algorithms: tuple[str, ...] = ("ffa", "sffa")
    """Algorithms: ffa, sffa."""
    seeds: int = 5
    """Number of seeds; the seeds are 0 .. N-1."""
    sizes: bool = True
    """Also measure SFFA's gradient norms at several values of logit_scale and eps."""

    def resolve(self) -> Self:
        """Checks every option."""
        for algorithm in self.algorithms:
            check_choice("symmetry", "algorithms", algorithm, ("ffa", "sffa"))
        if self.tensorboard:  # each run is one program from start to end
            raise reject(
                "symmetry", "tensorboard", "be left out, because a run logs no epochs", True
            )
        if self.recipe.update_order == "greedy":
            raise reject("symmetry", "update_order", "train all layers at once", "'greedy'")
        options = super().resolve()
        for algorithm in options.algorithms:
            recipe = options.recipe_of(algorithm)
            for name, only in (("loss", "bce"), ("class_units", "none")):
                if (value := getattr(recipe, name)) != only:
                    rule = f"be {only}, which treats positive and negative samples separately"
                    raise reject("symmetry", name, rule, repr(value))
        return options


if __name__ == "__main__":
    answer_usage(Options, "symmetry")

import jax
import jax.numpy as jnp
import numpy as np

from experiments.harness.experiment import Cell, Missing, Plan, execute, run_experiment
from experiments.harness.outcomes import DIVERGED, DONE
from experiments.harness.run_folder import RunFolder
from experiments.harness.splits import Splits, data_record, load_splits
from experiments.harness.subsets import spread
from sffa_jax.analysis.symmetry import gradient_norms
from sffa_jax.scale.placement import Placement
from sffa_jax.scale.sweep import seed_keys, sweep
from sffa_jax.training.evaluate import evaluate
from sffa_jax.training.fit import Progress, start, train_epoch
from sffa_jax.training.local import LocalState


def recipes_of(options: Options) -> dict[tuple[str, str], Recipe]:
    """Returns the recipe of each algorithm and setting."""
    recipes = {
        (algorithm, setting): dataclasses.replace(options.recipe_of(algorithm), **changes)
        for setting, changes in (("published", PUBLISHED), (options.preset, {}))
        for algorithm in options.algorithms
    }
    if options.sizes and "sffa" in options.algorithms:
        for name, changes in GRADIENT_SETTINGS.items():
            recipes["sffa", name] = dataclasses.replace(options.recipe_of("sffa"), **changes)
    return recipes


def train_and_measure(
    recipe: Recipe,
    algorithm: str,
    splits: Splits,
    seeds: Sequence[int],
    placement: Placement | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Trains every seed and measures its gradients on images that do not train.

    Returns:
      Gradient norms [seeds, epochs + 1, layers, 2], and the accuracy [seeds] on the same images
      after the last epoch.
    """
    learner, schedule = splits.learner(recipe, algorithm), splits.schedule(recipe)
    classes = splits.dataset.num_classes
    network = recipe.network(algorithm, splits.shape, classes)
    # A factor on the loss of a whole batch belongs to neither kind of sample.
    network = dataclasses.replace(network, rule=network.rule._replace(activity_factor=None))
    probes = splits.validation or splits.test
    some = spread(probes, NUM_PROBES)
    x, labels = some.scaled(some.images), some.labels
    # Cycles through the wrong labels; the same for all seeds and epochs.
    wrong = (labels + 1 + jnp.arange(len(labels)) % (classes - 1)) % classes

    def measure(state: LocalState) -> jax.Array:
        return gradient_norms(network, state.params, x, labels, wrong)

    def run(key: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
        progress = start(learner, key, splits.train)

        def epoch(progress: Progress, _: None) -> tuple[Progress, jax.Array]:
            trained, _loss = train_epoch(learner, schedule, progress, splits.train)
            return trained, measure(trained.state)

        trained, after = jax.lax.scan(epoch, progress, None, length=schedule.epochs)
        norms = jnp.concatenate([measure(progress.state)[None], after])
        return norms, evaluate(learner, trained.state, probes).network

    norms, accuracy = sweep(run, seed_keys(seeds), parallel=placement or Placement("map"))
    return np.asarray(norms), np.asarray(accuracy)


def make_plan(options: Options) -> Plan:
    """One cell for each algorithm and setting."""
    splits = load_splits(options)
    cells = []
    for (algorithm, setting), recipe in recipes_of(options).items():
        splits.check(recipe, algorithm)
        cells.append(Cell({"algorithm": algorithm, "setting": setting}, recipe))

    def run(folder: RunFolder, missing: Missing) -> Iterator[list[dict[str, Any]]]:
        del folder  # a run is one program, without checkpoints
        for cell, seeds in missing:
            algorithm, setting = cell.names.values()
            print(f"{ALGORITHM_NAMES[algorithm]}, {setting}: {len(seeds)} seeds", flush=True)
            norms, accuracy = train_and_measure(
                cell.content, algorithm, splits, seeds, options.placement
            )
            records = []
            for seed, of_seed, correct in zip(seeds, norms, accuracy, strict=True):
                done = bool(np.isfinite(of_seed).all())
                records.append(
                    {
                        **cell.names,
                        "seed": seed,
                        "status": DONE if done else DIVERGED,
                        "gradient_norms": of_seed.tolist(),
                        "probe_accuracy": float(correct) if done else None,
                    }
                )
            yield records

    return Plan(cells, run, data_record(splits.dataset))


def main(options: Options) -> None:
    """Trains the runs that the output folder lacks and writes figures and report."""
    run_experiment("symmetry", options, make_plan)


if __name__ == "__main__":
    sys.exit(execute(main, Options, "symmetry"))
