"""What the continual-learning experiment is told: its options, and what they build."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import jax
import optax

from experiments.config import options as shared
from experiments.config.options import check_names
from experiments.config.presets import BEST_CONVOLUTION
from experiments.config.recipe import Recipe
from sffa_jax.checks import check_choice, check_integer, check_range, reject
from sffa_jax.continual import features
from sffa_jax.continual.class_groups import owned_model
from sffa_jax.continual.model import COUPLINGS, Model, end_to_end, forward_only
from sffa_jax.continual.scenarios import (
    SCENARIOS,
    Scenario,
    class_order,
)
from sffa_jax.continual.strategies import STRATEGIES, WITHOUT_OVERWRITING
from sffa_jax.continual.strategies.class_groups_gradient import CALIBRATIONS, NEGATIVES
from sffa_jax.continual.strategy import Problem, Strategy
from sffa_jax.core.image_layout import POOLS
from sffa_jax.core.rules import LocalRule, ffa, sffa
from sffa_jax.training import augment

ALGORITHMS = ("sffa", "ffa", "bp")

RELEASED: dict[str, Any] = {"kernel": 7, "stride": 2, "pool": "none"}
DENSE: dict[str, Any] = RELEASED | {"channels": (), "label": "code"}
PROTOCOL: dict[str, Any] = {"epochs": 2, "batch_size": 512, "memory": 500}

PRESETS: dict[str, dict[str, Any]] = {
    # For the embedded digits: 287 images a task.
    "quick": DENSE | {"hidden": (100, 100), "epochs": 10, "batch_size": 32, "memory": 100},
    # The paper's and the released code's.
    "protocol": DENSE | PROTOCOL | {"hidden": (1400, 1400)},
    # The released code's convolutional variant.
    "convolution": PROTOCOL | RELEASED | {"channels": (64, 128), "hidden": (), "label": "wave"},
    # The recipe's `best_convolution`.
    "best_convolution": PROTOCOL
    | {"channels": (32, 64, 128), "hidden": (), "label": "shares"}
    | {"kernel": 3, "stride": 1, "pool": "max"},
}

LABELS = {
    "code": ("appended_gaussian", "none"),
    "wave": ("image_wave", "none"),
    "units": ("none", "groups"),
    "shares": ("none", "learned"),
}
"""Where a label can enter: the recipe's overlay and class units."""

OF_SHARES = ("logit_scale", "eps", "ffa_threshold", "ffa_logit_scale", "normalize")
"""What learned shares take from the recipe `best_convolution`."""

OVERLAY_VALUE = {"class": 5.0, "domain": 1.0, "task": 5.0}
"""Size of the appended label code. Where every class has a label of its own, a strong code keeps
the neurons of one task from being those of the next; where all tasks share two labels, it only
hides the image."""

OWNED_RULES: dict[str, LocalRule] = {
    "sffa": sffa(logit_scale=1.0, eps=1e-6),
    "ffa": ffa(threshold=1.0, logit_scale=2.0),
}
"""Of owned units: the goodness of a class's group, of images of mean square 1."""

OWN_UNITS = ("owned", "owned_gradient", "owned_replay")
"""Strategies by goodness alone, which have a group of units for each class."""

READOUTS = ("ncm", "slda", "slda_random", "slda_random_maps", "slda_maps")
"""Read-outs in closed form, the same whichever the algorithm."""

ONLINE = ("owned", "ncm", "slda", "slda_random", "slda_random_maps")
"""Strategies that can learn from a stream without tasks."""

NAMES = (*STRATEGIES, "protect", *OWN_UNITS, *READOUTS)

OPTIMIZERS = {"adam": optax.adam, "adagrad": optax.adagrad}

LOSS = {"sffa": "softmax", "ffa": "bce"}

STRENGTHS: dict[str, dict[str, float]] = {
    "ewc": {"sffa": 1e5, "ffa": 1e5, "bp": 1e5},
    "si": {"sffa": 1e4, "ffa": 1e4, "bp": 1e3},
    "mas": {"sffa": 1.0, "ffa": 1.0, "bp": 1.0},
    "lwf": {"sffa": 1.0, "ffa": 1.0, "bp": 1.0},
    "protect": {"sffa": 1.0, "ffa": 1.0},
}
"""Strengths of the regularizing strategies, in the units that their docstrings state."""


