"""Tables and figures of latents: tables over seeds, figures of the first seed's networks."""

import zipfile
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from experiments.harness.outcomes import failures
from experiments.harness.queries import Records, distinct, where
from experiments.harness.results import Results
from experiments.reports import comparison_tables, intervals
from experiments.reports.html_report import Picture, Section
from experiments.reports.names import ALGORITHM_NAMES, named
from experiments.reports.style import ALGORITHM_STYLES
from sffa_jax.checks import reject

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
"""Names of the measures, in the order of the tables."""

BOUNDS = dict.fromkeys(MEASURES, intervals.UNIT)
BOUNDS |= {"fisher": (0.0, np.inf), "silhouette": (-1.0, 1.0)}
"""Least and greatest possible value of each measure."""

CLAIMS = {
    "sparser": {"hoyer": 1, "treves_rolls": 1, "active_share": -1},
    "more specialized": {"selectivity": 1, "owned_share": 1, "overlap": -1},
    "more precise goodness": {"auroc": 1, "calibration_error": -1, "goodness_overlap": -1},
}
"""The paper's claims about SFFA against FFA: the sign that each difference should have."""


def values(records: Records, algorithm: str, measure: str, layer: int) -> dict[int, float]:
    """Returns one measure of each seed; a diverged network or a silent layer has none."""
    of_seed = {
        r["seed"]: r["layers"].get(measure, {})
        for r in where(records, algorithm=algorithm)
        if "layers" in r
    }
    return {
        seed: layers[layer]
        for seed, layers in of_seed.items()
        if layer < len(layers) and layers[layer] is not None
    }


def depth(records: Records) -> int:
    """Returns the number of layers."""
    return max((len(r["layers"]["hoyer"]) for r in records if "layers" in r), default=0)


def measures_table(records: Records) -> list[list[str]]:
    """Makes a row for each measure and layer, with a column for each algorithm."""
    algorithms = distinct(records, "algorithm")
    table = [["Measurement", "Layer", *(ALGORITHM_NAMES[a] for a in algorithms)]]
    for measure, name in MEASURES.items():
        for layer in range(depth(records)):
            by_algorithm = [list(values(records, a, measure, layer).values()) for a in algorithms]
            if any(by_algorithm):
                table.append(
                    [
                        name,
                        str(layer + 1),
                        *(
                            intervals.plus_minus(of_seed, ".3f", 1.0, BOUNDS[measure])
                            for of_seed in by_algorithm
                        ),
                    ]
                )
    return table


def claims_table(records: Records) -> list[list[str]]:
    """Makes a row for each claim, measure and layer: SFFA - FFA, paired by seed, with a verdict.

    A claim is confirmed or refuted if its p-value, corrected for all rows, is at most 0.05.
    """
    rows, tests, expected = [], [], []
    failed = failures(records)
    measured = Counter(record["algorithm"] for record in records if "layers" in record)
    for claim, directions in CLAIMS.items():
        for measure, direction in directions.items():
            for layer in range(depth(records)):
                pair = {name: values(records, name, measure, layer) for name in ("sffa", "ffa")}
                unknown = {
                    name: f"has no value in {missing} of {measured[name]} runs"
                    for name in pair
                    if (missing := measured[name] - len(pair[name]))
                }
                for test in intervals.paired_tests(pair, unknown | failed, bounds=None):
                    side = "higher" if direction > 0 else "lower"
                    difference = test.difference.with_bounds("+.3f", 1.0)
                    rows.append([claim, MEASURES[measure], side, str(layer + 1), difference])
                    tests.append(test)
                    expected.append(direction)
    head = ["Claim", "Measurement", "SFFA should be", "Layer", "SFFA - FFA [95 %]", "Verdict"]
    corrected = intervals.holm_corrected(tests)
    return [[*head, "p (paired t, Holm)"]] + [
        [*row, _verdict(test, direction), test.cell]
        for row, test, direction in zip(rows, corrected, expected, strict=True)
    ]


