"""Measurements of one trained network's layers, and the arrays of its pictures."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from experiments.harness.splits import Splits
from experiments.harness.subsets import spread
from experiments.harness.trainer import Measure
from sffa_jax.analysis.latents import View
from sffa_jax.analysis.measures import (
    activity_measures,
    logit_measures,
    selective_fields,
    separability_measures,
)
from sffa_jax.analysis.precision import histograms, right_and_wrong
from sffa_jax.analysis.separability import Labeled
from sffa_jax.analysis.specialization import class_means
from sffa_jax.checks import reject
from sffa_jax.data.splits import spread_rows
from sffa_jax.training.learner import State
from sffa_jax.training.samples import Samples

CHUNK = 500
"""Number of images per forward pass."""

WATCHED = ("hoyer", "owned_share")
"""Measurements that are repeated after every epoch."""


def check_measured(split: str, labels: jax.Array, class_names: Sequence[str], least: int) -> None:
    """Raises ValueError unless there are `least` samples of a split, and some of each class."""
    advice = "Choose a larger --probes, or data with more images."
    if len(labels) < least:
        raise reject("latents", f"{split} images", f"be at least {least}", len(labels), advice)
    counts = np.bincount(labels, minlength=len(class_names))
    for name, count in zip(class_names, counts, strict=True):
        if not count:
            rule = f"be among the {len(labels)} {split} images that are measured"
            raise reject("latents", f"class {name}", rule, "none", advice)


def chunked(function: Callable[[jax.Array], Any], x: jax.Array) -> Any:
    """Applies `function` to [batch, ...] a few rows at a time, which limits memory."""
    rows = [function(x[i : i + CHUNK]) for i in range(0, len(x), CHUNK)]
    return jax.tree.map(lambda *parts: np.concatenate(parts), *rows)


def watch(view: View, classes: int) -> Measure:
    """Returns the measurement of an unfinished run, on a few images of a split."""

    def measure_epoch(state: State, samples: Samples) -> dict[str, jax.Array]:
        some = spread(samples, CHUNK)
        layers = view.hidden(state, some.scaled(some.images))
        measured = [activity_measures(h, some.labels, classes) for h in layers]
        return {name: jnp.stack([layer[name] for layer in measured]) for name in WATCHED}

    return measure_epoch


def measure(
    view: View, state: State, train: Samples, test: Samples, classes: int
) -> dict[str, list[float]]:
    """Returns every measurement of a trained network, one value per layer."""
    hidden, unlabeled = (jax.jit(Partial(f, state)) for f in (view.hidden, view.unlabeled))
    x = test.scaled(test.images)
    train_latents = chunked(unlabeled, train.scaled(train.images))
    layers: list[dict[str, float]] = []
    for h, of_train, of_test in zip(
        chunked(hidden, x), train_latents, chunked(unlabeled, x), strict=True
    ):
        scalars = jax.jit(partial(activity_measures, num_classes=classes))(h, test.labels)
        layers.append(
            {name: float(value) for name, value in scalars.items()}
            | separability_measures(
                Labeled(of_train, np.asarray(train.labels)),
                Labeled(of_test, np.asarray(test.labels)),
                classes,
            )
        )
    if view.logits is not None:
        logits = np.moveaxis(chunked(jax.jit(Partial(view.logits, state)), x), 1, 0)
        for layer, more in zip(layers, logit_measures(logits, test.labels), strict=True):
            layer |= more
    return {name: [layer[name] for layer in layers] for name in layers[0]}


def embed(h: np.ndarray) -> np.ndarray:
    """Returns latents in the plane, [samples, 2], by t-SNE from their principal components; equal
    latents, as of a dead layer, lie in one point."""
    if not np.ptp(h, axis=0).any():  # scikit-learn would divide by their spread, 0, and crash
        return np.zeros((len(h), 2))
    from sklearn.manifold import TSNE

    return np.asarray(TSNE(init="pca", random_state=0).fit_transform(h))


def gather(
    view: View, state: State, splits: Splits, test: Samples, embedded: int
) -> dict[str, np.ndarray]:
    """Returns the arrays of the pictures of one network.

    For each layer k from 0: `means_k` [classes, units] mean size of the activity, `points_k`
    [embedded, 2]; of a forward-only network `right_k` and `wrong_k` [bins], fractions of the logits
    between `edges_k`. `labels` [embedded]. If the first layer is dense and its input is an image,
    `fields` [classes, *image]: weights on the pixels of the most selective neuron for each class.
    """
    x, labels = test.scaled(test.images), test.labels
    some = spread_rows(len(labels), embedded)
    arrays = {"labels": np.asarray(labels[some])}
    for k, h in enumerate(chunked(jax.jit(Partial(view.hidden, state)), x)):
        of_classes = jax.jit(partial(class_means, num_classes=splits.dataset.num_classes))
        arrays[f"means_{k}"] = np.asarray(of_classes(np.abs(h), labels))
    for k, h in enumerate(chunked(jax.jit(Partial(view.unlabeled, state)), x[some])):
        arrays[f"points_{k}"] = embed(h)
    if view.logits is not None:
        logits = chunked(jax.jit(Partial(view.logits, state)), x)
        for k, of_layer in enumerate(np.moveaxis(logits, 1, 0)):
            distributions = histograms(*jax.jit(right_and_wrong)(of_layer, labels))
            for name in ("right", "wrong", "edges"):
                arrays[f"{name}_{k}"] = np.asarray(getattr(distributions, name))
    layers = state.params if view.logits is None else state.params.layers
    kernel = np.asarray(layers[0]["kernels"]["input"])
    if kernel.ndim == 2 and len(splits.shape) > 1:
        pixels = kernel[: int(np.prod(splits.shape))]
        arrays["fields"] = selective_fields(pixels, arrays["means_0"], splits.shape)
    return arrays
