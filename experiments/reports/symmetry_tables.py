"""Tables and figures of the symmetry experiment, made from its records and `config.json`."""

import dataclasses
from collections.abc import Mapping
from functools import partial

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from experiments.config.grids import GRADIENT_SETTINGS, PUBLISHED
from experiments.harness.outcomes import finished, marked
from experiments.harness.queries import Records, distinct, where
from experiments.harness.results import Results, restore_options
from experiments.reports import intervals
from experiments.reports.html_report import Picture, Section
from experiments.reports.names import ALGORITHM_NAMES, named
from experiments.reports.style import ALGORITHM_STYLES, TEXT_COLOR, log_axis, new_axes
from sffa_jax.analysis.symmetry import Landscape, landscape


def landscape_figure(landscapes: Mapping[str, Landscape]) -> Figure:
    """Draws a row for each algorithm: the loss (color) and its descent direction (arrows) for a
    positive and a negative sample."""
    figure = Figure(figsize=(8.6, 3.8 * len(landscapes)))
    panels = figure.subplots(len(landscapes), 2, squeeze=False)
    for row, (algorithm, land) in zip(panels, landscapes.items(), strict=True):
        for kind, axes in enumerate(row):
            # Axis 0 of a landscape is the positive neuron; figures have it to the right.
            x, y = np.meshgrid(land.grid, land.grid)
            loss, slope = land.loss[kind].T, land.slope[kind].transpose(1, 0, 2)
            shades = axes.contourf(
                x, y, loss, np.linspace(0, 3, 13), cmap="cividis_r", extend="max"
            )
            every_sixth = np.s_[3::6, 3::6]
            axes.quiver(
                *(x[every_sixth], y[every_sixth]),
                *(-slope[every_sixth][..., 0], -slope[every_sixth][..., 1]),
                **{"color": "white", "edgecolor": "black", "linewidth": 0.5, "width": 0.009},
            )
            sample = ("positive", "negative")[kind]
            axes.set_title(f"{ALGORITHM_NAMES[algorithm]}: {sample} sample")
            axes.set_aspect("equal")
            axes.set_xlabel("activity of the positive neuron")
            axes.set_ylabel("activity of the negative neuron")
        figure.colorbar(shades, ax=row.tolist(), label="loss, nats", shrink=0.85)
    return figure


def gradient_ratios(records: Records, algorithm: str, setting: str) -> np.ndarray:
    """Returns the norm from positive samples over that from negative samples,
    [seeds, epochs + 1, layers], of the runs that did not diverge; NaN where both are 0."""
    runs = finished(records, algorithm=algorithm, setting=setting)
    norms = np.array([run["gradient_norms"] for run in runs], float)
    with np.errstate(divide="ignore", invalid="ignore"):
        return norms[..., 0] / norms[..., 1]


def geometric_mean(values: np.ndarray) -> np.ndarray:
    """Returns the geometric mean over the first axis, the runs; 0 if a run has 0."""
    with np.errstate(divide="ignore"):
        return np.asarray(np.exp(np.log(values).mean(axis=0)))


def depth(runs: Records) -> int:
    """Returns the number of layers of the deepest run."""
    return max((np.shape(run["gradient_norms"])[1] for run in runs), default=0)