def _verdict(test: intervals.PairedTest, direction: int) -> str:
    """Returns what a test says of a claim about the sign of its difference."""
    if test.p is None:
        return "not tested"
    if not test.significant:
        return "undecided"
    return "confirmed" if direction * test.difference.mean > 0 else "refuted"


def panels(titles: Sequence[str], width: float = 3.4) -> tuple[Figure, Any]:
    """Makes a figure with one panel for each title, side by side."""
    figure = Figure(figsize=(width * len(titles), 3.2))
    axes = figure.subplots(1, len(titles), squeeze=False)[0]
    for each, title in zip(axes, titles, strict=True):
        each.set_title(title)
    return figure, axes


Gathered = Mapping[str, Mapping[str, np.ndarray]]
"""For each algorithm the arrays of its `pictures-ALGORITHM.npz`, made by `experiments.latents`."""


def activity_figure(arrays_of: Gathered, layer: int) -> Figure:
    """Draws mean activity by class, units ordered by the class they respond to most."""
    figure, axes = panels([ALGORITHM_NAMES[a] for a in arrays_of])
    for each, arrays in zip(axes, arrays_of.values(), strict=True):
        mean = arrays[f"means_{layer}"]
        best = mean.argmax(axis=0)
        # Within a class the most selective first; silent units last.
        total = mean.sum(axis=0)
        chosen = mean.max(axis=0) / np.where(total > 0, total, 1)
        order = np.lexsort((-chosen, best, total == 0))
        fractions = mean[:, order] / np.where(total > 0, total, 1)[order]
        image = each.imshow(
            fractions, aspect="auto", interpolation="nearest", cmap="cividis", vmin=0, vmax=1
        )
        each.set_xlabel("Neurons, by preferred class")
        each.set_ylabel("Class")
    figure.colorbar(image, ax=axes, label="Fraction of the neuron's activity")
    return figure


def embedding_figure(arrays_of: Gathered, layer: int) -> Figure:
    """Draws embedded latents, colored and numbered by class."""
    figure, axes = panels([ALGORITHM_NAMES[a] for a in arrays_of])
    for each, arrays in zip(axes, arrays_of.values(), strict=True):
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


def fields_figure(arrays_of: Gathered) -> Figure:
    """Draws the pixel weights of each class's most selective neuron, a row for each algorithm."""
    classes = len(next(iter(arrays_of.values()))["fields"])
    figure = Figure(figsize=(0.8 * classes, 0.95 * len(arrays_of)))
    grid = figure.subplots(len(arrays_of), classes, squeeze=False)
    for row, (algorithm, arrays) in zip(grid, arrays_of.items(), strict=True):
        for label, (axes, field) in enumerate(zip(row, arrays["fields"], strict=True)):
            weights = field if field.ndim == 2 else field.mean(axis=-1)
            most = np.abs(weights).max()
            axes.imshow(weights, cmap="PuOr_r", vmin=-most, vmax=most)
            axes.set_xticks([])
            axes.set_yticks([])
            if algorithm == next(iter(arrays_of)):
                axes.set_title(str(label), loc="center", fontsize=8)
        row[0].set_ylabel(ALGORITHM_NAMES[algorithm], fontsize=8)
    return figure


def goodness_figure(arrays_of: Gathered, layer: int) -> Figure:
    """Draws the logits of right and of wrong labels, a panel for each forward-only algorithm."""
    scored = {name: arrays for name, arrays in arrays_of.items() if "edges_0" in arrays}
    figure, axes = panels([ALGORITHM_NAMES[a] for a in scored], width=4.2)
    for each, arrays in zip(axes, scored.values(), strict=True):
        edges = arrays[f"edges_{layer}"]
        for kind, color, style, name in (
            ("right", "#0072B2", "-", "right label"),
            ("wrong", "#D55E00", "--", "wrong labels"),
        ):
            fractions = arrays[f"{kind}_{layer}"]
            each.stairs(fractions, edges, color=color, linestyle=style, label=name)
            each.stairs(fractions, edges, color=color, alpha=0.2, fill=True)
        each.set_xlabel("Logit")
        each.set_ylabel("Fraction")
        each.legend(fontsize=8)
    return figure


