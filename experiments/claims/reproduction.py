"""The paper's numbers beside ours: every row is made from raw results, none of ours is typed.

What is typed, from the paper and from runs of its released code, stands in `CLAIMS`.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.harness.results import Results, load_results
from experiments.reports import intervals
from experiments.reports.style import ALGORITHM_NAMES

SOURCES = {
    "V": "read where it was published",
    "S": "as others quote it",
    "P": "read off a plot",
    "-": "not given",
}
"""How sure a number of others is."""

Where = tuple[str, Mapping[str, str]]
"""A folder of results, and the fields that pick its records."""


class Claim(NamedTuple):
    """One number to reach.

    Attributes:
      what: data and network, or scenario and strategy.
      algorithm: "sffa", "ffa" or "bp".
      paper: its accuracy, %, or the least and the greatest that it gives; None: it gives none.
      source: one of `SOURCES`.
      released: what the released code gave when it was run (seed 1), %; None: not run.
      settings: our run by the paper's settings; None: only the best was run.
      best: our best run of the same task.
      why: of a number that is not reached.
      whose: number it is; empty: the paper's.
      median: it is the median over settings, and each of our records is a setting.
    """

    what: str
    algorithm: str
    paper: float | tuple[float, float] | None
    source: str
    released: float | None
    settings: Where | None
    best: Where
    why: str = ""
    whose: str = ""
    median: bool = False


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


def _learned(
    strategy: str,
    kind: str,
    algorithm: str,
    paper: float | tuple[float, float] | None,
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


HELD = "its logit scale of 1, learning rate and label code hold it back: ablation, on MNIST"
SWAYED = "FFA stands and falls with its threshold: robustness, on MNIST"

CLASSIFICATION = (
    _classified("MNIST", "mnist", "sffa", 97.87, HELD),
    _classified("MNIST", "mnist", "bp", 98.25),
    _classified("Fashion-MNIST", "fashion_mnist", "sffa", 89.39, HELD),
    _classified("Fashion-MNIST", "fashion_mnist", "ffa", 85.75, SWAYED),
    _classified("Fashion-MNIST", "fashion_mnist", "bp", 89.47),
)

DOMAIN = "nothing that was tried reaches it: continual learning"
FORGOTTEN = "all but the last task is forgotten, as in the paper"
ORDER = "there is nothing to remember with; the order of classes moves it by more"
NEAR = "the order of classes alone moves a seed by more"

CONTINUAL = (
    _learned("replay", "class", "sffa", 90.03, source="S", released=90.45),
    _learned("replay", "class", "ffa", None, source="-", released=79.98),
    _learned("replay", "class", "bp", 87.75, source="S", released=88.69),
    _learned("gem", "class", "sffa", 69.73, source="S", released=73.22),
    _learned("gem", "class", "ffa", None, source="-", released=77.37, why=NEAR),
    _learned("gem", "class", "bp", 62.85, source="S", released=63.72),
    _learned("none", "class", "sffa", 20.0, released=20.1, why=FORGOTTEN),
    _learned("none", "class", "ffa", None, source="-", released=20.0),
    _learned("none", "class", "bp", 20.0, released=19.9),
    _learned("ewc", "class", "sffa", 20.0, why=FORGOTTEN),
    _learned("si", "class", "sffa", 20.0, why=FORGOTTEN),
    _learned("mas", "class", "sffa", 20.0, why=FORGOTTEN),
    _learned("replay", "domain", "sffa", 95.17, source="S", released=94.28, why=DOMAIN),
    _learned("replay", "domain", "ffa", None, source="-", released=92.20),
    _learned("replay", "domain", "bp", 94.16, source="S", released=93.33),
    _learned("gem", "domain", "sffa", None, source="-", released=86.66, why=NEAR),
    _learned("gem", "domain", "ffa", None, source="-", released=86.26, why=NEAR),
    _learned("gem", "domain", "bp", None, source="-", released=85.30, why=NEAR),
    _learned("none", "domain", "sffa", (67.0, 75.0), released=70.49, why=ORDER),
    _learned("none", "domain", "ffa", None, source="-", released=67.80, why=ORDER),
    _learned("ewc", "domain", "sffa", (67.0, 75.0), why=NEAR),
    _learned("si", "domain", "sffa", (67.0, 75.0), why=NEAR),
    _learned("mas", "domain", "sffa", (67.0, 75.0), why=NEAR),
    _learned("none", "task", "sffa", 88.5, released=91.2),
    _learned("mas", "task", "sffa", 91.0),
    _learned("ewc", "task", "sffa", 94.5, released=96.1),
    _learned("si", "task", "sffa", 96.0),
    _learned("gem", "task", "sffa", 98.0, released=97.43, why=NEAR),
    _learned("gem", "task", "ffa", None, source="-", released=96.74, why=NEAR),
    _learned("gem", "task", "bp", None, source="-", released=98.54, why=NEAR),
    _learned("replay", "task", "sffa", 99.0, released=99.03, why=NEAR),
    _learned("replay", "task", "ffa", None, source="-", released=97.88, why=NEAR),
    _learned("replay", "task", "bp", None, source="-", released=98.97, why=NEAR),
    _learned("replay", "class", "sffa", 79.0, data="fashion_mnist"),
    _learned("gem", "class", "sffa", 65.0, data="fashion_mnist"),
    _learned("gem", "class", "bp", 60.0, data="fashion_mnist"),
    _learned("replay", "domain", "sffa", 88.0, data="fashion_mnist"),
    _learned("replay", "task", "sffa", 97.0, data="fashion_mnist"),
)


def _elsewhere(
    what: str,
    whose: str,
    algorithm: str,
    theirs: float,
    source: str,
    folder: str,
    strategy: str = "",
    *,
    why: str = "",
    median: bool = False,
) -> Claim:
    pick = {"algorithm": algorithm}
    if strategy:
        pick |= {"scenario": "class", "strategy": strategy}
    where = (folder, pick)
    return Claim(what, algorithm, theirs, source, None, None, where, why, whose, median)


POLAR = "[Polar-FFA](https://arxiv.org/abs/2408.09210)"
HINTON = "[Hinton](https://arxiv.org/abs/2212.13345)"
TYPES = "van de Ven et al. 2022"
FOUND = "the best we know of"
SHALLOW = "three layers, ten epochs and no augmentation here"

ELSEWHERE = (
    _elsewhere("MNIST, its best goodness", POLAR, "sffa", 98.33, "V", "compare/best_mnist"),
    _elsewhere("MNIST, FFA", POLAR, "ffa", 97.33, "V", "compare/best_mnist"),
    _elsewhere(
        "Fashion-MNIST, its best goodness", POLAR, "sffa", 88.94, "V", "compare/best_fashion_mnist"
    ),
    _elsewhere("Fashion-MNIST, FFA", POLAR, "ffa", 87.36, "V", "compare/best_fashion_mnist"),
    _elsewhere(
        "MNIST, median over settings", POLAR, "sffa", 96.2, "V", "robustness/mnist", median=True
    ),
    _elsewhere(
        "MNIST, median over settings", POLAR, "ffa", 84.2, "V", "robustness/mnist", median=True
    ),
    _elsewhere(
        "MNIST, 4 layers of 2000 (ours: one of 4000)",
        HINTON,
        "ffa",
        98.64,
        "V",
        "compare/best_mnist",
    ),
    _elsewhere("MNIST, dense", FOUND, "sffa", 98.7, "S", "compare/best_mnist"),
    _elsewhere("Fashion-MNIST, dense", FOUND, "sffa", 90.5, "S", "compare/best_fashion_mnist"),
    _elsewhere(
        "MNIST, convolutions", FOUND, "sffa", 99.7, "S", "compare/convolution_mnist", why=SHALLOW
    ),
    _elsewhere(
        "Fashion-MNIST, convolutions",
        FOUND,
        "sffa",
        93.9,
        "S",
        "compare/convolution_fashion_mnist",
        why=SHALLOW,
    ),
    _elsewhere("SplitMNIST, replay", TYPES, "bp", 89.0, "S", "continual/mnist", "replay"),
    _elsewhere("SplitMNIST, replay", TYPES, "sffa", 89.0, "S", "continual/mnist", "replay"),
    _elsewhere(
        "SplitMNIST, no memory: subnetwork distillation against units of one class's own",
        FOUND,
        "sffa",
        86.0,
        "S",
        "continual/mnist_owned",
        "owned",
    ),
    _elsewhere(
        "SplitMNIST, no memory: generative classifier against a read-out of forward-only maps",
        TYPES,
        "sffa",
        93.0,
        "S",
        "continual/mnist_owned",
        "slda_maps",
    ),
)
"""All of the class scenario, where it is continual learning."""

CLAIMS = {"classification": CLASSIFICATION, "continual": CONTINUAL, "elsewhere": ELSEWHERE}


Reader = Callable[[Path], Results]


def load(
    root: Path, claim: Claim, where: Where | None, reader: Reader = load_results
) -> list[float]:
    """Accuracy of each seed, fractions, or the median over settings; none if it was not run."""
    if where is None or not (root / where[0] / "config.json").exists():
        return []
    pick = where[1]
    found = [
        record
        for record in reader(root / where[0]).records
        if all(record[key] == pick[key] for key in pick)
    ]
    if claim.median:  # of all settings: one that diverged is as bad as can be
        return [float(np.median([r["test_accuracy"] or 0.0 for r in found]))] if found else []
    done = [record for record in found if record["status"] == "done"]
    return [record.get("average_accuracy", record["test_accuracy"]) for record in done]


def shown(claim: Claim, values: Sequence[float]) -> str:
    """Mean, half of the interval, seeds; or a median."""
    if not values:
        return "not run"
    if claim.median:
        return f"{100 * values[0]:.2f} (median)"
    return f"{intervals.plus_minus(values)} ({len(values)})"


def theirs(claim: Claim) -> str:
    """The number to reach."""
    if claim.paper is None:
        return "-"
    near = "≈ " if claim.source == "P" else ""
    ends = claim.paper if isinstance(claim.paper, tuple) else (claim.paper,)
    return near + " to ".join(f"{end:g}" for end in ends)


def verdict(claim: Claim, values: Sequence[float]) -> str:
    """How an interval lies to the paper's number; to the released code's, where it has none.

    The paper's is a point unsure where it was read off a plot, and so is the released code's, of
    one seed."""
    aim = claim.released if claim.paper is None else claim.paper
    if aim is None or not values:
        return "-"
    low_aim, high_aim = aim if isinstance(aim, tuple) else (aim, aim)
    of = intervals.mean_interval(values)
    mean, low, high = (
        100 * (of.mean if bound is None else bound) for bound in (of.mean, of.low, of.high)
    )
    unsure = 1.0 if claim.paper is None or claim.source == "P" else 0.0
    if low > high_aim + unsure:
        return "exceeded"
    if mean >= low_aim - unsure:
        return "reproduced"
    return "below, within the interval" if high >= low_aim - unsure else "not reached"


def judged(claim: Claim, best: Sequence[float], settings: Sequence[float]) -> str:
    """Both verdicts, and why a number is not reached."""
    said = [verdict(claim, best)]
    if settings:
        said.append(f"its settings: {verdict(claim, settings)}")
    if claim.paper is None and claim.released is not None and best:
        said = [f"{one}, to the released code" for one in said]
    short = any("not reached" in one or "below" in one for one in said)
    return "; ".join(said) + (f" ({claim.why})" if short and claim.why else "")


def table(root: Path, kind: str) -> list[list[str]]:
    """The claims of a kind, a row each.

    Args:
      root: holds the folders of results.
      kind: one of `CLAIMS`.
    """
    reader = cache(load_results)  # a folder holds what many rows are made from
    if kind == "elsewhere":
        rows = [["What", "Whose", "Theirs", "Ours", "By", "Verdict"]]
        for claim in CLAIMS[kind]:
            best = load(root, claim, claim.best, reader)
            name = ALGORITHM_NAMES[claim.algorithm]
            ours = shown(claim, best)
            verdicts = judged(claim, best, [])
            rows.append([claim.what, claim.whose, theirs(claim), ours, name, verdicts])
        return rows
    rows = [["What", "Algorithm", "Paper", "Released code", "Ours, its settings", "Ours, best"]]
    rows[0].append("Verdict")
    for claim in CLAIMS[kind]:
        settings, best = (
            load(root, claim, where, reader) for where in (claim.settings, claim.best)
        )
        rows.append(
            [
                claim.what,
                ALGORITHM_NAMES[claim.algorithm],
                theirs(claim),
                "-" if claim.released is None else f"{claim.released:g}",
                "-" if claim.settings is None else shown(claim, settings),
                shown(claim, best),
                judged(claim, best, settings),
            ]
        )
    return rows


def _minutes(minutes: float) -> str:
    return f"{minutes:.3g}" if minutes < 100 else f"{minutes:.0f}"


def _runs(results: Results) -> list[dict[str, Any]]:
    return [record for record in results.records if "train_seconds" in record]


TIMED = {
    "compare/paper_mnist": "compare/paper_mnist_2_cores",
    "compare/paper_fashion_mnist": "compare/paper_mnist_2_cores",
    "compare/mnist": "compare/mnist_2_cores",
    "compare/fashion_mnist": "compare/mnist_2_cores",
    "compare/best_mnist": "compare/best_mnist_2_cores",
    "compare/best_fashion_mnist": "compare/best_fashion_mnist_2_cores",
}
"""Short runs on two cores of steps that ran on an accelerator: same networks, same sizes."""


def two_core_minutes(root: Path, name: str, seeds: int) -> float | None:
    """Minutes that a step's runs take on two cores: measured, or epochs times the seconds of one in
    a short run; None if neither was recorded."""
    whole = load_results(root / name)
    runs = _runs(whole)
    found = len({run["seed"] for run in runs})
    if not runs:
        return None
    if whole.experiment == "robustness":  # a grid of settings, each of one seed
        seeds = found
    if whole.config["device"]["platform"] == "cpu":
        return sum(run["train_seconds"] for run in runs) / 60 * seeds / found
    if name not in TIMED or not (root / TIMED[name] / "config.json").exists():
        return None
    algorithms = {run["algorithm"] for run in runs}
    short = [r for r in _runs(load_results(root / TIMED[name])) if r["algorithm"] in algorithms]
    an_epoch = [
        np.mean([r["train_seconds"] / r["epochs"] for r in short if r["algorithm"] == algorithm])
        for algorithm in algorithms
    ]
    return float(sum(an_epoch)) * runs[0]["epochs"] * seeds / 60


def time_table(root: Path, folders: Sequence[str], seeds: int = 10) -> list[list[str]]:
    """Machine time of each folder's runs, and of so many seeds on two cores."""
    rows = [["Step", "Runs", "On", "Seconds a run", "Minutes in all"]]
    rows[0].append(f"Minutes for {seeds} seeds on 2 cores")
    total = 0.0
    for name in folders:
        if not (root / name / "config.json").exists():
            rows.append([name, "not run", *"----"])
            continue
        results = load_results(root / name)
        runs = _runs(results)
        if not runs:
            rows.append([name, str(len(results.records)), "-", "not recorded", "-", "-"])
            continue
        seconds = [run["train_seconds"] for run in runs]
        device = results.config["device"]
        measured = device["platform"] == "cpu"
        on = f"{device['host_cores']} cores" if measured else device["kind"]
        minutes = two_core_minutes(root, name, seeds)
        total += minutes or 0.0
        rows.append(
            [
                name,
                str(len(runs)),
                on,
                f"{np.mean(seconds):.3g}",
                _minutes(sum(seconds) / 60),
                "-" if minutes is None else f"{'' if measured else '≈ '}{_minutes(minutes)}",
            ]
        )
    rows.append(["together", *"----", f"≈ {total / 60:.1f} hours"])
    return rows