def ratio_figure(records: Records, layer: int) -> Figure:
    """Draws the ratio of gradient norms through training: geometric mean and range over seeds."""
    figure, axes = new_axes(f"Gradient from positive ÷ from negative samples, layer {layer + 1}")
    for algorithm, setting in distinct(records, "algorithm", "setting"):
        if depth(finished(records, algorithm=algorithm, setting=setting)) <= layer:
            continue
        ratios = gradient_ratios(records, algorithm, setting)[..., layer]
        color, marker = ALGORITHM_STYLES[algorithm]
        epochs = np.arange(ratios.shape[1])
        axes.plot(
            epochs,
            geometric_mean(ratios),
            color=color,
            marker=marker,
            markersize=4,
            markevery=max(1, len(epochs) // 10),
            linestyle="-" if setting == "published" else "--",
            label=f"{ALGORITHM_NAMES[algorithm]}, {setting}",
        )
        low, high = ratios.min(axis=0), ratios.max(axis=0)
        axes.fill_between(epochs, low, high, color=color, alpha=0.15, linewidth=0)
    axes.axhline(1, color=TEXT_COLOR, linewidth=0.8, linestyle=":")
    log_axis(axes)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("Epochs trained (0: untrained)")
    axes.set_ylabel("Ratio (1: balanced)")
    axes.legend()
    return figure


def imbalance_table(records: Records) -> list[list[str]]:
    """Makes a row for each rule and layer: its ratio before training and its imbalance during it.

    An imbalance of 2 is a ratio of 2 or of 1/2. Runs that diverged are counted, not measured; a
    ratio of a layer without any gradient is undefined.
    """
    table = [["Algorithm", "Rule", "Layer", "Untrained ratio", "Imbalance in training", "At worst"]]
    for algorithm, setting in distinct(records, "algorithm", "setting"):
        runs = where(records, algorithm=algorithm, setting=setting)
        name = marked(ALGORITHM_NAMES[algorithm], runs)
        for layer in range(depth(runs)):
            cells = ["-"] * 3
            if finished(records, algorithm=algorithm, setting=setting):
                cells = _imbalances(gradient_ratios(records, algorithm, setting)[..., layer])
            table.append([name, setting, str(layer + 1), *cells])
    return table


def _imbalances(ratio: np.ndarray) -> list[str]:
    """Returns the last three cells of a row of `imbalance_table`, from ratios [seeds, epochs+1]."""
    if not np.all(ratio > 0) or not np.isfinite(ratio).all():
        return ["undefined: no gradient"] * 3
    imbalance = np.exp(np.abs(np.log(ratio[:, 1:])))
    return [
        f"{geometric_mean(ratio[:, 0]):.3g}",
        intervals.with_bounds(imbalance.mean(axis=1).tolist(), ".3g", 1.0, None),
        f"{imbalance.max():.3g}",
    ]


def gradient_sizes(records: Records, setting: str) -> np.ndarray:
    """Returns the norm of the first layer's gradient from both kinds of sample together,
    [seeds, epochs + 1]."""
    runs = finished(records, algorithm="sffa", setting=setting)
    norms = [run["gradient_norms"] for run in runs]
    return np.linalg.norm(np.array(norms, float)[:, :, 0], axis=-1) if norms else np.empty((0, 0))


def size_figure(records: Records) -> Figure:
    """Draws the gradient through training, one panel for the logit scale and one for epsilon."""
    figure = Figure(figsize=(8.6, 3.8))
    panels = figure.subplots(1, 2, sharey=True)
    titles = {
        "τ": "Logit scale τ (all else as in the preset)",
        "ε": "Epsilon ε (all else as in the preset)",
    }
    for axes, (symbol, title) in zip(panels, titles.items(), strict=True):
        names = [name for name in GRADIENT_SETTINGS if name.startswith(symbol)]
        for i, name in enumerate(names):
            sizes = gradient_sizes(records, name)
            if not sizes.size:
                continue
            shade = colormaps["cividis"](i / (len(names) - 1) * 0.9)
            epochs = np.arange(sizes.shape[1])
            mean = geometric_mean(sizes)
            axes.plot(epochs, mean, color=shade, marker="osD^"[i], markersize=4, label=name)
        log_axis(axes)
        axes.set_title(title)
        axes.set_xlabel("Epochs trained (0: untrained)")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend()
    panels[0].set_ylabel("Norm of the gradient, first layer")
    return figure


def size_table(records: Records) -> list[list[str]]:
    """Makes a row for each setting: its gradient during training and its final accuracy."""
    table = [["SFFA with", "Gradient, untrained", "after the first epoch", "after the last"]]
    table[0].append("Accuracy on the probe images, %")
    for name in GRADIENT_SETTINGS:
        runs = finished(records, algorithm="sffa", setting=name)
        cells = ["-"] * 3
        if runs:
            sizes = geometric_mean(gradient_sizes(records, name))
            cells = [f"{size:.2g}" for size in (sizes[0], sizes[1], sizes[-1])]
        accuracy = intervals.with_bounds([run["probe_accuracy"] for run in runs])
        of_setting = where(records, algorithm="sffa", setting=name)
        table.append([name, *cells, marked(accuracy, of_setting)])
    return table


def section(results: Results) -> Section:
    """Makes the report of a symmetry experiment."""
    options = restore_options(results.options)
    balance = [r for r in results.records if r["setting"] not in GRADIENT_SETTINGS]
    sizes = [r for r in results.records if r["setting"] in GRADIENT_SETTINGS]
    landscapes = {
        name: landscape(
            dataclasses.replace(options.recipe_of(name), **PUBLISHED)
            .rule(name)
            ._replace(activity_factor=None)
        )
        for name in options.algorithms
    }
    pictures = [
        Picture(
            "landscape.png",
            "Loss over the activity of one positive and one negative neuron; arrows point "
            "downhill. SFFA's two panels are mirror images of each other; FFA's are not.",
            partial(landscape_figure, landscapes),
        )
    ]
    for layer in range(depth(balance)):
        caption = "Ratio of the gradients on the layer's weights; band: range over seeds."
        draw = partial(ratio_figure, balance, layer)
        pictures.append(Picture(f"gradient_ratio_layer_{layer + 1}.png", caption, draw))
    tables = {"Imbalance": imbalance_table(balance)}
    if sizes:
        caption = "Size of SFFA's gradient on the first layer, by logit scale and by epsilon."
        pictures.append(Picture("gradient_size.png", caption, partial(size_figure, sizes)))
        tables["Logit scale and epsilon"] = size_table(sizes)
    head, *rows = tables["Imbalance"]
    images = "validation" if options.recipe.selection == "validation" else "test"
    return Section(
        title=f"Symmetry of {named(balance)} on {options.dataset}",
        lead=(
            "The ratio compares the gradient of the mean loss of positive samples with that of "
            f"negative samples, on the same {images} images, layer by layer. A ratio of 1 is "
            "balance; an imbalance of 2 means that the gradient of one kind of sample is twice "
            f"that of the other (mean over the epochs, with the {intervals.ENDS})."
        ),
        tables=tables,
        pictures=pictures,
        records=results.records,
        summary=pd.DataFrame(rows, columns=head),
    )
