"""The report of `experiments.latents`: tables over seeds, pictures of the first seed's networks."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from scipy import stats

from sffa_jax import checkpoint, report
from sffa_jax.analysis import precision, specialisation
from sffa_jax.checkpoint import Trained

if TYPE_CHECKING:
    from experiments.latents import Seen
    from experiments.options import Splits

Record = Mapping[str, Any]
Records = Sequence[Record]

MEASURES = {
    "hoyer": "Hoyer sparsity",
    "treves_rolls": "Treves-Rolls sparsity",
    "active_share": "Active units, share",
    "dead_share": "Dead units, share",
    "selectivity": "Class selectivity",
    "owned_share": "Units owned by one class, share",
    "overlap": "Overlap of two classes' units",
    "fisher": "Fisher ratio (no label)",
    "silhouette": "Silhouette (no label)",
    "linear_probe": "Linear probe (no label)",
    "neighbours": "5 nearest neighbours (no label)",
    "auroc": "AUROC of goodness",
    "calibration_error": "Calibration error of goodness",
    "goodness_overlap": "Overlap of right and wrong goodness",
    "agreement": "Agreement with the other layers",
}
"""Names of the measurements, in the order of the tables."""

CLAIMS = {
    "sparser": {"hoyer": 1, "treves_rolls": 1, "active_share": -1},
    "more specialised": {"selectivity": 1, "owned_share": 1, "overlap": -1},
    "more precise goodness": {"auroc": 1, "calibration_error": -1, "goodness_overlap": -1},
}
"""What the paper says of SFFA against FFA: the sign that each measurement should have."""


def values(records: Records, algorithm: str, measure: str, layer: int) -> dict[int, float]:
    """One measurement of each seed that did not diverge."""
    return {
        r["seed"]: r["layers"][measure][layer]
        for r in records
        if r["algorithm"] == algorithm and measure in r.get("layers", {})
    }


def shown(numbers: Sequence[float]) -> str:
    """Mean and half of the 95 % interval."""
    if not numbers:
        return "-"
    of = report.interval(numbers)
    return f"{of.mean:.3f}" + ("" if of.high is None else f" ± {of.high - of.mean:.3f}")


def depth(records: Records) -> int:
    """Layers of the networks."""
    return max((len(r["layers"]["hoyer"]) for r in records if "layers" in r), default=0)


def measures_table(records: Records) -> list[list[str]]:
    """Every measurement of every layer, by algorithm."""
    algorithms = list(dict.fromkeys(r["algorithm"] for r in records))
    table = [["Measurement", "Layer", *(report.NAMES[a] for a in algorithms)]]
    for measure, name in MEASURES.items():
        for layer in range(depth(records)):
            found = [list(values(records, a, measure, layer).values()) for a in algorithms]
            if any(found):
                table.append([name, str(layer + 1), *map(shown, found)])
    return table


def claims_table(records: Records) -> list[list[str]]:
    """SFFA against FFA, paired by seed: each of the paper's claims with interval and verdict."""
    rows, p_values = [], []
    for claim, directions in CLAIMS.items():
        for measure, direction in directions.items():
            for layer in range(depth(records)):
                ours, theirs = (values(records, a, measure, layer) for a in ("sffa", "ffa"))
                seeds = sorted(ours.keys() & theirs.keys())
                if len(seeds) < 2:
                    continue
                differences = np.array([ours[s] - theirs[s] for s in seeds])
                of = report.interval(differences.tolist())
                assert of.low is not None
                assert of.high is not None
                test = stats.ttest_1samp(differences, 0.0)
                p_values.append(float(test.pvalue) if np.ptp(differences) > 0 else 1.0)
                low, high = sorted((direction * of.low, direction * of.high))
                verdict = "confirmed" if low > 0 else "refuted" if high < 0 else "undecided"
                interval = f"{of.mean:+.3f} [{of.low:+.3f}, {of.high:+.3f}]"
                wanted = "higher" if direction > 0 else "lower"
                rows.append([claim, MEASURES[measure], wanted, str(layer + 1), interval, verdict])
    head = ["Claim", "Measurement", "SFFA should be", "Layer", "SFFA - FFA [95 %]", "Verdict"]
    corrected = report.holm(p_values)
    return [[*head, "p (paired t, Holm)"]] + [
        [*row, f"{p:.2g}"] for row, p in zip(rows, corrected, strict=True)
    ]


def panels(titles: Sequence[str], height: float = 3.2, width: float = 3.4) -> tuple[Figure, Any]:
    """A figure with a picture for each title, side by side."""
    figure = Figure(figsize=(width * len(titles), height), layout="constrained", dpi=150)
    axes = figure.subplots(1, len(titles), squeeze=False)[0]
    for each, title in zip(axes, titles, strict=True):
        each.set_title(title, loc="left", fontsize=10)
    return figure, axes


