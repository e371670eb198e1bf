"""Published numbers with their sources, each with the folder of results that should reach it.

The numbers are those of the paper, of one run of its released code, and of other publications. No
number of this project is typed here.
"""

from collections.abc import Mapping
from typing import NamedTuple

SOURCES = {"V": "read in the publication", "S": "quoted by others", "-": "not given"}
"""How reliable a published number is."""

Selection = tuple[str, Mapping[str, str]]
"""A folder of results, and the values of fields that select its records."""


class Claim(NamedTuple):
    """One published number.

    Attributes:
      task: data and network, or scenario and strategy.
      algorithm: "sffa", "ffa" or "bp".
      number: published accuracy, %; None: not published.
      source: one of `SOURCES`.
      released: accuracy of the released code (seed 1), %; None: not run.
      paper_settings: our runs with the paper's settings; None: not run.
      best: our best runs of the same task; None: not compared.
      reason: why the number is not reached; empty if it is.
      origin: the publication; empty: the paper.
      median: the number is a median over settings, and each of our records is one setting.
    """

    task: str
    algorithm: str
    number: float | None
    source: str
    released: float | None
    paper_settings: Selection | None
    best: Selection | None
    reason: str = ""
    origin: str = ""
    median: bool = False


def _classification(
    data: str, folder: str, algorithm: str, number: float, reason: str = ""
) -> Claim:
    fields = {"algorithm": algorithm}
    preset = "paper" if algorithm == "sffa" else "released"  # the same for FFA and backprop
    paper_settings, best = f"compare/{preset}_{folder}", f"compare/best_{folder}"
    return Claim(
        f"{data}, one hidden layer",
        algorithm,
        number,
        "S",
        None,
        (paper_settings, fields),
        (best, fields),
        reason,
    )


NO_SETTINGS = "the paper does not give its settings"

CLASSIFICATION = (
    _classification("MNIST", "mnist", "sffa", 97.87, NO_SETTINGS),
    _classification("MNIST", "mnist", "bp", 98.25),
    _classification("Fashion-MNIST", "fashion_mnist", "sffa", 89.39, NO_SETTINGS),
    _classification("Fashion-MNIST", "fashion_mnist", "ffa", 85.75, NO_SETTINGS),
    _classification("Fashion-MNIST", "fashion_mnist", "bp", 89.47),
)

STRATEGIES = ("none", "ewc", "si", "mas", "gem", "replay")
FIGURE: dict[tuple[str, str], tuple[tuple[float, float], ...]] = {
    ("mnist", "class"): (
        *((19.85, 19.81), (20.32, 19.77), (20.50, 19.81)),
        *((20.04, 21.21), (69.73, 62.85), (90.03, 87.75)),
    ),
    ("mnist", "domain"): (
        *((69.86, 67.50), (74.70, 72.47), (72.25, 73.06)),
        *((69.93, 75.42), (87.73, 86.10), (95.17, 94.16)),
    ),
    ("mnist", "task"): (
        *((88.44, 91.40), (94.48, 98.33), (96.08, 98.93)),
        *((90.75, 99.26), (98.19, 98.44), (99.17, 99.07)),
    ),
    ("fashion_mnist", "class"): (
        *((20.18, 19.74), (22.58, 20.22), (23.33, 20.41)),
        *((21.54, 21.88), (64.90, 60.35), (79.38, 78.97)),
    ),
    ("fashion_mnist", "domain"): (
        *((59.84, 60.42), (66.43, 62.69), (62.91, 63.24)),
        *((63.15, 65.38), (80.93, 80.40), (88.42, 87.69)),
    ),
    ("fashion_mnist", "task"): (
        *((80.74, 89.37), (93.25, 94.24), (90.47, 96.82)),
        *((82.78, 96.95), (96.08, 96.46), (97.29, 97.09)),
    ),
}
"""SFFA's and backprop's mean accuracy after the last task, by data set and scenario, in the order
of `STRATEGIES`: the end points of the paper's figure, a vector drawing in the released code
(`images/plot_final.pdf`). Read against its axes, it gives the six numbers of the text exactly."""

RELEASED_CODE: dict[tuple[str, str, str], float] = {
    **{("class", "none", "sffa"): 20.1, ("class", "none", "ffa"): 20.0},
    **{("class", "none", "bp"): 19.9, ("class", "replay", "sffa"): 90.45},
    **{("class", "replay", "ffa"): 79.98, ("class", "replay", "bp"): 88.69},
    **{("class", "gem", "sffa"): 73.22, ("class", "gem", "ffa"): 77.37},
    **{("class", "gem", "bp"): 63.72, ("domain", "none", "sffa"): 70.49},
    **{("domain", "none", "ffa"): 67.80, ("domain", "replay", "sffa"): 94.28},
    **{("domain", "replay", "ffa"): 92.20, ("domain", "replay", "bp"): 93.33},
    **{("domain", "gem", "sffa"): 86.66, ("domain", "gem", "ffa"): 86.26},
    **{("domain", "gem", "bp"): 85.30, ("task", "none", "sffa"): 91.2},
    **{("task", "ewc", "sffa"): 96.1, ("task", "replay", "sffa"): 99.03},
    **{("task", "replay", "ffa"): 97.88, ("task", "replay", "bp"): 98.97},
    **{("task", "gem", "sffa"): 97.43, ("task", "gem", "ffa"): 96.74},
    ("task", "gem", "bp"): 98.54,
}
"""One run of the released code on SplitMNIST, seed 1, by scenario, strategy and algorithm."""


