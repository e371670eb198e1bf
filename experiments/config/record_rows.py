"""The rows of `experiments.records`: a data set, a recipe and the algorithms that train by it.

No setting was chosen on a test set; docs/record_settings.md shows what each one gains.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from experiments.config.by_algorithm import recipe_for
from experiments.config.effects import is_used
from experiments.config.presets import BEST, DEEP_CONVOLUTION
from experiments.config.recipe import Recipe
from sffa_jax.checks import reject

COMPARED = ("sffa", "ffa", "head", "bp")
"""The algorithms that a row compares, in the order of the tables."""


@dataclass(frozen=True)
class Row:
    """One row of the table of records.

    Attributes:
      dataset: name of the data set.
      recipe: of all algorithms.
      own: values of one algorithm, by algorithm and option.
      algorithms: that the row compares.
      images: number of training images; the test split is then 4000 other training images. None:
        all, and the test set.
      chooses_layers: whether the layers that predict are chosen on held-out images in a run of a
        quarter of the epochs, before the others; otherwise they are those of the recipe.
    """

    dataset: str
    recipe: Recipe
    own: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    algorithms: tuple[str, ...] = COMPARED
    images: int | None = None
    chooses_layers: bool = False

    def recipe_of(self, algorithm: str) -> Recipe:
        """Returns the recipe of one algorithm."""
        return recipe_for(self.recipe, self.own.get(algorithm, {}))


SLOWER = {name: {"learning_rate": 1e-3} for name in ("head", "bp")}
JITTER: dict[str, Any] = {"shift": 2, "rotation": 10.0, "zoom": 0.1}
CROP: dict[str, Any] = {"shift": 4, "edges": "reflect", "flip": True}

DENSE = dataclasses.replace(
    BEST,
    hidden=(2000, 2000, 2000),
    normalization="batch",
    overlay="none",
    class_units="learned",
    normalize="whole",
    polarity_rate=8.0,
    logit_scale=24.0,
    eps=1e-3,
    label_smoothing=0.1,
    input_dropout=0.0,
    adversarial=None,
    epochs=100,
    batch_size=256,
    learning_rate=2e-3,
    lr_schedule="one_cycle",
    weight_average=0.999,
)
"""Dense layers with batch normalization; the input contains no label. The logits of all layers are
summed: in short runs, upper layers alone were less accurate (docs/record_settings.md)."""

MNIST_DENSE = dataclasses.replace(DENSE, **JITTER)
FASHION_DENSE = dataclasses.replace(DENSE, shift=2, flip=True, mirrored=True)
CIFAR_DENSE = dataclasses.replace(DENSE, **CROP, mirrored=True)

CIFAR = dataclasses.replace(DEEP_CONVOLUTION, pooled=(0, 2, 4, 5), epochs=120, mirrored=True)
"""Pooled one layer earlier than the preset: half the products. In the same time on an H100 it was
1.2 points better, on held-out images (`results/compare/cifar10_deep_...`)."""

DIGITS = dataclasses.replace(
    DEEP_CONVOLUTION,
    channels=(64, 128, 256, 256),
    pooled=(1, 2),
    first_scored=3,
    epochs=50,
    edges="background",
)
"""A smaller network for images of 28 x 28 pixels."""

TWO_CORES = dataclasses.replace(
    DEEP_CONVOLUTION,
    channels=(64, 128, 256, 256),
    pooled=(0, 1, 2),
    places=4096,
    first_scored=3,
    logit_scale=24.0,
    precision="float32",
    learning_rate=4e-3,
    epochs=28,
    mirrored=True,
)
"""What two cores train in two hours: an epoch takes one core two to six minutes."""

SHORT: dict[str, Any] = {
    "epochs": 8,
    "batch_size": 128,
    "weight_average": None,
    "shift": 2,
    "cutout": 0,
    "mirrored": False,
}
SMALL = dataclasses.replace(
    TWO_CORES, channels=(32, 64, 128, 128), pooled=(0, 1), first_scored=2, **SHORT
)
"""The network of the ablation, for images of 16 x 16 pixels; its last two layers predict."""

SMALL_DENSE = dataclasses.replace(CIFAR_DENSE, hidden=(1000, 1000, 1000), **SHORT)


def _with(second_term: str, dataset: str, recipe: Recipe, *others: str) -> Row:
    recipe = dataclasses.replace(recipe, second_term=second_term)
    return Row(dataset, recipe, algorithms=("sffa", *others))


def _small(*algorithms: str, recipe: Recipe = SMALL, **changes: Any) -> Row:
    recipe = dataclasses.replace(recipe, **changes)
    return Row("cifar10", recipe, algorithms=algorithms or ("sffa",), images=10_000)


def _small_rates(name: str, recipe: Recipe, *rates: str) -> dict[str, Row]:
    return {
        f"{name}_learning_rate_{rate}": _small(*COMPARED, recipe=recipe, learning_rate=float(rate))
        for rate in rates
    }


ROWS: dict[str, Row] = {
    "mnist_convolution": Row(
        "mnist",
        dataclasses.replace(DIGITS, cutout=0, flip=False, **JITTER),
    ),
    "fashion_convolution": Row(
        "fashion_mnist",
        dataclasses.replace(DIGITS, shift=2, mirrored=True),
    ),
    "cifar10_convolution": Row("cifar10", CIFAR),
    "cifar10_contrast": _with("contrast", "cifar10", CIFAR, "head"),
    "cifar10_similarity_head": _with("similarity_head", "cifar10", CIFAR, "head"),
    "cifar10_2_cores": Row("cifar10", TWO_CORES, chooses_layers=True),
    "mnist_dense": Row("mnist", MNIST_DENSE, SLOWER),
    "mnist_dense_similarity": _with("similarity", "mnist", MNIST_DENSE),
    "mnist_dense_similarity_head": _with("similarity_head", "mnist", MNIST_DENSE),
    "fashion_dense": Row("fashion_mnist", FASHION_DENSE, SLOWER),
    "fashion_dense_similarity": _with("similarity", "fashion_mnist", FASHION_DENSE),
    "fashion_dense_similarity_head": _with("similarity_head", "fashion_mnist", FASHION_DENSE),
    "cifar10_dense": Row("cifar10", CIFAR_DENSE, SLOWER),
    "cifar10_dense_similarity": _with("similarity", "cifar10", CIFAR_DENSE),
    "cifar10_dense_similarity_head": _with("similarity_head", "cifar10", CIFAR_DENSE),
    "small": _small(*COMPARED),
    **_small_rates("small", SMALL, "2e-3", "8e-3", "1.6e-2"),
    "small_polarity_rate_1": _small(polarity_rate=1.0),
    "small_polarity_rate_16": _small(polarity_rate=16.0),
    "small_without_normalization": _small("sffa", "head", normalization=None),
    "small_group_normalization": _small(normalization="group"),
    "small_512_places": _small(places=512),
    "small_128_places": _small(places=128),
    "small_logit_scale_6": _small(logit_scale=6.0),
    "small_logit_scale_12": _small(logit_scale=12.0),
    "small_logit_scale_60": _small(logit_scale=60.0),
    "small_contrast": _small("sffa", "head", second_term="contrast"),
    "small_similarity": _small(second_term="similarity"),
    "small_pairs": _small(second_term="pairs"),
    "small_dropout": _small(dropout=0.2),
    "small_without_augmentation": _small(shift=0, flip=False),
    "small_twice_as_wide": _small(channels=(64, 128, 256, 256)),
    "small_dense": _small(*COMPARED, recipe=SMALL_DENSE),
    **_small_rates("small_dense", SMALL_DENSE, "5e-4", "1e-3", "4e-3"),
}
"""Rows by name; those of small networks are an ablation."""


def rows_of(dataset: str, only: tuple[str, ...]) -> dict[str, Row]:
    """Returns the rows of a data set that are asked for; none named: all.

    Raises:
      ValueError: for an unknown name.
    """
    for name in only:
        if name not in ROWS:
            raise reject("options", "only", f"name some of {', '.join(ROWS)}", repr(name))
    return {
        name: row
        for name, row in ROWS.items()
        if row.dataset == dataset and (name in only or not only)
    }


def augmentation_of(recipe: Recipe) -> str:
    """Returns the augmentation of a recipe in words.

    >>> augmentation_of(Recipe(shift=4, edges="reflect", flip=True))
    'shift 4 (mirrored edges), flip'
    """
    edges = " (mirrored edges)" * (recipe.edges == "reflect")
    words = [
        f"rotation {recipe.rotation:g}°" if recipe.rotation else "",
        f"zoom {recipe.zoom:g}" if recipe.zoom else "",
        f"shift {recipe.shift}{edges}" if recipe.shift else "",
        "flip" if recipe.flip else "",
        f"cutout {recipe.cutout}" if recipe.cutout else "",
        f"input dropout {recipe.input_dropout:g}" if recipe.input_dropout else "",
        f"adversarial {recipe.adversarial:g}" if recipe.adversarial else "",
    ]
    return ", ".join(word for word in words if word) or "none"


def votes_of(recipe: Recipe, algorithm: str) -> str:
    """Returns the layers whose scores predict, from 1, and the images that are scored.

    >>> votes_of(Recipe(hidden=(8, 8), first_scored=1), "sffa")
    'layer 2'
    """
    both = ", on image and mirror image" * recipe.mirrored
    if not is_used(recipe, algorithm, "first_scored"):
        return "readout" + both
    first = recipe.first_scored + 1
    last = recipe.depth if recipe.last_scored is None else recipe.last_scored + 1
    return (f"layer {last}" if first == last else f"sum of layers {first} to {last}") + both