def activity_figure(means: Mapping[str, np.ndarray]) -> Figure:
    """Mean activity by class, units ordered by the class they answer most.

    Args:
      means: for each algorithm [classes, units].
    """
    figure, axes = panels([report.NAMES[a] for a in means])
    for each, mean in zip(axes, means.values(), strict=True):
        best = mean.argmax(axis=0)
        # Within a class the most selective first; silent units last.
        total = mean.sum(axis=0)
        chosen = mean.max(axis=0) / np.where(total > 0, total, 1)
        order = np.lexsort((-chosen, best, total == 0))
        share = mean[:, order] / np.where(total > 0, total, 1)[order]
        image = each.imshow(
            share, aspect="auto", interpolation="nearest", cmap="cividis", vmin=0, vmax=1
        )
        each.set_xlabel("Neurons, by the class they answer most")
        each.set_ylabel("Class")
    figure.colorbar(image, ax=axes, label="Share of the neuron's activity")
    return figure


def embedding_figure(points: Mapping[str, np.ndarray], labels: np.ndarray) -> Figure:
    """Embedded latents, coloured and lettered by class: {algorithm: [samples, 2]}."""
    figure, axes = panels([report.NAMES[a] for a in points])
    for each, place in zip(axes, points.values(), strict=True):
        each.scatter(*place.T, c=labels, cmap="tab10", s=3, linewidths=0, alpha=0.7)
        for label in np.unique(labels):
            middle = np.median(place[labels == label], axis=0)
            each.text(
                *middle,
                str(label),
                ha="center",
                va="center",
                fontsize=9,
                fontweight="bold",
                bbox={"boxstyle": "circle,pad=0.15", "fc": "white", "ec": "none", "alpha": 0.8},
            )
        each.set_xticks([])
        each.set_yticks([])
    return figure


def fields_figure(
    kernels: Mapping[str, np.ndarray],
    means: Mapping[str, np.ndarray],
    shape: Sequence[int],
) -> Figure:
    """Weights on the pixels of each class's most selective neuron, a row an algorithm."""
    classes = next(iter(means.values())).shape[0]
    size = (0.8 * classes, 0.95 * len(kernels))
    figure = Figure(figsize=size, layout="constrained", dpi=150)
    grid = figure.subplots(len(kernels), classes, squeeze=False)
    for row, (algorithm, kernel) in zip(grid, kernels.items(), strict=True):
        mean = means[algorithm]
        share = mean / np.maximum(mean.sum(axis=0), 1e-12)
        # Among neurons that do answer: a selective one that hardly ever fires says little.
        share[:, mean.max(axis=0) < 0.1 * mean.max()] = 0
        for label, axes in enumerate(row):
            weights = kernel[: int(np.prod(shape)), share[label].argmax()].reshape(shape)
            weights = weights if weights.ndim == 2 else weights.mean(axis=-1)
            most = np.abs(weights).max()
            axes.imshow(weights, cmap="PuOr_r", vmin=-most, vmax=most)
            axes.set_xticks([])
            axes.set_yticks([])
            if algorithm == next(iter(kernels)):
                axes.set_title(str(label), fontsize=8)
        row[0].set_ylabel(report.NAMES[algorithm], fontsize=8)
    return figure


def goodness_figure(found: Mapping[str, precision.Histograms]) -> Figure:
    """Log-odds of right and of wrong labels, by algorithm."""
    figure, axes = panels([report.NAMES[a] for a in found], width=4.2)
    for each, histogram in zip(axes, found.values(), strict=True):
        for shares, colour, style, name in (
            (histogram.right, "#0072B2", "-", "right label"),
            (histogram.wrong, "#D55E00", "--", "wrong labels"),
        ):
            each.stairs(shares, histogram.edges, color=colour, linestyle=style, label=name)
            each.stairs(shares, histogram.edges, color=colour, alpha=0.2, fill=True)
        each.set_xlabel("Log-odds")
        each.set_ylabel("Share")
        each.legend(frameon=False, fontsize=8)
    return figure


def training_figure(records: Records) -> Figure:
    """Sparsity and ownership after each epoch: mean over seeds and their range, first layer."""
    names = {"hoyer": "Hoyer sparsity", "owned_share": "Units owned by one class"}
    figure, axes = panels(list(names.values()), width=4.2)
    for each, name in zip(axes, names, strict=True):
        for algorithm in dict.fromkeys(r["algorithm"] for r in records):
            runs = [r["history"][name] for r in records if r["algorithm"] == algorithm]
            curves = np.array(runs, float)[:, :, 0]
            colour, marker = report.STYLES[algorithm]
            epochs = np.arange(1, curves.shape[1] + 1)
            each.plot(
                epochs,
                curves.mean(axis=0),
                color=colour,
                marker=marker,
                markersize=3,
                label=report.NAMES[algorithm],
            )
            each.fill_between(
                epochs, curves.min(axis=0), curves.max(axis=0), color=colour, alpha=0.2
            )
        each.set_xlabel("Epoch")
        each.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes[0].legend(frameon=False, fontsize=8)
    return figure


