"""A recipe: all choices of a training run, by name.

A recipe contains only plain values, so that files and command lines can represent it. Names of the
library are written in full (`sffa_jax.fit`): each is imported when it is first used, so that
commands print their help without JAX.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import sffa_jax
from experiments.config.choices import check_choices
from sffa_jax import core, training
from sffa_jax.checks import reject

if TYPE_CHECKING:
    import optax

    from sffa_jax.core.overlays import MakeOverlay


@dataclass(frozen=True)
class Recipe:
    """How networks are built and trained. Backprop uses the choices that apply to it."""

    channels: tuple[int, ...] = ()
    """Feature maps of each convolutional layer, below the dense ones, e.g. 64 128."""
    kernel: int = 3
    """Side of the convolutional kernels, pixels."""
    stride: int = 1
    """Step of the convolutional kernels, pixels."""
    padding: str = "SAME"
    """Padding of convolutions: SAME or VALID (none)."""
    pool: str | None = "max"
    """Pooling that halves the maps of convolutional layers: max, mean or None."""
    pooled: tuple[int, ...] = ()
    """Convolutional layers that pool, from 0; none given: all."""
    hidden: tuple[int, ...] = (400,)
    """Width of each dense hidden layer, e.g. 1400 1400; may be empty above convolutions."""
    activation: str = "relu"
    """Activation of every hidden layer: relu, sigmoid or tanh."""
    normalization: str | None = None
    """Normalization before the activation: batch, group or None."""
    dropout: float = 0.0
    """Fraction of units that training drops from what a layer passes on."""
    bias: bool = False
    """Hidden units have a bias."""
    initializer: str = "lecun_normal"
    """Initializer of weights: lecun_normal, or torch (uniform, as in PyTorch's linear layer)."""
    precision: str = "float32"
    """Type of matrix products, and of maps: float32 or bfloat16 (all else stays float32)."""
    winners: int | None = None
    """SFFA: units that stay active in each half of a layer; None keeps all."""
    ffa_winners: int | None = None
    """FFA: units that stay active in each half of a layer; None keeps all."""
    pass_winners_only: bool = True
    """The next layer sees only the winners; otherwise all units, and winners count in the goodness
    alone."""

    overlay: str = "appended_gaussian"
    """How a label enters the image: corner, appended_pattern, appended_gaussian, image_wave, or
    none (with class_units)."""
    class_units: str = "none"
    """Units of each class, with overlay none: groups (fixed) or learned (each class learns the
    polarity of every unit)."""
    places: int | None = None
    """Number of features to which learned class units, and heads, average squares of maps, over
    squares of positions; None: each position counts by itself."""
    polarity_rate: float = 1.0
    """How fast learned polarities change at a given learning rate; they also start closer to
    neutral, by the same factor."""
    overlay_size: int = 100
    """Features that an appended overlay adds."""
    overlay_density: float = 0.1
    """Fraction of ones in appended_pattern."""
    overlay_value: float = 1.0
    """Size of an overlay's entries, in units of the scaled input."""
    wave: tuple[float, float] = (0.1, 1.0)
    """Smallest and largest wave number of image_wave, radians per pixel."""
    input_skip: bool = False
    """Also feed the labeled input to the layers above the first."""
    normalize: str | None = None
    """Normalization between layers: halves, whole or none; None: SFFA halves, FFA whole."""

    logit_scale: float = 6.0
    """SFFA: tau, multiplies the logits."""
    eps: float = 1.0
    """SFFA: epsilon, added to the measure of each half before the logarithm."""
    measure: str = "sum_square"
    """SFFA: measure of a half's activity: sum_square or mean_square."""
    ffa_threshold: float = 0.3
    """FFA: theta, the measure at which the logit is 0."""
    ffa_logit_scale: float = 20.0
    """FFA: tau, multiplies the logits."""
    ffa_measure: str = "mean_square"
    """FFA: measure of a layer's activity: sum_square or mean_square."""

    negatives: str = "uniform"
    """Wrong labels of an update: uniform (one at random), hard (one drawn by its score) or all."""
    loss: str = "bce"
    """Local loss: bce, softmax (over the candidate labels) or symba."""
    second_term: str | None = None
    """Second term of the local loss, with class units: contrast (supervised, by a local head),
    similarity (matching, strictly local), similarity_head, pairs (their polarity), or None."""
    second_weight: float | None = None
    """Factor of the second term; None: 1, similarity 20."""
    label_smoothing: float = 0.0
    """Fraction of the target that is spread over all labels (softmax, and backprop)."""
    activity_rate: float | None = None
    """Rate of the loss factor that keeps units active; None leaves it out."""
    clip: float | None = None
    """Distance from 0 and 1 at which probabilities are clipped; None does not clip."""
    score: str = "logit"
    """Contribution of each layer to a label's score: logit or probability."""
    first_scored: int = 0
    """First layer whose score counts in the prediction, from 0."""
    last_scored: int | None = None
    """Last layer whose score counts in the prediction; None: the top layer."""
    update_order: str = "simultaneous"
    """Layers see the activity below from before its update (simultaneous) or after it (sequential),
    or train one after another (greedy)."""

    epochs: int = 40
    """Passes over the training split."""
    batch_size: int = 128
    """Images per update."""
    learning_rate: float = 1e-3
    """Adam's learning rate at the start."""
    weight_average: float | None = None
    """Decay per update of an exponential average of the weights, which is evaluated in their place,
    e.g. 0.999; None: no average."""
    weight_decay: float = 0.0
    """AdamW's decay, in units of the learning rate."""
    lr_schedule: str = "cosine"
    """Learning rate: constant, cosine (falls to 0 along half a cosine), one_cycle (rises for 3/10
    of the updates, then falls to 0) or steps (times 1/4 at 50, 75, 88 and 94 % of the updates)."""
    input_dropout: float = 0.0
    """Fraction of input features that is dropped in training."""
    adversarial: float | None = None
    """Length of an adversarial step on training images (first layer's loss); None: no step."""
    shift: int = 0
    """Augmentation: largest shift of training images, pixels."""
    edges: str = "background"
    """Augmentation: what a shift brings in at the edges: background, or reflect (the mirrored
    image)."""
    rotation: float = 0.0
    """Augmentation: largest angle by which training images are turned, degrees."""
    zoom: float = 0.0
    """Augmentation: largest scaling; 0.1: each axis between 1 / 1.1 and 1.1."""
    cutout: int = 0
    """Augmentation: side of the square that is covered in each training image, pixels."""
    flip: bool = False
    """Augmentation: mirror half of the training images left to right."""
    mirrored: bool = False
    """Score the mean of each image and its mirror image, in tests and predictions."""
    selection: str = "validation"
    """Epoch that is tested: validation (best on the validation split), last (trains on all images),
    or test (best on the test set, as the released code does; it leaks)."""
    scaling: str = "training"
    """Statistics that scale pixels: training (of the training split) or mnist (constants)."""

    def check(self) -> None:
        """Raises ValueError for the first invalid choice; see `check_choices`."""
        check_choices(self)

    def rule(self, algorithm: str) -> sffa_jax.LocalRule:
        """Returns the local rule of "ffa", "sffa" or "head", complete."""
        names = ("loss", "normalize", "score", "activity_rate", "clip")
        choices: dict[str, Any] = {name: getattr(self, name) for name in names}
        softmax = core.losses.softmax_cross_entropy
        smoothed = partial(softmax, label_smoothing=self.label_smoothing)
        if algorithm == "head":
            rule = core.rules.linear_head(
                places=self.places, loss=smoothed, normalize=self.normalize
            )
            return self._with_second_term(rule)
        if self.loss == "softmax":
            choices["loss"] = smoothed
        measure: Any = self.ffa_measure if algorithm == "ffa" else self.measure
        winners = self.winners_of(algorithm)
        if winners is not None and not self.pass_winners_only:
            # FFA measures the entire layer.
            measured = 2 * winners if algorithm == "ffa" else winners
            measure = core.winners.measure_of_winners(measure, measured)
        if algorithm == "ffa":
            rule = sffa_jax.ffa(
                threshold=self.ffa_threshold,
                logit_scale=self.ffa_logit_scale,
                measure=measure,
                **choices,
            )
        else:
            scale = self.logit_scale
            rule = sffa_jax.sffa(logit_scale=scale, eps=self.eps, measure=measure, **choices)
        if self.class_units == "groups":
            rule = sffa_jax.with_class_units(rule, core.class_units.groups())
        elif self.class_units == "learned":
            units = core.class_units.learned(places=self.places, rate=self.polarity_rate)
            rule = sffa_jax.with_class_units(rule, units)
        return self._with_second_term(rule)

    def _with_second_term(self, rule: sffa_jax.LocalRule) -> sffa_jax.LocalRule:
        if self.second_term is None:
            return rule
        weight = {} if self.second_weight is None else {"weight": self.second_weight}
        term = core.second_terms.SECOND_TERMS[self.second_term](**weight)
        return core.rules.with_second_term(rule, term)

    def winners_of(self, algorithm: str) -> int | None:
        """Returns the number of winners; None for layers that are trained end to end."""
        return {"sffa": self.winners, "ffa": self.ffa_winners}.get(algorithm)

    def make_overlay(self, shape: Sequence[int]) -> MakeOverlay:
        """Returns the function that draws the overlay for images of this shape."""
        size, value = self.overlay_size, self.overlay_value
        if self.overlay == "corner":
            if len(shape) < 2:
                rule = "leave a table's features as they are: corner overwrites the first ones"
                raise reject("options", "overlay", rule, "'corner'", "Use appended_gaussian.")
            return core.overlays.corner_one_hot(value=value)
        if self.overlay == "none":
            return core.overlays.none()
        if self.overlay == "image_wave":
            lowest, highest = self.wave
            return core.overlays.image_wave(shape, lowest=lowest, highest=highest)
        if self.overlay == "appended_pattern":
            density = self.overlay_density
            return core.overlays.appended_pattern(size=size, density=density, value=value)
        return core.overlays.appended_gaussian(size=size, value=value)

    @property
    def depth(self) -> int:
        """Number of hidden layers."""
        return len(self.channels) + len(self.hidden)

    def layers(self, algorithm: str, shape: Sequence[int]) -> tuple[sffa_jax.Layer, ...]:
        """Returns the hidden layers of one algorithm for images of this shape.

        Layers that are trained end to end have no winners.
        """
        common: dict[str, Any] = {
            "activation": self.activation,
            "winners": self.winners_of(algorithm) if self.pass_winners_only else None,
            "initializer": self.initializer,
            "precision": self.precision,
            "normalization": self.normalization,
            "dropout": self.dropout,
            "bias": self.bias,
        }
        if not self.channels:
            return sffa_jax.dense_layers(self.hidden, **common)
        convolutions = sffa_jax.conv_layers(
            shape,
            self.channels,
            kernel=self.kernel,
            stride=self.stride,
            padding=self.padding,
            pool=self.pool,
            pooled=self.pooled or None,
            **common,
        )
        return convolutions + (sffa_jax.dense_layers(self.hidden, **common) if self.hidden else ())

    def network(self, algorithm: str, shape: Sequence[int], classes: int) -> sffa_jax.Network:
        """Returns the forward-only network of "ffa", "sffa" or "head" for images of this shape."""
        head = algorithm == "head"
        return sffa_jax.Network(
            layers=self.layers(algorithm, shape),
            rule=self.rule(algorithm),
            make_overlay=core.overlays.none() if head else self.make_overlay(shape),
            num_classes=classes,
            first_scored=self.first_scored,
            last_scored=self.last_scored,
            input_skip=self.input_skip,
        )

    def schedule(self, shape: Sequence[int], background: Any = 0.0) -> sffa_jax.Schedule:
        """Returns the schedule; `background` is the scaled value of a black pixel."""
        steps = []
        if self.rotation or self.zoom:
            steps.append(training.augment.affine(shape, self.rotation, self.zoom, background))
        if self.shift:
            steps.append(training.augment.shift(shape, self.shift, background, edges=self.edges))
        if self.flip:
            steps.append(training.augment.flip(shape))
        if self.cutout:
            steps.append(training.augment.cutout(shape, self.cutout, background))
        traced = not isinstance(self.input_dropout, int | float)
        if traced or self.input_dropout:
            steps.append(training.augment.input_dropout(self.input_dropout))
        return sffa_jax.Schedule(self.epochs, self.batch_size, training.augment.chain(steps))

    def steps(self, algorithm: str, num_samples: int) -> int:
        """Returns the number of updates of each layer in a training run."""
        schedule = sffa_jax.Schedule(self.epochs, self.batch_size)
        steps = self.epochs * schedule.steps_per_epoch(num_samples)
        one_by_one = self.update_order == "greedy" and algorithm != "bp"
        return -(-steps // self.depth) if one_by_one else steps

    def optimizer(self, steps: int) -> optax.GradientTransformation:
        """Returns AdamW with the recipe's learning rate for `steps` updates."""
        import optax

        rate = self.learning_rate
        if self.lr_schedule == "cosine":
            rate = optax.cosine_decay_schedule(rate, steps)
        if self.lr_schedule == "one_cycle":
            rate = optax.cosine_onecycle_schedule(max(2, steps), rate)
        if self.lr_schedule == "steps":
            falls = {round(share * steps): 0.25 for share in (0.5, 0.75, 0.88, 0.94)}
            rate = optax.piecewise_constant_schedule(rate, falls)
        return optax.adamw(rate, weight_decay=self.weight_decay)

    def learner(
        self, algorithm: str, shape: Sequence[int], classes: int, num_samples: int
    ) -> sffa_jax.Learner:
        """Returns the learner of one algorithm.

        Args:
          algorithm: "ffa", "sffa", "bp" or "head".
          shape: of one image.
          classes: number of labels.
          num_samples: size of the training split, which the learning rate's schedule depends on.

        Raises:
          ValueError: for an invalid choice.
        """
        learner = self._learner(algorithm, shape, classes, self.steps(algorithm, num_samples))
        if self.weight_average is not None:
            learner = training.averages.averaged(learner, self.weight_average)
        return training.augment.mirrored(learner, shape) if self.mirrored else learner

    def _learner(
        self, algorithm: str, shape: Sequence[int], classes: int, steps: int
    ) -> sffa_jax.Learner:
        optimizer = self.optimizer(steps)
        if algorithm == "bp":
            return sffa_jax.backprop_learner(
                self.layers("bp", shape),
                classes,
                optimizer,
                label_smoothing=self.label_smoothing,
                adversarial=self.adversarial,
            )
        network = self.network(algorithm, shape, classes)
        greedy = self.update_order == "greedy"
        return sffa_jax.local_learner(
            network,
            optimizer,
            negatives="all" if algorithm == "head" else self.negatives,
            update_order=sffa_jax.greedy(steps) if greedy else self.update_order,
            adversarial=self.adversarial,
        )


CONTINUOUS = (
    *("learning_rate", "weight_decay", "logit_scale", "eps", "ffa_threshold", "ffa_logit_scale"),
    *("overlay_density", "overlay_value", "label_smoothing", "input_dropout"),
)
"""Numbers that may be traced; runs that differ only in them share one compiled program."""


def structure(recipe: Recipe) -> Recipe:
    """Returns a recipe that is the same for all recipes that share a program: those that differ
    only in `CONTINUOUS` numbers. A program without input dropout draws no random numbers for it."""
    numbers: dict[str, Any] = {name: getattr(Recipe, name) for name in CONTINUOUS}
    numbers["input_dropout"] = 0.5 if recipe.input_dropout else 0.0
    return replace(recipe, **numbers)


@dataclass(frozen=True)
class Setting:
    """One point of a grid.

    Attributes:
      name: names the setting in records and reports.
      recipe: all choices.
      changes: the choices that the grid varies, for the record.
    """

    name: str
    recipe: Recipe
    changes: Mapping[str, Any]
