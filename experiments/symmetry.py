"""What "symmetric" means: how positive and negative samples pull on FFA's and SFFA's layers.

Two views. The *landscape*: in a layer of one positive and one negative neuron, how does the loss of
either kind of sample depend on their activity? The *training run*: how large is the gradient of
either kind on each layer's weights, before training and after each epoch? Both for the rules as
published (logit_scale 1, threshold 2) and for the preset's.

    python -m experiments.symmetry --dataset mnist --data-dir DIR --hidden 1400 --epochs 5
"""

import dataclasses
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from experiments.config import options as shared
from experiments.config.grids import GRADIENT_SETTINGS, PUBLISHED
from experiments.config.recipe import Recipe
from experiments.harness.experiment import execute
from experiments.reports.sections import write_report
from experiments.reports.style import ALGORITHM_NAMES
from sffa_jax.analysis.symmetry import gradient_norms
from sffa_jax.checks import check_choice, reject
from sffa_jax.scale.processes import is_main_process
from sffa_jax.scale.sweep import seed_keys, sweep
from sffa_jax.training.evaluate import evaluate
from sffa_jax.training.fit import Progress, start, train_epoch
from sffa_jax.training.local import LocalState

NUM_PROBES = 500
"""Validation images on which the gradients are measured, at most."""


@dataclass(frozen=True)
class Options(shared.Options):
    """Show how positive and negative samples pull on FFA's and on SFFA's layers."""

    algorithms: tuple[str, ...] = ("ffa", "sffa")
    """Forward-only algorithms to look at: ffa, sffa."""
    seeds: int = 5
    """Number of seeds; the seeds are 0 .. N-1."""
    sizes: bool = True
    """Measure the size of SFFA's gradients at several logit_scales and floors, too."""


def train_and_measure(
    recipe: Recipe, algorithm: str, splits: shared.Splits, seeds: Sequence[int], parallel: str
) -> tuple[np.ndarray, np.ndarray]:
    """Trains every seed; gradient norms [seeds, epochs + 1, layers, 2] on validation images, and
    the accuracy [seeds] on them after the last epoch."""
    learner, schedule = splits.learner(recipe, algorithm), splits.schedule(recipe)
    classes = splits.dataset.num_classes
    network = recipe.network(algorithm, splits.shape, classes)
    probes = splits.validation or splits.test
    x, labels = probes.scaled(probes.images[:NUM_PROBES]), probes.labels[:NUM_PROBES]
    # Every wrong label in turn, the same for all seeds and epochs.
    wrong = (labels + 1 + jnp.arange(len(labels)) % (classes - 1)) % classes

    def measure(state: LocalState) -> jax.Array:
        return gradient_norms(network, state.params, x, labels, wrong)

    def run(key: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
        progress = start(learner, key, splits.training)

        def epoch(progress: Progress, _: None) -> tuple[Progress, jax.Array]:
            trained, _loss = train_epoch(learner, schedule, progress, splits.training)
            return trained, measure(trained.state)

        trained, after = jax.lax.scan(epoch, progress, None, length=schedule.epochs)
        norms = jnp.concatenate([measure(progress.state)[None], after])
        return norms, evaluate(learner, trained.state, probes).network

    way = "map" if parallel == "auto" else parallel
    norms, accuracy = sweep(run, seed_keys(seeds), parallel=way)
    return np.asarray(norms), np.asarray(accuracy)


def main(options: Options) -> None:
    """Trains what is missing in the output folder and writes figures and report."""
    command = options.command("symmetry")
    for algorithm in options.algorithms:
        check_choice("symmetry", "algorithms", algorithm, ("ffa", "sffa"))
    if options.tensorboard:  # a run is one program from its start to its end
        raise reject("symmetry", "tensorboard", "be left out: runs are not seen under way", True)
    options = options.resolve()
    splits = shared.load_splits(options)
    if options.recipe.layer_schedule == "greedy":
        raise reject("symmetry", "layer_schedule", "train all layers at once", "'greedy'")
    published = dataclasses.replace(options.recipe, **PUBLISHED)
    recipes = {
        (algorithm, setting): recipe
        for setting, recipe in (("published", published), (options.preset, options.recipe))
        for algorithm in options.algorithms
    }
    if options.sizes and "sffa" in options.algorithms:
        recipes |= {
            ("sffa", name): dataclasses.replace(options.recipe, **changes)
            for name, changes in GRADIENT_SETTINGS.items()
        }
    # Built first: a wrong option must end the command before it leaves a folder behind.
    for (algorithm, _), recipe in recipes.items():
        splits.schedule(recipe)
        splits.learner(recipe, algorithm)
    with shared.open_folder(options, "symmetry", splits) as folder:
        for ((algorithm, setting), recipe), seeds in options.chosen(list(recipes.items())):
            names = {"dataset": options.dataset, "algorithm": algorithm, "setting": setting}
            missing = [s for s in seeds if not folder.is_done(**names, seed=s)]
            if not missing:
                continue
            print(f"{ALGORITHM_NAMES[algorithm]}, {setting}: {len(missing)} seeds", flush=True)
            norms, accuracy = train_and_measure(
                recipe, algorithm, splits, missing, options.parallel
            )
            for seed, of_seed, right in zip(missing, norms, accuracy, strict=True):
                measured = {"gradient_norms": of_seed.tolist(), "probe_accuracy": float(right)}
                folder.append({**names, "seed": seed, **measured})
        if not is_main_process():
            return
        write_report(folder, command)


if __name__ == "__main__":
    sys.exit(execute(main, Options, "symmetry"))
