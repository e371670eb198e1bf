"""What the layers of FFA, SFFA and backprop make of images: sparsity, specialization, precision.

    python -m experiments.latents --dataset mnist --data-dir DIR --hidden 1400 1400 --seeds 5

trains each algorithm on each seed as `compare` does, measures every layer on test images, and draws
the networks of the first seed (from `pictures-ALGORITHM.npz`). The paper's claims (SFFA's latents
are sparser and more specialized, its goodness more precise) are differences to FFA, paired by seed.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial
from rich.console import Console

from experiments.config import options as shared
from experiments.config.recipe import Recipe
from experiments.harness.experiment import execute
from experiments.harness.saved import Trained, load
from experiments.harness.trainer import Watch, train_runs
from experiments.reports.sections import write_report
from experiments.reports.style import ALGORITHM_NAMES
from sffa_jax.analysis import precision, separability, specialization
from sffa_jax.analysis.latents import without_label
from sffa_jax.analysis.measures import measures
from sffa_jax.checks import check_integer
from sffa_jax.core.network import latents, layer_log_odds, predict
from sffa_jax.scale.processes import is_main_process
from sffa_jax.training import backprop
from sffa_jax.training.learner import State
from sffa_jax.training.samples import Samples

CHUNK = 500
"""Images that go through a network at once."""


@dataclass(frozen=True)
class Options(shared.Options):
    """Measure and draw what the layers of FFA, SFFA and backprop make of images."""

    seeds: int = 5
    """Number of seeds; the seeds are 0 .. N-1."""
    probes: int = 5000
    """Test images that are measured, at most; probes learn from as many training images."""
    embedded: int = 1000
    """Test images in the pictures of embedded latents, at most."""

    def resolve(self) -> "Options":
        """Checks every option."""
        for name in ("probes", "embedded"):
            check_integer("options", name, getattr(self, name), 50)
        return super().resolve()


def first(samples: Samples, number: int) -> Samples:
    """The first samples of a split."""
    return samples.replace(images=samples.images[:number], labels=samples.labels[:number])


def chunked(function: Callable[[jax.Array], Any], x: jax.Array) -> Any:
    """`function` over [batch, ...], some rows at a time, so that activity of all labels fits."""
    rows = [function(x[i : i + CHUNK]) for i in range(0, len(x), CHUNK)]
    return jax.tree.map(lambda *parts: np.concatenate(parts), *rows)


class Seen:
    """A trained network as it is looked at.

    Attributes:
      scale: images as the network sees them -> rows.
      hidden: scaled images -> activity of each layer, [batch, units]; with the label that the
        network predicts, where it takes one.
      unlabeled: the same, without a label.
      log_odds: scaled images -> [layers, batch, classes]; None for backprop.
    """

    def __init__(self, recipe: Recipe, algorithm: str, shape: Sequence[int], classes: int) -> None:
        self.algorithm = algorithm
        self.network = None
        if algorithm == "bp":
            layers = recipe.layers(algorithm, shape)
            self.hidden = self.unlabeled = lambda state, x: backprop.latents(
                layers, state.params, x
            )
            return
        network = self.network = recipe.network(algorithm, shape, classes)

        def hidden(state: State, x: jax.Array) -> list[jax.Array]:
            labels = predict(network, state.params, x)
            return latents(network, state.params, x, labels)

        self.hidden = hidden
        self.unlabeled = lambda state, x: without_label(network, state.params, x)

    def log_odds(self, state: State, x: jax.Array) -> jax.Array:
        """[batch, layers, classes] of a forward-only network."""
        assert self.network is not None
        return jnp.moveaxis(layer_log_odds(self.network, state.params, x), 0, 1)


WATCHED = ("hoyer", "owned_share")
"""What is also measured after every epoch."""


def watch(seen: Seen, classes: int, number: int) -> Watch:
    """Measures a run under way on the first images of a split."""

    def look(state: State, samples: Samples) -> dict[str, jax.Array]:
        some = first(samples, number)
        layers = seen.hidden(state, some.scaled(some.images))
        found = [measures(h, some.labels, classes) for h in layers]
        return {name: jnp.stack([layer[name] for layer in found]) for name in WATCHED}

    return look


def measure(
    seen: Seen, state: State, train: Samples, test: Samples, classes: int
) -> dict[str, list[float]]:
    """Every measurement of a trained network, a value a layer."""
    hidden = jax.jit(Partial(seen.hidden, state))
    unlabeled = jax.jit(Partial(seen.unlabeled, state))
    x, labels = test.scaled(test.images), np.asarray(test.labels)
    found: list[dict[str, float]] = []
    bare, known = chunked(unlabeled, x), chunked(unlabeled, train.scaled(train.images))
    for h, of_test, of_train in zip(chunked(hidden, x), bare, known, strict=True):
        scalars = jax.jit(partial(measures, classes=classes))(h, test.labels)
        learned = separability.Labeled(of_train, np.asarray(train.labels))
        asked = separability.Labeled(of_test, labels)
        found.append(
            {name: float(value) for name, value in scalars.items()}
            | {
                "fisher": float(separability.fisher_ratio(of_test, test.labels, classes)),
                "silhouette": separability.silhouette(asked),
                "linear_probe": separability.linear_probe(learned, asked),
                "neighbors": separability.nearest_neighbors(learned, asked),
            }
        )
    if seen.network is not None:
        scores = np.moveaxis(chunked(jax.jit(Partial(seen.log_odds, state)), x), 1, 0)
        agreement = np.asarray(precision.agreement(scores))
        for k, (layer, of_layer) in enumerate(zip(found, scores, strict=True)):
            right, wrong = precision.right_and_wrong(of_layer, test.labels)
            # As many wrong labels as right ones, or calibration would be that of a rare event.
            some = wrong[:: classes - 1][: len(right)]
            cases = jax.nn.sigmoid(jnp.concatenate([right, some]))
            outcomes = jnp.arange(len(cases)) < len(right)
            diagram = precision.reliability(cases, outcomes)
            layer |= {
                "auroc": float(precision.auroc(right, wrong)),
                "calibration_error": float(precision.calibration_error(diagram)),
                "goodness_overlap": precision.histograms(right, wrong).overlap,
            }
            if len(agreement) > 1:
                layer["agreement"] = float((agreement[k].sum() - 1) / (len(agreement) - 1))
    return {name: [layer[name] for layer in found] for name in found[0]}


def embed(h: np.ndarray) -> np.ndarray:
    """Latents in the plane, [samples, 2], by t-SNE from their principal components."""
    from sklearn.manifold import TSNE

    return np.asarray(TSNE(init="pca", random_state=0).fit_transform(h))


def gather(
    seen: Seen, trained: Trained, splits: shared.Splits, test: Samples, embedded: int
) -> dict[str, np.ndarray]:
    """What the pictures of one network show, as arrays.

    Returns:
      For each layer k from 0: `means_k` [classes, units] mean activity, `points_k` [embedded, 2];
      of a forward-only network `right_k` and `wrong_k` [bins], shares of the log-odds between
      `edges_k`. `fields` [classes, *image]: weights on the pixels of the first layer's most
      selective neuron for each class. `labels` [embedded].
    """
    state, classes = trained.state, trained.num_classes
    x, labels = test.scaled(test.images), test.labels
    found = {"labels": np.asarray(labels[:embedded])}
    for k, h in enumerate(chunked(jax.jit(Partial(seen.hidden, state)), x)):
        found[f"means_{k}"] = np.asarray(specialization.class_means(h, labels, classes))
    for k, h in enumerate(chunked(jax.jit(Partial(seen.unlabeled, state)), x[:embedded])):
        found[f"points_{k}"] = embed(h)
    if seen.network is not None:
        odds = chunked(jax.jit(Partial(seen.log_odds, state)), x)
        for k, of_layer in enumerate(np.moveaxis(odds, 1, 0)):
            right, wrong = precision.right_and_wrong(jnp.asarray(of_layer), labels)
            histograms = precision.histograms(right, wrong)
            for name in ("right", "wrong", "edges"):
                found[f"{name}_{k}"] = np.asarray(getattr(histograms, name))
    layers = state.params if seen.network is None else state.params.layers
    kernel = np.asarray(layers[0]["kernels"]["input"])[: int(np.prod(splits.shape))]
    means = found["means_0"]
    share = means / np.maximum(means.sum(axis=0), 1e-12)
    # Among neurons that do answer: a selective one that hardly ever fires says little.
    share[:, means.max(axis=0) < 0.1 * means.max()] = 0
    found["fields"] = kernel[:, share.argmax(axis=1)].T.reshape(classes, *splits.shape)
    return found


def main(options: Options) -> None:
    """Trains and measures what is missing in the output folder and writes its report."""
    command = options.command("latents")
    options = options.resolve()
    splits = shared.load_splits(options)
    classes = splits.dataset.num_classes
    splits.schedule(options.recipe)
    seen = {}
    for algorithm in options.algorithms:
        splits.learner(options.recipe, algorithm)
        seen[algorithm] = Seen(options.recipe, algorithm, splits.shape, classes)
    train, test = first(splits.training, options.probes), first(splits.test, options.probes)
    with shared.open_folder(options, "latents", splits) as folder:
        networks = folder.path / "networks"
        for algorithm, seeds in options.chosen(options.algorithms):
            names = {"dataset": options.dataset, "algorithm": algorithm}
            missing = [s for s in seeds if not folder.is_done(**names, seed=s)]
            if not missing:
                continue
            trained = train_runs(
                options.recipe,
                algorithm,
                missing,
                splits,
                options.placement,
                Console(),
                ALGORITHM_NAMES[algorithm],
                checkpoints=folder.checkpoints(algorithm),
                every_seconds=options.checkpoint_seconds,
                networks=networks,
                events=folder.events((algorithm, f"seed-{seed}") for seed in missing),
                watch=watch(seen[algorithm], classes, CHUNK),
            )
            for records in trained:
                for record in records:
                    if record["status"] == "done":
                        state = load(networks / f"{algorithm}-{record['seed']}").state
                        record["layers"] = measure(seen[algorithm], state, train, test, classes)
                folder.append(*(names | record for record in records))
        if not is_main_process():
            return
        for algorithm, one in seen.items():
            network, file = networks / f"{algorithm}-0", folder.path / f"pictures-{algorithm}.npz"
            if network.exists() and not file.exists():
                first_seed = load(network)
                arrays: dict[str, Any] = gather(one, first_seed, splits, test, options.embedded)
                np.savez_compressed(file, **arrays)
        write_report(folder, command)


if __name__ == "__main__":
    sys.exit(execute(main, Options, "latents"))
