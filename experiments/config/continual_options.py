"""Options of the continual-learning experiment, and the networks that they define."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

from experiments.config import options as shared
from experiments.config.continual_methods import BUFFERS, FEATURES, METHODS, Setup, described
from experiments.config.continual_presets import (
    ACTIVATION,
    ALGORITHMS,
    LOSS,
    OF_LEARNED_UNITS,
    OVERLAY_VALUE,
    PRESETS,
    RECIPE,
    STRENGTHS,
)
from experiments.config.effects import CONTINUAL_NEEDS, check_typed
from experiments.config.options import check_names
from experiments.config.presets import BEST_CONVOLUTION
from experiments.config.recipe import Recipe
from experiments.config.sizes import MOST_EPOCHS
from sffa_jax import continual, core
from sffa_jax.checks import check_choice, check_integer, check_range, reject

OPTIMIZERS = ("adam", "adagrad")
"""Names of optimizers in optax."""


class Setting(NamedTuple):
    """One setting of the grid."""

    scenario: str
    strategy: str
    algorithm: str


@dataclass(frozen=True)
class Options(shared.Common):
    """Learn a data set's classes a few at a time and measure forgetting."""

    scenarios: tuple[str, ...] = ("class", "domain", "task")
    """Question at test time: class (which of all classes so far), domain (which of a task's, task
    unknown), task (the same, task known)."""
    strategies: tuple[str, ...] = dataclasses.field(
        default=("none", "ewc", "si", "mas", "gem", "replay"),
        metadata={"help": f"Methods against forgetting: {described()}."},
    )
    algorithms: tuple[str, ...] = ALGORITHMS
    """Algorithms to compare: sffa, ffa, bp."""
    seeds: int = 3
    """Number of seeds; the seeds are 0 .. N-1, each with different weights and class order."""
    preset: str = "quick"
    """Sizes: quick (for digits), protocol (the paper's), convolution (the released code's),
    best_convolution, small_convolution, maps; or released, released_convolution (all that the
    released code does)."""
    tasks: int = 5
    """Number of tasks; the classes are divided evenly among them."""
    class_order: tuple[int, ...] | None = None
    """Classes in order of arrival, for all seeds; drawn from the seed if left out."""
    channels: tuple[int, ...] | None = None
    """Feature maps of each convolutional layer below the dense ones; the preset's if left out."""
    kernel: int | None = None
    """Side of the convolutional kernels, pixels; the preset's if left out."""
    stride: int | None = None
    """Step of the convolutional kernels, pixels; the preset's if left out."""
    pool: str | None = None
    """Pooling that halves the maps of each convolutional layer: max or mean; or none, and kernels
    then do not cross an image's edge; the preset's if left out."""
    hidden: tuple[int, ...] | None = None
    """Width of each dense hidden layer; the preset's if left out."""
    overlay: str | None = None
    """How a label enters the input: appended_gaussian, appended_pattern (dense networks), corner,
    image_wave; or none, with --class-units; the preset's if left out."""
    inputs: str | None = None
    """Input of the network: images; or label-free features: random, fourier, random_maps, maps
    (learned from images of the first task) or components of maps; the preset's if left out."""
    class_units: str | None = None
    """Units that belong to labels: groups (fixed) or learned, with --overlay none; or none; the
    preset's if left out."""
    epochs: float | None = None
    """Passes over each task; the preset's if left out."""
    batch_size: int | None = None
    """New images per update; the preset's if left out."""
    logit_scale: float | None = None
    """SFFA: multiplies the logits; the preset's if left out."""
    learning_rate: float = 1e-3
    """Learning rate of the optimizer."""
    lr_schedule: str = "constant"
    """Learning rate within a task: constant, or cosine (falls to 2 % along half a cosine; the
    optimizer's state then starts anew with every task)."""
    negatives: str = "hard"
    """Wrong labels that an update tries for each image: hard (one), uniform (one), or all seen;
    backprop and --coupling released always use all seen."""
    coupling: str | None = None
    """Losses of forward-only layers: local (one per layer), or released (one of their product); the
    preset's if left out."""
    memory: int | None = None
    """Images in the buffer of replay, derpp, agem, gdumb and class_groups_replay; the preset's if
    left out."""
    buffer: str | None = None
    """Replay: equal_tasks (all tasks weigh the same, the buffer is balanced over classes), or
    released (all images weigh the same, it is balanced over tasks); the preset's if left out."""
    memory_shift: int = 0
    """Replay: largest random shift of buffered images at each use, pixels."""
    memory_rotation: float = 0.0
    """Replay: largest random rotation of buffered images at each use, degrees."""
    memory_zoom: float = 0.0
    """Replay: buffered images are scaled by up to 1 + this at each use, each axis by itself."""
    patterns: int = 20
    """GEM: images stored of each task."""
    synthetic_negatives: tuple[str, ...] = ("noise", "shuffled", "hybrid", "other")
    """Class groups: negatives synthesized from a class's images: noise, shuffled, hybrid; or
    other (the task's other classes)."""
    axes: int = 20
    """Class subspaces: axes of each class."""
    features: int = 2000
    """Number of features of randumb, slda_*, qda_* and --inputs: random features or maps."""
    mirrored: bool = False
    """Maps: average the features of an image and of its mirror image."""
    components: int = 400
    """Principal components of maps: --inputs components, slda_components and qda_components."""
    gaussians: int = 10
    """Activity rehearsal: Gaussians of each class; online one."""
    draws: int = 320
    """Activity rehearsal: draws of earlier classes for each update and layer."""
    rank: int | None = None
    """Activity rehearsal: leading axes of each class's covariance; None keeps all."""
    relabel: bool = False
    """Activity rehearsal: each layer labels draws as it did before the task, instead of by their
    Gaussian's class."""
    online: bool = False
    """Learn online, without knowledge of tasks (class_subspaces, ncm, slda*, qda*, randumb,
    activity_rehearsal); maps are learned from images of the first task before the stream starts;
    --epochs 1 --batch-size 10 is one pass."""
    winners: int | None = None
    """Units that stay active in each half of a forward-only layer (with the released presets, FFA
    keeps all); the preset's if left out: 15 with released, else all."""
    optimizer: str = "adam"
    """Optimizer of each module: adam or adagrad."""
    reset_optimizer: bool = False
    """Start every task with a new optimizer state."""
    strength: tuple[str, ...] = ()
    """Strengths of regularizing strategies, as STRATEGY=NUMBER, e.g. ewc=1e3 si=10; the preset's if
    left out."""
    tune: int = 0
    """Choose each strategy's strength from so many, 0.01 to 100 times the preset's, on
    held-out training images first; 0: no search."""
    tune_rates: tuple[float, ...] = ()
    """Learning rates to try: each scenario, strategy and algorithm takes the best on held-out
    training images, together with its strength (--tune); none: --learning-rate."""
    held_out: bool = False
    """Test on held-out training images instead of the test set, e.g. to choose settings."""
    validation: float = 1 / 12
    """Fraction of the training images that --held-out, --tune and --tune-rates hold out."""
    parallel: str = "auto"
    """Placement of seeds: vmap, map, devices, or auto (devices on a CPU, else vmap)."""

    def resolve(self) -> Self:
        """Fills in the preset's values and checks every option.

        Raises:
          ValueError: for the first invalid option.
        """
        self.check(ALGORITHMS)
        check_choice("options", "preset", self.preset, PRESETS)
        check_choice("options", "negatives", self.negatives, continual.problem.NEGATIVES)
        check_names("scenarios", self.scenarios, continual.SCENARIOS)
        check_names("strategies", self.strategies, METHODS)
        kinds = (*continual.synthetic_negatives.SYNTHETIC_NEGATIVES, "other")
        check_names("synthetic_negatives", self.synthetic_negatives, kinds)
        check_choice("options", "optimizer", self.optimizer, OPTIMIZERS)
        check_choice("options", "lr_schedule", self.lr_schedule, ("constant", "cosine"))
        self._check_strategies()
        self.given_strengths()
        for name in ("axes", "features", "components", "gaussians", "draws", "tasks", "patterns"):
            check_integer("options", name, getattr(self, name), 1)
        for name in ("memory_shift", "tune"):
            check_integer("options", name, getattr(self, name), 0)
        if self.tune == 1:
            raise reject("options", "tune", "be 0 or at least 2", 1, "One strength is no choice.")
        if self.held_out and (self.tune or self.tune_rates):
            advice = "The search chooses by the images that --held-out tests on."
            raise reject(
                "options", "held_out", "be False with --tune or --tune-rates", True, advice
            )
        if self.rank is not None:
            check_integer("options", "rank", self.rank, 1)
        check_range("options", "learning_rate", self.learning_rate, above=0)
        if self.logit_scale is not None:
            check_range("options", "logit_scale", self.logit_scale, above=0)
        for rate in self.tune_rates:
            check_range("options", "tune_rates", rate, above=0)
        filled = self._of_preset()
        for name in ("scenarios", "strategies", "algorithms"):
            filled[name] = tuple(dict.fromkeys(getattr(self, name)))
        resolved = dataclasses.replace(self, **filled)
        if resolved.winners is not None:
            check_integer("options", "winners", resolved.winners, 1)
        resolved._check_memory_moves()
        check_choice("options", "coupling", resolved.coupling, continual.model.COUPLINGS)
        check_choice("options", "buffer", resolved.buffer, BUFFERS)
        check_integer("options", "memory", resolved.memory, 1)
        check_integer("options", "batch_size", resolved.batch_size, 1)
        check_range("options", "epochs", resolved.epochs, above=0, at_most=MOST_EPOCHS)
        check_choice("options", "inputs", resolved.inputs, FEATURES)
        if resolved.channels and resolved.inputs != "images":
            raise reject("options", "inputs", "be images with convolutions", resolved.inputs)
        check_choice("options", "pool", resolved.pool, ("none", *core.image_layout.POOLS))
        resolved.recipe("sffa", continual.Scenario("class", self.tasks, 2)).check()
        if resolved.channels and str(resolved.overlay).startswith("appended"):
            raise reject(
                "options", "overlay", "be image_wave or none with convolutions", resolved.overlay
            )
        return resolved

    def _of_preset(self) -> dict[str, Any]:
        """Returns the preset's values of options that are left out."""
        preset = PRESETS[self.preset]
        return {name: value for name, value in preset.items() if getattr(self, name) is None}

    def check_typed(self, typed: Collection[str], own: Mapping[str, Collection[str]]) -> None:
        """Raises ValueError for a typed option that has no effect; see `effects.check_typed`."""
        if self.preset not in PRESETS or not {*self.strategies} <= {*METHODS}:
            return  # `resolve` names it
        of_all = {**self.flat(), **self._of_preset()}
        values = {name: {**of_all, "algorithm": name} for name in self.algorithms}
        chosen = {"strength": self.tune, "learning_rate": self.tune_rates}
        by_search = {name: "the search chooses it" for name, tuned in chosen.items() if tuned}
        replaced = dict.fromkeys(self.algorithms, by_search)
        check_typed(typed, own, values, replaced, CONTINUAL_NEEDS)

    def absent(self) -> dict[str, Any]:
        return type(self)(preset=self.preset).resolve().flat()

    def _check_strategies(self) -> None:
        """Raises ValueError for a strategy that the other options exclude."""
        by_tasks = [name for name in self.strategies if not METHODS[name].online]
        if self.online and by_tasks:
            online = ", ".join(name for name, method in METHODS.items() if method.online)
            raise reject("options", "strategies", f"be of {online} online", by_tasks)
        forward = [name for name in self.strategies if METHODS[name].forward_only]
        if forward and "bp" in self.algorithms:
            raise reject(
                "options",
                "algorithms",
                f"be sffa or ffa with {', '.join(forward)}",
                "'bp'",
                "These strategies need local losses.",
            )

    def _check_memory_moves(self) -> None:
        """Raises ValueError for moves of buffered images that nothing uses, or out of range."""
        for name in ("memory_shift", "memory_rotation", "memory_zoom"):
            if getattr(self, name) and "replay" not in self.strategies:
                raise reject("options", name, "be 0 without the strategy replay", self.strategies)
            if getattr(self, name) and self.inputs != "images":
                raise reject("options", name, "be 0 unless inputs are images", self.inputs)
        for name, most in (("memory_rotation", 180), ("memory_zoom", 1)):
            check_range("options", name, getattr(self, name), at_least=0, at_most=most)

    def settings(self) -> list[Setting]:
        """Returns all settings of the grid; a closed form runs once, with the first algorithm."""
        return [
            Setting(scenario, strategy, algorithm)
            for scenario, strategy in itertools.product(self.scenarios, self.strategies)
            for algorithm in self.algorithms[: 1 if METHODS[strategy].readout else None]
        ]

    def given_strengths(self) -> dict[str, float]:
        """Returns the strengths of `--strength` by strategy.

        Raises:
          ValueError: for another form, an unknown strategy, or one without strength.
        """
        given = {}
        with_strength = [name for name in self.strategies if METHODS[name].strengths]
        for name in ("strength", "tune"):
            value = getattr(self, name)
            if value and not with_strength:
                rule = (
                    f"be left out, since no strategy has a strength: {', '.join(self.strategies)}"
                )
                raise reject("options", name, rule, value)
        for word in self.strength:
            name, _, number = word.partition("=")
            check_choice("options", "strength", name, with_strength)
            try:
                given[name] = float(number)
            except ValueError:
                rule = "be written as STRATEGY=NUMBER"
                raise reject("options", "strength", rule, repr(word), "Try ewc=1e3.") from None
            check_range("options", "strength", given[name], at_least=0)
        return given

    def default_strength(self, strategy: str, algorithm: str) -> float | None:
        """Returns the preset's strength of a strategy; None for one without strength."""
        by_preset = STRENGTHS.get(self.preset, {}).get(strategy, METHODS[strategy].strengths)
        return by_preset.get(algorithm)

    def order(self, num_classes: int, seed: int) -> tuple[int, ...]:
        """Returns the order of classes of one seed."""
        return self.class_order or continual.scenarios.class_order(num_classes, self.tasks, seed)

    def recipe(self, algorithm: str, scenario: continual.Scenario) -> Recipe:
        """Returns the recipe of an algorithm's network, for resolved options."""
        names = ("channels", "kernel", "stride", "hidden", "winners", "overlay", "class_units")
        values: dict[str, Any] = {name: getattr(self, name) for name in names}
        values |= {
            "padding": "VALID" if self.pool == "none" else "SAME",
            "pool": None if self.pool == "none" else self.pool,
            "activation": ACTIVATION.get((self.preset, algorithm), "relu"),
            "ffa_winners": self.winners,
            "overlay_value": OVERLAY_VALUE[scenario.kind],
            "loss": LOSS.get(algorithm, "softmax"),
        }
        if self.class_units == "learned":
            values |= {name: getattr(BEST_CONVOLUTION, name) for name in OF_LEARNED_UNITS}
        values |= RECIPE.get(self.preset, {})
        if self.logit_scale is not None:
            values["logit_scale"] = self.logit_scale
        return Recipe(**values)

    def model(self, setup: Setup) -> continual.Model:
        """Returns the network of an algorithm."""
        algorithm, scenario, shape = setup.algorithm, setup.scenario, setup.shape
        recipe = self.recipe(algorithm, scenario)
        if algorithm == "bp":
            return continual.end_to_end(recipe.layers("bp", shape), scenario.num_labels)
        assert self.coupling is not None
        network = recipe.network(algorithm, shape, scenario.num_labels)
        model = continual.forward_only(network, coupling=self.coupling)
        if self.preset.startswith("released") and scenario.kind == "domain":
            # There the released code predicts by the mean of the layers' probabilities.
            return model._replace(scores=core.rules.SCORES["probability"])
        return model

    def features_for(self, strategy: str, setup: Setup) -> continual.Model | None:
        """Returns the features that a strategy receives; None: images."""
        name = METHODS[strategy].features or self.inputs
        assert name is not None
        make = FEATURES[name]
        return None if make is None else make(setup)
