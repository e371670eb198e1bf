"""What "symmetric" means: how positive and negative samples pull on FFA's and SFFA's layers.

Two views. The *landscape*: in a layer of one positive and one negative neuron, how does the loss of
either kind of sample depend on their activity? The *training run*: how large is the gradient of
either kind on each layer's weights, before training and after each epoch? Both for the rules as
published (logit_scale 1, threshold 2) and for the preset's.

    python -m experiments.symmetry --dataset mnist --data-dir DIR --hidden 1400 --epochs 5
"""

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from experiments.config import options as shared
from experiments.config.recipe import Recipe
from experiments.harness.experiment import execute
from experiments.harness.results import Results, held, publish, restored
from experiments.reports import intervals
from experiments.reports.html import Picture, Section
from experiments.reports.style import ALGORITHM_NAMES, ALGORITHM_STYLES, new_axes, text_color
from sffa_jax.analysis.symmetry import Landscape, gradient_norms, landscape
from sffa_jax.checks import check_choice, reject
from sffa_jax.scale.processes import leads
from sffa_jax.scale.sweep import seed_keys, sweep
from sffa_jax.training.evaluate import evaluate
from sffa_jax.training.fit import Progress, start, train_epoch
from sffa_jax.training.local import LocalState

PUBLISHED: dict[str, Any] = {
    "logit_scale": 1.0,
    "eps": 1e-9,
    "ffa_threshold": 2.0,
    "ffa_logit_scale": 1.0,
}
"""The log-odds as the papers have them; all else is the recipe's."""

LOGIT_SCALES = (1.0, 3.0, 6.0, 12.0)
FLOORS = (1e-9, 1e-3, 1.0, 100.0)
"""What SFFA's gradient is measured at, the one with the recipe's value of the other."""

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


def landscape_figure(landscapes: Mapping[str, Landscape]) -> Figure:
    """A row an algorithm: loss (color) and the way downhill (arrows), for either sample."""
    figure = Figure(figsize=(8.6, 3.8 * len(landscapes)))
    grid = figure.subplots(len(landscapes), 2, squeeze=False)
    for row, (name, land) in zip(grid, landscapes.items(), strict=True):
        for kind, axes in enumerate(row):
            # Axis 0 of a landscape is the positive neuron; pictures have it to the right.
            x, y = np.meshgrid(land.grid, land.grid)
            loss, slope = land.loss[kind].T, land.slope[kind].transpose(1, 0, 2)
            shades = axes.contourf(
                x, y, loss, np.linspace(0, 3, 13), cmap="cividis_r", extend="max"
            )
            some = np.s_[3::6, 3::6]
            axes.quiver(
                *(x[some], y[some], -slope[some][..., 0], -slope[some][..., 1]),
                **{"color": "white", "edgecolor": "black", "linewidth": 0.5, "width": 0.009},
            )
            sample = ("positive", "negative")[kind]
            axes.set_title(f"{ALGORITHM_NAMES[name]}: {sample} sample")
            axes.set_aspect("equal")
            axes.set_xlabel("activity of the positive neuron")
            axes.set_ylabel("activity of the negative neuron")
        figure.colorbar(shades, ax=row.tolist(), label="loss, nats", shrink=0.85)
    return figure


def ratios(records: Sequence[Mapping[str, Any]], algorithm: str, setting: str) -> np.ndarray:
    """Norm from positive / norm from negative samples: [seeds, epochs + 1, layers]."""
    norms = np.array(
        [
            record["gradient_norms"]
            for record in records
            if (record["algorithm"], record["setting"]) == (algorithm, setting)
        ]
    )
    return norms[..., 0] / norms[..., 1]