def _continual(data: str, scenario: str, strategy: str, algorithm: str) -> Claim:
    fields = {"scenario": scenario, "strategy": strategy, "algorithm": algorithm}
    name = {"mnist": "SplitMNIST", "fashion_mnist": "SplitFashionMNIST"}[data]
    number = None
    if algorithm != "ffa":  # the figure has no FFA
        pair = FIGURE[data, scenario][STRATEGIES.index(strategy)]
        number = pair[("sffa", "bp").index(algorithm)]
    return Claim(
        f"{name}, {scenario}, {strategy}",
        algorithm,
        number,
        "V" if number is not None else "-",
        RELEASED_CODE.get((scenario, strategy, algorithm)) if data == "mnist" else None,
        (f"continual/released_{data}", fields),
        (f"continual/{data}", fields),
    )


CONTINUAL = tuple(
    _continual(data, scenario, strategy, algorithm)
    for data, scenario in FIGURE
    for strategy in STRATEGIES
    for algorithm in ("sffa", "ffa", "bp")
)


def _elsewhere(
    task: str,
    origin: str,
    algorithm: str,
    number: float,
    source: str,
    folder: str,
    strategy: str = "",
    *,
    median: bool = False,
) -> Claim:
    fields = {"algorithm": algorithm}
    if strategy:
        fields |= {"scenario": "class", "strategy": strategy}
    best = (folder, fields)
    return Claim(task, algorithm, number, source, None, None, best, origin=origin, median=median)


POLAR = "[Polar-FFA](https://arxiv.org/abs/2408.09210)"
HINTON = "[Hinton](https://arxiv.org/abs/2212.13345)"
THREE_TYPES = "van de Ven et al. 2022"
LOCAL_ERRORS = "[Nokland and Eidnes](https://arxiv.org/abs/1901.06656)"
BEST_KNOWN = "the best we know of"

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
    _elsewhere("MNIST, dense", BEST_KNOWN, "sffa", 98.7, "S", "compare/best_mnist"),
    _elsewhere("Fashion-MNIST, dense", BEST_KNOWN, "sffa", 90.5, "S", "compare/best_fashion_mnist"),
    _elsewhere("MNIST, convolutions", BEST_KNOWN, "sffa", 99.7, "S", "records/mnist_convolution"),
    _elsewhere(
        "Fashion-MNIST, convolutions", BEST_KNOWN, "sffa", 93.9, "S", "records/fashion_convolution"
    ),
    _elsewhere(
        "CIFAR-10 (ours: JPEG copy, local heads), convolutions",
        "HCL-FF, CVPR 2026",
        "sffa",
        91.68,
        "S",
        "records/cifar10_similarity_head",
    ),
    _elsewhere("MNIST, dense, augmented", LOCAL_ERRORS, "sffa", 99.38, "V", "records/mnist_dense"),
    _elsewhere(
        "Fashion-MNIST, dense, augmented", LOCAL_ERRORS, "sffa", 91.46, "V", "records/fashion_dense"
    ),
    _elsewhere(
        "CIFAR-10 (ours: JPEG copy), dense, augmented",
        LOCAL_ERRORS,
        "sffa",
        69.07,
        "V",
        "records/cifar10_dense",
    ),
    _elsewhere("SplitMNIST, replay", THREE_TYPES, "bp", 89.0, "S", "continual/mnist", "replay"),
    _elsewhere("SplitMNIST, replay", THREE_TYPES, "sffa", 89.0, "S", "continual/mnist", "replay"),
    _elsewhere(
        "SplitMNIST, no buffer: subnetwork distillation (ours: class subspaces)",
        BEST_KNOWN,
        "sffa",
        86.0,
        "S",
        "continual/mnist_no_buffer",
        "class_subspaces",
    ),
    _elsewhere(
        "SplitMNIST, no buffer: generative classifier (ours: streaming LDA of k-means maps)",
        THREE_TYPES,
        "sffa",
        93.0,
        "S",
        "continual/mnist_no_buffer",
        "slda_maps",
    ),
)
"""Numbers of other publications; those of continual learning are class-incremental."""

POLAR_FFA = {
    "mnist": {"relu": 96.15, "sigmoid": 97.58, "tanh": 97.01},
    "fashion_mnist": {"relu": 86.85, "sigmoid": 87.84, "tanh": 86.28},
}
"""Accuracies of SFFA's rule in the repository of the authors' next paper, whose settings are known:
the preset `polar_ffa`, by data set and activation."""

PORT = tuple(
    Claim(
        f"{ {'mnist': 'MNIST', 'fashion_mnist': 'Fashion-MNIST'}[data] }, {activation}",
        "sffa",
        number,
        "V",
        None,
        (f"compare/polar_ffa_{data}_{activation}", {"algorithm": "sffa"}),
        None,
        origin="github.com/erikberter/PolarFFA",
    )
    for data, numbers in POLAR_FFA.items()
    for activation, number in numbers.items()
)

CLAIMS: dict[str, tuple[Claim, ...]] = {
    "classification": CLASSIFICATION,
    "port": PORT,
    "continual": CONTINUAL,
    "elsewhere": ELSEWHERE,
}
"""Claims by kind of table."""
