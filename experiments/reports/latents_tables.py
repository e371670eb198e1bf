"""The report of `experiments.latents`: tables over seeds, pictures of the first seed's networks."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from scipy import stats

from experiments.harness.results import Results
from experiments.reports import comparison_tables, intervals
from experiments.reports.html_report import Picture, Section
from experiments.reports.style import ALGORITHM_NAMES, ALGORITHM_STYLES

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
    "neighbors": "5 nearest neighbors (no label)",
    "auroc": "AUROC of goodness",
    "calibration_error": "Calibration error of goodness",
    "goodness_overlap": "Overlap of right and wrong goodness",
    "agreement": "Agreement with the other layers",
}
"""Names of the measurements, in the order of the tables."""

CLAIMS = {
    "sparser": {"hoyer": 1, "treves_rolls": 1, "active_share": -1},
    "more specialized": {"selectivity": 1, "owned_share": 1, "overlap": -1},
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


def depth(records: Records) -> int:
    """Layers of the networks."""
    return max((len(r["layers"]["hoyer"]) for r in records if "layers" in r), default=0)


def measures_table(records: Records) -> list[list[str]]:
    """Every measurement of every layer, by algorithm."""
    algorithms = list(dict.fromkeys(r["algorithm"] for r in records))
    table = [["Measurement", "Layer", *(ALGORITHM_NAMES[a] for a in algorithms)]]
    for measure, name in MEASURES.items():
        for layer in range(depth(records)):
            found = [list(values(records, a, measure, layer).values()) for a in algorithms]
            if any(found):
                table.append(
                    [
                        name,
                        str(layer + 1),
                        *(intervals.plus_minus(of_seed, ".3f", 1.0) for of_seed in found),
                    ]
                )
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
                of = intervals.mean_interval(differences.tolist())
                assert of.low is not None
                assert of.high is not None
                test = stats.ttest_1samp(differences, 0.0)
                p_values.append(float(test.pvalue) if np.ptp(differences) > 0 else 1.0)
                low, high = sorted((direction * of.low, direction * of.high))
                verdict = "confirmed" if low > 0 else "refuted" if high < 0 else "undecided"
                interval = of.with_bounds("+.3f", 1.0)
                wanted = "higher" if direction > 0 else "lower"
                rows.append([claim, MEASURES[measure], wanted, str(layer + 1), interval, verdict])
    head = ["Claim", "Measurement", "SFFA should be", "Layer", "SFFA - FFA [95 %]", "Verdict"]
    corrected = intervals.holm(p_values)
    return [[*head, "p (paired t, Holm)"]] + [
        [*row, f"{p:.2g}"] for row, p in zip(rows, corrected, strict=True)
    ]


def panels(titles: Sequence[str], height: float = 3.2, width: float = 3.4) -> tuple[Figure, Any]:
    """A figure with a picture for each title, side by side."""
    figure = Figure(figsize=(width * len(titles), height))
    axes = figure.subplots(1, len(titles), squeeze=False)[0]
    for each, title in zip(axes, titles, strict=True):
        each.set_title(title)
    return figure, axes


Gathered = Mapping[str, Mapping[str, np.ndarray]]
"""For each algorithm the arrays of its `pictures-ALGORITHM.npz`, see `latents.gather`."""


def activity_figure(found: Gathered, layer: int) -> Figure:
    """Mean activity by class, units ordered by the class they answer most."""
    figure, axes = panels([ALGORITHM_NAMES[a] for a in found])
    for each, arrays in zip(axes, found.values(), strict=True):
        mean = arrays[f"means_{layer}"]
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


def embedding_figure(found: Gathered, layer: int) -> Figure:
    """Embedded latents, colored and numbered by class."""
    figure, axes = panels([ALGORITHM_NAMES[a] for a in found])
    for each, arrays in zip(axes, found.values(), strict=True):
        points, labels = arrays[f"points_{layer}"], arrays["labels"]
        each.scatter(*points.T, c=labels, cmap="tab10", s=3, linewidths=0, alpha=0.7)
        for label in np.unique(labels):
            middle = np.median(points[labels == label], axis=0)
            each.text(
                *middle,
                str(label),
                ha="center",
                va="center",
                fontsize=9,
                fontweight="bold",
                color="black",
                bbox={"boxstyle": "circle,pad=0.15", "fc": "white", "ec": "none", "alpha": 0.8},
            )
        each.set_xticks([])
        each.set_yticks([])
    return figure


def fields_figure(found: Gathered) -> Figure:
    """Weights on the pixels of each class's most selective neuron, a row an algorithm."""
    classes = len(next(iter(found.values()))["fields"])
    figure = Figure(figsize=(0.8 * classes, 0.95 * len(found)))
    grid = figure.subplots(len(found), classes, squeeze=False)
    for row, (algorithm, arrays) in zip(grid, found.items(), strict=True):
        for label, (axes, field) in enumerate(zip(row, arrays["fields"], strict=True)):
            weights = field if field.ndim == 2 else field.mean(axis=-1)
            most = np.abs(weights).max()
            axes.imshow(weights, cmap="PuOr_r", vmin=-most, vmax=most)
            axes.set_xticks([])
            axes.set_yticks([])
            if algorithm == next(iter(found)):
                axes.set_title(str(label), loc="center", fontsize=8)
        row[0].set_ylabel(ALGORITHM_NAMES[algorithm], fontsize=8)
    return figure