def groups(records: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Every (algorithm, setting) that has records, in order."""
    return list(dict.fromkeys((record["algorithm"], record["setting"]) for record in records))


def ratio_figure(records: Sequence[Mapping[str, Any]], layer: int) -> Figure:
    """Ratio of the gradient norms through training: geometric mean and range over seeds."""
    figure, axes = new_axes(f"Gradient from positive ÷ from negative samples, layer {layer + 1}")
    for algorithm, setting in groups(records):
        logs = np.log(ratios(records, algorithm, setting)[..., layer])
        color, marker = ALGORITHM_STYLES[algorithm]
        epochs = np.arange(logs.shape[1])
        axes.plot(
            epochs,
            np.exp(logs.mean(axis=0)),
            color=color,
            marker=marker,
            markersize=4,
            markevery=max(1, len(epochs) // 10),
            linestyle="-" if setting == "published" else "--",
            label=f"{ALGORITHM_NAMES[algorithm]}, {setting}",
        )
        low, high = np.exp(logs.min(axis=0)), np.exp(logs.max(axis=0))
        axes.fill_between(epochs, low, high, color=color, alpha=0.15, linewidth=0)
    axes.axhline(1, color=text_color(), linewidth=0.8, linestyle=":")
    axes.set_yscale("log")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("Epochs trained (0: untrained)")
    axes.set_ylabel("Ratio (1: balanced)")
    axes.legend()
    return figure


def imbalance_table(records: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """How far from balance each layer is: untrained, and through training."""
    table = [["Algorithm", "Rule", "Layer", "Untrained ratio", "Imbalance in training", "At worst"]]
    for algorithm, setting in groups(records):
        by_layer = ratios(records, algorithm, setting)
        for layer in range(by_layer.shape[-1]):
            ratio = by_layer[..., layer]
            # An imbalance of 2 is a ratio of 2 or of 1/2.
            away = np.exp(np.abs(np.log(ratio[:, 1:])))
            mean = intervals.mean_interval(away.mean(axis=1).tolist())
            table.append(
                [
                    ALGORITHM_NAMES[algorithm],
                    setting,
                    str(layer + 1),
                    f"{np.exp(np.log(ratio[:, 0]).mean()):.3g}",
                    mean.with_bounds(".3g", 1.0),
                    f"{away.max():.3g}",
                ]
            )
    return table


def size_settings() -> dict[str, dict[str, Any]]:
    """SFFA's other logit_scales and floors: what each changes in the recipe, by name."""
    return {f"τ = {value:g}": {"logit_scale": value} for value in LOGIT_SCALES} | {
        f"ε = {value:g}": {"eps": value} for value in FLOORS
    }


def gradient_sizes(records: Sequence[Mapping[str, Any]], setting: str) -> np.ndarray:
    """Norm of the first layer's gradient from both kinds together: [seeds, epochs + 1]."""
    norms = [r["gradient_norms"] for r in records if r["setting"] == setting]
    return np.linalg.norm(np.array(norms)[:, :, 0], axis=-1)


def size_figure(records: Sequence[Mapping[str, Any]]) -> Figure:
    """Gradient through training, one panel for the logit scale, one for the eps."""
    figure = Figure(figsize=(8.6, 3.8))
    panels = figure.subplots(1, 2, sharey=True)
    titles = (
        "Logit scale τ (other choices the preset's)",
        "Epsilon ε (other choices the preset's)",
    )
    for axes, symbol, title in zip(panels, "τε", titles, strict=True):
        names = [name for name in size_settings() if name.startswith(symbol)]
        for i, name in enumerate(names):
            sizes = gradient_sizes(records, name)
            shade = colormaps["cividis"](i / (len(names) - 1) * 0.9)
            epochs = np.arange(sizes.shape[1])
            mean = np.exp(np.log(sizes).mean(axis=0))
            axes.plot(epochs, mean, color=shade, marker="osD^"[i], markersize=4, label=name)
        axes.set_yscale("log")
        axes.set_title(title)
        axes.set_xlabel("Epochs trained (0: untrained)")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend()
    panels[0].set_ylabel("Norm of the gradient, first layer")
    return figure


def size_table(records: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Gradient at the start and at the end, and the accuracy that training reaches."""
    table = [["SFFA with", "Gradient, untrained", "after the first epoch", "after the last"]]
    table[0].append("Probe images right at the end, %")
    for name in size_settings():
        sizes = np.exp(np.log(gradient_sizes(records, name)).mean(axis=0))
        right = [r["probe_accuracy"] for r in records if r["setting"] == name]
        shown = [f"{size:.2g}" for size in (sizes[0], sizes[1], sizes[-1])]
        table.append([name, *shown, intervals.with_bounds(right)])
    return table


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


def section(results: Results) -> Section:
    """What there is to say of the runs."""
    options: Options = restored(Options, results.options)
    published = dataclasses.replace(options.recipe, **PUBLISHED)
    balance = [r for r in results.records if r["setting"] not in size_settings()]
    sizes = [r for r in results.records if r["setting"] in size_settings()]
    landscapes = {name: landscape(published.rule(name)) for name in options.algorithms}
    pictures = [
        Picture(
            "landscape.png",
            "Loss over the activity of one positive and one negative neuron; arrows point "
            "downhill. SFFA's two pictures are mirror images of each other, FFA's are not.",
            partial(landscape_figure, landscapes),
        )
    ]
    for layer in range(np.shape(balance[0]["gradient_norms"])[1]):
        caption = "Ratio of the gradients on the layer's weights; band: range over seeds."
        draw = partial(ratio_figure, balance, layer)
        pictures.append(Picture(f"gradient_ratio_layer_{layer + 1}.png", caption, draw))
    tables = {"Imbalance": imbalance_table(balance)}
    if sizes:
        caption = "Size of SFFA's gradient on the first layer, at other logit_scales and floors."
        pictures.append(Picture("gradient_size.png", caption, partial(size_figure, sizes)))
        tables["Logit scale and eps"] = size_table(sizes)
    head, *rows = tables["Imbalance"]
    return Section(
        title=f"Symmetry of FFA and SFFA on {options.dataset}",
        lead=(
            "The ratio compares the gradient of the mean loss of positive samples with that of "
            "negative ones, on the same validation images, layer by layer. 1 is balance; an "
            "imbalance of 2 means that one kind pulls twice as hard as the other, whichever it "
            "is (mean over the epochs, with a 95 % interval over seeds)."
        ),
        tables=tables,
        pictures=pictures,
        records=results.records,
        summary=pd.DataFrame(rows, columns=head),
        config=results.config,
        command=results.command,
    )


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
            for name, changes in size_settings().items()
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
        if not leads():
            return
        publish(folder, section(held(folder, command)))


if __name__ == "__main__":
    sys.exit(execute(main, Options, "symmetry"))