@dataclass(frozen=True)
class Options(shared.Common):
    """Learn a data set's classes a few at a time and see what is forgotten."""

    scenarios: tuple[str, ...] = SCENARIOS
    """What is asked: class (which of all so far), domain (which of a task's), task (task named)."""
    strategies: tuple[str, ...] = ("none", "ewc", "si", "mas", "gem", "replay")
    """Against forgetting: none, ewc, si, mas, lwf, gem, agem, replay, derpp, gdumb, joint; units
    that belong to classes: owned, owned_gradient, owned_replay, protect; yardsticks and read-outs:
    ncm, slda, slda_random, slda_random_maps, slda_maps."""
    algorithms: tuple[str, ...] = ALGORITHMS
    """Algorithms to compare: sffa, ffa, bp."""
    seeds: int = 3
    """Number of seeds; the seeds are 0 .. N-1, each with its own weights and class order."""
    preset: str = "quick"
    """Sizes: quick (for digits), protocol (the paper's), convolution (the released code's), or
    best_convolution."""
    tasks: int = 5
    """Tasks that share out the classes."""
    class_order: tuple[int, ...] | None = None
    """Classes in the order in which they come, for all seeds; drawn by seed if left out."""
    channels: tuple[int, ...] | None = None
    """Feature maps of each convolutional layer below the dense ones; the preset's if left out."""
    kernel: int | None = None
    """Side of the convolutional kernels, pixels; the preset's if left out."""
    stride: int | None = None
    """Step of the convolutional kernels, pixels; the preset's if left out."""
    pool: str | None = None
    """Halves the maps of each convolutional layer: max or mean; or none, and kernels then do not
    cross an image's edge; the preset's if left out."""
    hidden: tuple[int, ...] | None = None
    """Width of each dense hidden layer; the preset's if left out."""
    label: str | None = None
    """Where a label enters: code (appended to a dense network's input), wave (added to the image),
    or nowhere: units (each label owns some of every layer's), shares (each learns what it owns);
    the preset's if left out."""
    epochs: float | None = None
    """Passes over each task; the preset's if left out."""
    batch_size: int | None = None
    """New images per update; the preset's if left out."""
    learning_rate: float = 1e-3
    """Adam's learning rate."""
    wrong_labels: int | None = 1
    """Wrong labels an update tries for each image, hard ones first; None: all seen so far."""
    coupling: str = "local"
    """Forward-only layers: local (a loss each), or released (one loss of their product)."""
    memory: int | None = None
    """Images that replay, derpp, agem and gdumb remember; the preset's if left out."""
    memory_weight: float | None = None
    """Replay: weight of a remembered image against a new one; None: all tasks weigh the same."""
    memory_shift: int = 0
    """Replay: remembered images are moved by up to this many pixels, anew at each use."""
    patterns: int = 20
    """GEM: images remembered of each task."""
    gem_strength: float = 0.5
    """GEM: least weight of an earlier task's gradient once a step is projected."""
    ewc_mode: str = "separate"
    """EWC: separate (a quadratic a task) or online (one for all)."""
    negatives: tuple[str, ...] = ("noise", "shuffled", "hybrid", "other")
    """Owned units, gradient: what a class alone is told from: noise, shuffled, hybrid, or other
    (the task's other classes)."""
    calibration: str = "none"
    """Owned units, gradient: none, or standardized (log-odds on the class's own images)."""
    axes: int = 20
    """Owned units: axes of each class."""
    features: int = 2000
    """Width of what slda_random, slda_random_maps and slda_maps read."""
    ridge: float = 1e-3
    """Streaming LDA: added to the covariance's diagonal, in units of its mean."""
    online: bool = False
    """owned, ncm, slda, slda_random, slda_random_maps: take in each batch as it comes and know no
    tasks; --epochs 1 --batch-size 10 is one pass."""
    winners: int | None = None
    """Units that stay active in each half of a forward-only layer (FFA: twice as many in all); None
    keeps all."""
    optimizer: str = "adam"
    """Of each module: adam or adagrad."""
    fresh_optimizer: bool = False
    """Begin the optimizer's state anew with every task."""
    tune: bool = False
    """Choose each regularizing strategy's strength on held-out training images first."""
    validation: float = 1 / 12
    """Share of the training images that --tune holds out."""
    parallel: str = "auto"
    """How seeds are spread: vmap, map, devices, or auto (devices on a CPU, else vmap)."""

    def resolve(self) -> Self:
        """Fills in the preset's values and checks every option.

        Raises:
          ValueError: naming the first option that cannot be used.
        """
        self.check(ALGORITHMS)
        check_choice("options", "preset", self.preset, PRESETS)
        check_choice("options", "coupling", self.coupling, COUPLINGS)
        check_choice("options", "ewc_mode", self.ewc_mode, ("separate", "online"))
        check_names("scenarios", self.scenarios, SCENARIOS)
        check_names("strategies", self.strategies, NAMES)
        check_names("negatives", self.negatives, NEGATIVES)
        check_choice("options", "calibration", self.calibration, CALIBRATIONS)
        check_choice("options", "optimizer", self.optimizer, OPTIMIZERS)
        check_range("options", "ridge", self.ridge, above=0)
        by_tasks = [name for name in self.strategies if name not in ONLINE]
        if self.online and by_tasks:
            raise reject("options", "strategies", f"be of {', '.join(ONLINE)} online", by_tasks)
        backwards = [name for name in self.strategies if name in (*OWN_UNITS, "protect")]
        if backwards and "bp" in self.algorithms:
            raise reject(
                "options",
                "algorithms",
                f"be sffa or ffa with {', '.join(backwards)}",
                "'bp'",
                "Units speak and learn for themselves there.",
            )
        minima = {
            "axes": 1,
            "features": 1,
            "tasks": 1,
            "patterns": 1,
            "memory_shift": 0,
            "wrong_labels": 1,
            "winners": 1,
        }
        for name, minimum in minima.items():
            if getattr(self, name) is not None:
                check_integer("options", name, getattr(self, name), minimum)
        check_range("options", "learning_rate", self.learning_rate, above=0)
        check_range("options", "gem_strength", self.gem_strength, at_least=0)
        if self.memory_weight is not None:
            check_range("options", "memory_weight", self.memory_weight, above=0)
        filled = {
            name: value
            for name, value in PRESETS[self.preset].items()
            if getattr(self, name) is None
        }
        for name in ("scenarios", "strategies", "algorithms"):
            filled[name] = tuple(dict.fromkeys(getattr(self, name)))
        resolved = dataclasses.replace(self, **filled)
        check_integer("options", "memory", resolved.memory, 1)
        check_integer("options", "batch_size", resolved.batch_size, 1)
        check_range("options", "epochs", resolved.epochs, above=0)
        check_choice("options", "label", resolved.label, LABELS)
        check_choice("options", "pool", resolved.pool, ("none", *POOLS))
        if resolved.channels and resolved.label == "code":
            raise reject(
                "options", "label", "be wave, units or shares under convolutions", "'code'"
            )
        return resolved

    def absent(self) -> dict[str, Any]:
        return type(self)(preset=self.preset).resolve().flat()

    def order(self, num_classes: int, seed: int) -> tuple[int, ...]:
        """The order of classes of one seed."""
        return self.class_order or class_order(num_classes, self.tasks, seed)

    def model(self, algorithm: str, scenario: Scenario, shape: Sequence[int]) -> Model:
        """The network of "sffa", "ffa" or "bp", of resolved options, for images of this shape."""
        assert self.channels is not None
        assert self.hidden is not None
        assert self.label is not None
        assert self.kernel is not None
        assert self.stride is not None
        goodness = {name: getattr(BEST_CONVOLUTION, name) for name in OF_SHARES}
        recipe = Recipe(
            channels=self.channels,
            kernel=self.kernel,
            stride=self.stride,
            padding="VALID" if self.pool == "none" else "SAME",
            pool=None if self.pool == "none" else self.pool,
            hidden=self.hidden,
            winners=self.winners,
            ffa_winners=None if self.winners is None else 2 * self.winners,
            overlay=LABELS[self.label][0],
            class_units=LABELS[self.label][1],
            overlay_value=OVERLAY_VALUE[scenario.kind],
            **(goodness if self.label == "shares" else {}),
        )
        if algorithm == "bp":
            return end_to_end(recipe.layers("bp", shape), scenario.num_labels)
        network = recipe.network(algorithm, shape, scenario.num_labels)
        return forward_only(network, loss=LOSS[algorithm], coupling=self.coupling)

    def model_for(
        self, strategy: str, algorithm: str, scenario: Scenario, shape: Sequence[int]
    ) -> Model:
        """The network that a strategy works on: `model`, or one of its own."""
        if strategy in ("owned_gradient", "owned_replay"):
            assert self.hidden is not None
            rule = OWNED_RULES[algorithm]
            classes = scenario.num_tasks * scenario.classes_per_task
            return owned_model(self.hidden, classes, rule.logit, polar=rule.polar)
        if strategy in ("owned", "ncm", "slda"):
            return features.pixels()
        if strategy == "slda_random":
            return features.random_features(self.features)
        if strategy in ("slda_random_maps", "slda_maps"):
            return features.maps(shape, self.features)[0]
        return self.model(algorithm, scenario, shape)

    def strategy(
        self, name: str, algorithm: str, shape: Sequence[int], strength: jax.Array
    ) -> Callable[[Problem], Strategy]:
        """The strategy of resolved options; `strength` is heeded by those that have one."""
        own: dict[str, Any] = {"slots": self.memory} if name in REMEMBER else {}
        if name in ONLINE:
            own["online"] = self.online
        if name in STRENGTHS:
            own["strength"] = strength
        if name == "ewc":
            own["mode"] = self.ewc_mode
        if name == "gem":
            own |= {"patterns": self.patterns, "strength": self.gem_strength}
        if name == "replay":
            own["weight"] = self.memory_weight

        kind = name
        if name in ("owned_gradient", "owned_replay"):
            kind = "owned_gradient"
            own |= {"shape": shape, "negatives": self.negatives, "calibration": self.calibration}
            own["slots"] = self.memory if name == "owned_replay" else 0
        if name == "owned":
            rule = OWNED_RULES[algorithm]
            own |= {"units": self.axes, "goodness": rule.logit, "polar": rule.polar}
        if name.startswith("slda"):
            kind = "slda"
            own["ridge"] = self.ridge
        if name == "slda_maps":
            own["feature_loss"] = features.maps(shape, self.features)[1]

        def make(problem: Problem) -> Strategy:
            if name == "replay" and self.memory_shift:
                black = -problem.samples.mean / problem.samples.std
                own["augment"] = augment.shift(shape, self.memory_shift, black)
            return (STRATEGIES | WITHOUT_OVERWRITING)[kind](problem, **own)

        return make


REMEMBER = ("replay", "derpp", "agem", "gdumb")
"""Strategies with a memory of `--memory` images."""