def embed(h: np.ndarray) -> np.ndarray:
    """Latents in the plane, [samples, 2], by t-SNE from their principal components."""
    from sklearn.manifold import TSNE

    return np.asarray(TSNE(init="pca", random_state=0).fit_transform(h))


def pictures(
    folder: Path,
    networks: Mapping[str, tuple["Seen", Trained]],
    splits: "Splits",
    embedded: int,
) -> list[report.ReportFigure]:
    """Draws one trained network of each algorithm."""
    from experiments.latents import chunked, first

    test, classes = first(splits.test, 5000), splits.dataset.num_classes
    x, labels = test.scaled(test.images), np.asarray(test.labels)
    hidden = {
        name: chunked(jax.jit(partial(seen.hidden, trained.state)), x)
        for name, (seen, trained) in networks.items()
    }
    bare = {
        name: chunked(jax.jit(partial(seen.unlabelled, trained.state)), x[:embedded])
        for name, (seen, trained) in networks.items()
    }
    odds = {
        name: chunked(jax.jit(partial(seen.log_odds, trained.state)), x)
        for name, (seen, trained) in networks.items()
        if seen.network is not None
    }
    figures = []

    def add(file: str, caption: str, figure: Figure) -> None:
        figure.savefig(folder / file)
        figures.append(report.ReportFigure(file, caption))

    for layer in range(max(map(len, hidden.values()))):
        means = {
            name: np.asarray(
                specialisation.class_means(jnp.asarray(h[layer]), test.labels, classes)
            )
            for name, h in hidden.items()
        }
        number = layer + 1
        add(
            f"activity_layer_{number}.png",
            f"Layer {number}: each neuron's mean activity by class, as shares, neurons ordered by "
            "the class they answer most (first seed, test images with the label predicted).",
            activity_figure(means),
        )
        if layer == 0:
            kernels = {
                name: np.asarray(
                    (trained.state.params.layers if seen.network else trained.state.params)[0][
                        "kernels"
                    ]["input"]
                )
                for name, (seen, trained) in networks.items()
            }
            add(
                "receptive_fields.png",
                "Weights on the pixels of the neuron that is most selective for each class "
                "(orange: excites, violet: inhibits).",
                fields_figure(kernels, means, splits.shape),
            )
        add(
            f"embedding_layer_{number}.png",
            f"Layer {number}: latents of test images without a label, embedded by t-SNE.",
            embedding_figure({n: embed(h[layer]) for n, h in bare.items()}, labels[:embedded]),
        )
        if odds:
            add(
                f"goodness_layer_{number}.png",
                f"Layer {number}: log-odds of right and of wrong labels.",
                goodness_figure(
                    {
                        name: precision.histograms(
                            *precision.right_and_wrong(jnp.asarray(of[:, layer]), test.labels)
                        )
                        for name, of in odds.items()
                    }
                ),
            )
    return figures


def write(
    folder: Path,
    records: Records,
    config: Mapping[str, Any],
    command: str,
    kept: Mapping[str, tuple["Seen", Path]],
    splits: "Splits",
    embedded: int,
) -> str:
    """Writes `summary.csv`, figures and `report.html`; returns the tables as plain text.

    Args:
      folder, records, config, command: of the run.
      kept: for each algorithm how to look at its networks, and where the first seed's is saved.
      splits: the data.
      embedded: images in the embeddings.
    """
    report.summary(records).to_csv(folder / "summary.csv", index=False)
    done = [r for r in records if "layers" in r]
    claims = claims_table(done)
    tables = {
        "Test accuracy": report.results_table(records),
        **({"The paper's claims": claims} if len(claims) > 1 else {}),
        "Measurements": measures_table(done),
    }
    networks = {
        name: (seen, checkpoint.load(path)) for name, (seen, path) in kept.items() if path.exists()
    }
    figures = []
    if done:
        training_figure(done).savefig(folder / "training.png")
        caption = "First layer through training, on validation images; band: range over seeds."
        figures = [
            *pictures(folder, networks, splits, embedded),
            report.ReportFigure("training.png", caption),
        ]
    report.write_page(
        folder,
        title=f"Latents of FFA, SFFA and backprop on {config['options']['dataset']}",
        lead="Every layer of every trained network, measured on test images. Sparsity and "
        "specialisation are those of activity with the label that the network predicts; what keeps "
        "classes apart is measured on images without a label, so that nothing is read off it. "
        "Mean and half of the 95 % interval over seeds; differences are paired by seed.",
        tables=tables,
        figures=figures,
        config=config,
        command=command,
    )
    return "\n\n".join(f"{title}\n{report.as_text(table)}" for title, table in tables.items())