def training_figure(records: Records) -> Figure:
    """Draws the first layer's sparsity and ownership by epoch: mean and range over seeds."""
    names = {"hoyer": "Hoyer sparsity", "owned_share": "Fraction of units owned by one class"}
    figure, axes = panels(list(names.values()), width=4.2)
    for each, name in zip(axes, names, strict=True):
        for algorithm in distinct(records, "algorithm"):
            runs = [r["history"][name] for r in where(records, algorithm=algorithm)]
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


def pictures(arrays_of: Gathered) -> list[Picture]:
    """Returns the figures of one trained network of each algorithm."""
    figures = []
    depths = {a: sum(name.startswith("means_") for name in arrays_of[a]) for a in arrays_of}
    with_fields = {a: arrays for a, arrays in arrays_of.items() if "fields" in arrays}
    for layer in range(max(depths.values())):
        number = layer + 1
        deep = {a: arrays for a, arrays in arrays_of.items() if depths[a] > layer}
        figures.append(
            Picture(
                f"activity_layer_{number}.png",
                f"Layer {number}: mean activity of each neuron by class, as fractions. Neurons are "
                "ordered by the class they respond to most (first seed, predicted label).",
                partial(activity_figure, deep, layer),
            )
        )
        if layer == 0 and with_fields:
            figures.append(
                Picture(
                    "receptive_fields.png",
                    "Weights on the pixels of the neuron that is most selective for each class "
                    "(orange: excites, violet: inhibits).",
                    partial(fields_figure, with_fields),
                )
            )
        figures.append(
            Picture(
                f"embedding_layer_{number}.png",
                f"Layer {number}: latents of test images without a label, embedded by t-SNE.",
                partial(embedding_figure, deep, layer),
            )
        )
        if any("edges_0" in arrays for arrays in deep.values()):
            figures.append(
                Picture(
                    f"goodness_layer_{number}.png",
                    f"Layer {number}: logits of right and of wrong labels.",
                    partial(goodness_figure, deep, layer),
                )
            )
    return figures


def load_arrays(file: Path) -> dict[str, np.ndarray]:
    """Reads the arrays of an algorithm's pictures.

    Raises:
      ValueError: if the file is damaged.
    """
    try:
        return dict(np.load(file))
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        advice = "Delete it; the command makes it again."
        raise reject("latents", "pictures", f"be arrays: {file}", str(error), advice) from None


def section(results: Results) -> Section:
    """Makes the report of a latents experiment."""
    records, selection = results.records, results.options["selection"]
    done = [r for r in records if "layers" in r]
    claims = claims_table(records)
    tables = {
        "Test accuracy": comparison_tables.results_table(records, results.config["options"]),
        **({"The paper's claims": claims} if len(claims) > 1 else {}),
        "Measurements": measures_table(done),
    }
    files = {a: results.path / f"pictures-{a}.npz" for a in distinct(done, "algorithm")}
    arrays_of = {a: load_arrays(file) for a, file in files.items() if file.exists()}
    figures = pictures(arrays_of) if arrays_of else []
    if done:
        watched = {"validation": "validation", "last": "training", "test": "test"}[selection]
        caption = f"First layer through training, on {watched} images; band: range over seeds."
        figures.append(Picture("training.png", caption, partial(training_figure, done)))
    return Section(
        title=f"Latents of {named(records)} on {results.options['dataset']}",
        lead=f"{comparison_tables.SELECTION[selection]} Every layer of every trained network is "
        "measured on test images. Sparsity and specialization are measured with the predicted "
        "label; class separation is measured without a label, so that the label cannot reveal the "
        f"class. Values are means with the {intervals.ENDS}; differences are paired by seed. A "
        "claim is confirmed or refuted where its corrected p-value is at most 0.05.",
        tables=tables,
        pictures=figures,
        records=records,
        summary=comparison_tables.summary(records),
    )
