"""The paper's numbers beside ours: every row is made from raw results, none of ours is typed.

What is typed, from the paper and from runs of its released code, stands in `CLAIMS`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.results import Results, read
from sffa_jax import report

SOURCES = {
    "S": "as later work quotes it",
    "P": "read off a plot",
    "-": "not in the paper",
}
"""How sure a number of the paper is."""

Where = tuple[str, Mapping[str, str]]
"""A folder of results, and the fields that pick its records."""


class Claim(NamedTuple):
    """One number to reach.

    Attributes:
      what: data and network, or scenario and strategy.
      algorithm: "sffa", "ffa" or "bp".
      paper: its accuracy, %; None: it gives none.
      source: one of `SOURCES`.
      released: what the released code gave when it was run (seed 1), %; None: not run.
      settings: our run by the paper's settings; None: only the best was run.
      best: our best run of the same task.
      why: of a number that is not reached.
    """

    what: str
    algorithm: str
    paper: float | None
    source: str
    released: float | None
    settings: Where | None
    best: Where
    why: str = ""


def _classified(data: str, name: str, algorithm: str, paper: float, why: str = "") -> Claim:
    settings, best = f"compare/paper_{name}", f"compare/best_{name}"
    pick = {"algorithm": algorithm}
    return Claim(
        f"{data}, one hidden layer",
        algorithm,
        paper,
        "S",
        None,
        (settings, pick),
        (best, pick),
        why,
    )


def _learnt(
    strategy: str,
    kind: str,
    algorithm: str,
    paper: float | None,
    *,
    source: str = "P",
    released: float | None = None,
    data: str = "mnist",
    why: str = "",
) -> Claim:
    pick = {"scenario": kind, "strategy": strategy, "algorithm": algorithm}
    name = {"mnist": "SplitMNIST", "fashion_mnist": "SplitFashionMNIST"}[data]
    coupled = None
    if (data, kind, strategy) == ("mnist", "class", "replay") and algorithm != "bp":
        coupled = ("continual/mnist_released", pick)
    what = f"{name}, {kind}, {strategy}"
    return Claim(
        what, algorithm, paper, source, released, coupled, (f"continual/{data}", pick), why
    )


CLASSIFICATION = (
    _classified("MNIST", "mnist", "sffa", 97.87),
    _classified("MNIST", "mnist", "bp", 98.25),
    _classified("Fashion-MNIST", "fashion_mnist", "sffa", 89.39),
    _classified("Fashion-MNIST", "fashion_mnist", "ffa", 85.75),
    _classified("Fashion-MNIST", "fashion_mnist", "bp", 89.47),
)

DOMAIN = (
    "a duller loss learns the newest task better and loses elsewhere; FFA with the same memory "
    "reaches the paper's number"
)
FORGOTTEN = "all but the last task is forgotten, as in the paper: a fifth is what is left"
NEAR = "the order of classes alone moves single seeds by more"

CONTINUAL = (
    _learnt("replay", "class", "sffa", 90.03, source="S", released=90.45),
    _learnt("replay", "class", "ffa", None, source="-", released=79.98),
    _learnt("replay", "class", "bp", 87.75, source="S", released=88.69),
    _learnt("gem", "class", "sffa", 69.73, source="S", released=73.22),
    _learnt("gem", "class", "ffa", None, source="-", released=77.37),
    _learnt("gem", "class", "bp", 62.85, source="S", released=63.72),
    _learnt("none", "class", "sffa", 20.0, released=20.1, why=FORGOTTEN),
    _learnt("ewc", "class", "sffa", 20.0, why=FORGOTTEN),
    _learnt("si", "class", "sffa", 20.0, why=FORGOTTEN),
    _learnt("mas", "class", "sffa", 20.0, why=FORGOTTEN),
    _learnt("replay", "domain", "sffa", 95.17, source="S", released=94.28, why=DOMAIN),
    _learnt("replay", "domain", "ffa", None, source="-", released=92.20),
    _learnt("replay", "domain", "bp", 94.16, source="S", released=93.33),
    _learnt("gem", "domain", "sffa", None, source="-", released=86.66),
    _learnt("none", "domain", "sffa", 67.0, released=70.49),
    _learnt("none", "task", "sffa", 88.5, released=91.2),
    _learnt("mas", "task", "sffa", 91.0),
    _learnt("ewc", "task", "sffa", 94.5, released=96.1),
    _learnt("si", "task", "sffa", 96.0),
    _learnt("gem", "task", "sffa", 98.0, released=97.43, why=NEAR),
    _learnt("replay", "task", "sffa", 99.0, released=99.03, why=NEAR),
    _learnt("replay", "class", "sffa", 79.0, data="fashion_mnist"),
    _learnt("gem", "class", "sffa", 65.0, data="fashion_mnist"),
    _learnt("gem", "class", "bp", 60.0, data="fashion_mnist"),
    _learnt("replay", "domain", "sffa", 88.0, data="fashion_mnist"),
    _learnt("replay", "task", "sffa", 97.0, data="fashion_mnist"),
)

CLAIMS = {"classification": CLASSIFICATION, "continual": CONTINUAL}


def load(root: Path, where: Where) -> list[float]:
    """Accuracy of each seed, fractions; none if it was not run."""
    folder, pick = where
    if not (root / folder / "config.json").exists():
        return []
    found = [
        record
        for record in read(root / folder).records
        if record["status"] == "done" and all(record[key] == pick[key] for key in pick)
    ]
    return [record.get("average_accuracy", record["test_accuracy"]) for record in found]


def shown(values: Sequence[float]) -> str:
    """Mean, half of the interval, seeds."""
    if not values:
        return "not run"
    of = report.interval(values)
    half = "" if of.high is None else f" ± {100 * (of.high - of.mean):.2f}"
    return f"{100 * of.mean:.2f}{half} ({of.n})"


def verdict(claim: Claim, values: Sequence[float]) -> str:
    """How an interval lies to the paper's number, which is a point unsure where it was read off a
    plot."""
    if claim.paper is None or not values:
        return "-"
    of = report.interval(values)
    mean, low, high = (
        100 * (of.mean if bound is None else bound) for bound in (of.mean, of.low, of.high)
    )
    unsure = 1.0 if claim.source == "P" else 0.0
    if low > claim.paper + unsure:
        return "exceeded"
    if mean >= claim.paper - unsure:
        return "reproduced"
    why = f": {claim.why}" if claim.why else ""
    level = high >= claim.paper - unsure
    return f"below, within the interval{why}" if level else f"not reached{why}"


def table(root: Path, kind: str) -> list[list[str]]:
    """The claims of a kind, a row each.

    Args:
      root: holds the folders of results.
      kind: one of `CLAIMS`.
    """
    rows = [
        [
            "What",
            "Algorithm",
            "Paper",
            "Released code",
            "Ours, its settings",
            "Ours, best",
            "Verdict",
        ]
    ]
    for claim in CLAIMS[kind]:
        settings = [] if claim.settings is None else load(root, claim.settings)
        best = load(root, claim.best)
        near = "≈ " if claim.source == "P" else ""
        both = verdict(claim, best)
        if settings:
            both = f"{both} (its settings: {verdict(claim._replace(why=''), settings)})"
        rows.append(
            [
                claim.what,
                report.NAMES[claim.algorithm],
                "-" if claim.paper is None else f"{near}{claim.paper:g}",
                "-" if claim.released is None else f"{claim.released:g}",
                "-" if claim.settings is None else shown(settings),
                shown(best),
                both if claim.paper is not None else "-",
            ]
        )
    return rows


def _runs(results: Results) -> list[dict[str, Any]]:
    return [record for record in results.records if "train_seconds" in record]


def time_table(root: Path, folders: Sequence[str]) -> list[list[str]]:
    """Machine time of each folder's runs, and of ten seeds on the same machine."""
    rows = [["Step", "Runs", "On", "Seconds a run", "Minutes in all", "Minutes for ten seeds"]]
    for name in folders:
        if not (root / name / "config.json").exists():
            rows.append([name, "not run", "-", "-", "-", "-"])
            continue
        results = read(root / name)
        runs = _runs(results)
        if not runs:
            rows.append([name, str(len(results.records)), "-", "not recorded", "-", "-"])
            continue
        seconds = [run["train_seconds"] for run in runs]
        seeds = len({run["seed"] for run in runs})
        device = results.config["device"]
        on = f"{device['host_cores']} cores" if device["platform"] == "cpu" else device["kind"]
        total = sum(seconds) / 60
        rows.append(
            [
                name,
                str(len(runs)),
                on,
                f"{np.mean(seconds):.3g}",
                f"{total:.3g}",
                f"{total * 10 / seeds:.3g}",
            ]
        )
    return rows