def goodness_figure(found: Gathered, layer: int) -> Figure:
    """Log-odds of right and of wrong labels, by forward-only algorithm."""
    scored = {name: arrays for name, arrays in found.items() if "edges_0" in arrays}
    figure, axes = panels([ALGORITHM_NAMES[a] for a in scored], width=4.2)
    for each, arrays in zip(axes, scored.values(), strict=True):
        edges = arrays[f"edges_{layer}"]
        for kind, color, style, name in (
            ("right", "#0072B2", "-", "right label"),
            ("wrong", "#D55E00", "--", "wrong labels"),
        ):
            shares = arrays[f"{kind}_{layer}"]
            each.stairs(shares, edges, color=color, linestyle=style, label=name)
            each.stairs(shares, edges, color=color, alpha=0.2, fill=True)
        each.set_xlabel("Log-odds")
        each.set_ylabel("Share")
        each.legend(fontsize=8)
    return figure


def training_figure(records: Records) -> Figure:
    """Sparsity and ownership after each epoch: mean over seeds and their range, first layer."""
    names = {"hoyer": "Hoyer sparsity", "owned_share": "Units owned by one class"}
    figure, axes = panels(list(names.values()), width=4.2)
    for each, name in zip(axes, names, strict=True):
        for algorithm in dict.fromkeys(r["algorithm"] for r in records):
            runs = [r["history"][name] for r in records if r["algorithm"] == algorithm]
            curves = np.array(runs, float)[:, :, 0]
            color, marker = ALGORITHM_STYLES[algorithm]
            epochs = np.arange(1, curves.shape[1] + 1)
            each.plot(
                epochs,
                curves.mean(axis=0),
                color=color,
                marker=marker,
                markersize=3,
                label=ALGORITHM_NAMES[algorithm],
            )
            each.fill_between(
                epochs, curves.min(axis=0), curves.max(axis=0), color=color, alpha=0.2
            )
        each.set_xlabel("Epoch")
        each.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes[0].legend(fontsize=8)
    return figure


def pictures(found: Gathered) -> list[Picture]:
    """Of one trained network of each algorithm."""
    listed = []
    layers = sum(name.startswith("means_") for name in next(iter(found.values())))
    for layer in range(layers):
        number = layer + 1
        listed.append(
            Picture(
                f"activity_layer_{number}.png",
                f"Layer {number}: each neuron's mean activity by class, as shares, neurons ordered "
                "by the class they answer most (first seed, test images with the label predicted).",
                partial(activity_figure, found, layer),
            )
        )
        if layer == 0:
            listed.append(
                Picture(
                    "receptive_fields.png",
                    "Weights on the pixels of the neuron that is most selective for each class "
                    "(orange: excites, violet: inhibits).",
                    partial(fields_figure, found),
                )
            )
        listed.append(
            Picture(
                f"embedding_layer_{number}.png",
                f"Layer {number}: latents of test images without a label, embedded by t-SNE.",
                partial(embedding_figure, found, layer),
            )
        )
        if any("edges_0" in arrays for arrays in found.values()):
            listed.append(
                Picture(
                    f"goodness_layer_{number}.png",
                    f"Layer {number}: log-odds of right and of wrong labels.",
                    partial(goodness_figure, found, layer),
                )
            )
    return listed


def section(results: Results) -> Section:
    """What there is to say of the runs; pictures of networks that were looked at."""
    records = results.records
    done = [r for r in records if "layers" in r]
    claims = claims_table(done)
    tables = {
        "Test accuracy": comparison_tables.results_table(records),
        **({"The paper's claims": claims} if len(claims) > 1 else {}),
        "Measurements": measures_table(done),
    }
    files = {
        a: results.path / f"pictures-{a}.npz" for a in dict.fromkeys(r["algorithm"] for r in done)
    }
    found = {a: dict(np.load(file)) for a, file in files.items() if file.exists()}
    shown = pictures(found) if found else []
    if done:
        caption = "First layer through training, on validation images; band: range over seeds."
        shown.append(Picture("training.png", caption, partial(training_figure, done)))
    return Section(
        title=f"Latents of FFA, SFFA and backprop on {results.options['dataset']}",
        lead="Every layer of every trained network, measured on test images. Sparsity and "
        "specialization are those of activity with the label that the network predicts; what keeps "
        "classes apart is measured on images without a label, so that nothing is read off it. "
        "Mean and half of the 95 % interval over seeds; differences are paired by seed.",
        tables=tables,
        pictures=shown,
        records=records,
        summary=comparison_tables.summary(records),
        config=results.config,
        command=results.command,
    )
