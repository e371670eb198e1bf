"""Training and scoring of the estimators: what `fit`, `partial_fit` and `predict` share."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Shaped
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets, unique_labels
from sklearn.utils.validation import check_is_fitted, validate_data

from sffa_jax.checks import check_choice, check_integer, check_range, reject
from sffa_jax.core.negatives import NEGATIVES
from sffa_jax.core.rules import LocalRule
from sffa_jax.data.arrays import next_power_of_two
from sffa_jax.sklearn.batches import draw_batches, keep_balanced, total_weights, unwrap
from sffa_jax.sklearn.calibration import MIN_SAMPLES, hold_out, temperature
from sffa_jax.sklearn.programs import (
    CHUNK,
    Codes,
    Design,
    Layers,
    Numbers,
    init_layers,
    make_learner,
    pad_rows,
    score_rows,
    train_pass,
)
from sffa_jax.sklearn.scaling import Moments, add_moments, check_outliers, no_moments, standardize

ALIGN = 16
"""Features are padded with zeros to a multiple of it, which limits the number of shapes; so are the
label codes of `partial_fit`, so that a stream of new classes compiles once."""


@dataclass(eq=False, repr=False)
class Trainable(BaseEstimator):
    """Parameters of the estimators, and the functions behind their public methods."""

    hidden_layer_sizes: int | Sequence[int] = (200,)
    _: KW_ONLY
    activation: str = "relu"
    winners: int | None = None
    negatives: str = "uniform"
    loss: str = "bce"
    code_size: int = 100
    code_scale: float = 1.0
    learning_rate_init: float = 1e-3
    batch_size: int = 32
    max_iter: int = 100
    partial_iter: int = 1
    buffer_size: int = 500
    random_state: int | np.random.RandomState | None = None
    alpha: float = 0.0
    class_weight: Mapping[Any, float] | str | None = None
    validation_fraction: float = 0.1
    early_stopping: bool = False
    n_iter_no_change: int = 10
    tol: float = 1e-4
    warm_start: bool = False
    verbose: bool = False

    _rule: ClassVar[Callable[..., LocalRule]]
    _rule_numbers: ClassVar[tuple[str, ...]]

    def _design(self) -> Design:
        hidden = tuple(np.atleast_1d(np.asarray(self.hidden_layer_sizes)).tolist())
        choices = (self.activation, self.winners, self.negatives, self.loss)
        return Design(type(self)._rule, hidden, *choices)

    def _numbers(self) -> dict[str, float]:
        return {name: float(getattr(self, name)) for name in self._rule_numbers}

    def _keys(self) -> tuple[Array, Array, Array]:
        """Return the keys of label codes, weights and passes."""
        codes, weights, passes = jax.random.split(jax.random.key(self.seed_), 3)
        return codes, weights, passes

    def _model(self) -> tuple[Design, Numbers, Codes]:
        """Return the first arguments of every program."""
        codes = np.pad(self.label_codes_, ((0, self.capacity_ - len(self.label_codes_)), (0, 0)))
        count = jnp.int32(len(self.label_codes_))
        return self._design(), self._numbers(), Codes(jnp.asarray(codes), count)

    def _initial_layers(self) -> Layers:
        x = self._standardize(self.mean_[None])
        layers: Layers = init_layers(*self._model(), self._keys()[1], x)
        return layers

    def _check_parameters(self) -> None:
        """Raise for the first invalid parameter; scikit-learn requires this in `fit`."""
        where = type(self).__name__
        for name in ("batch_size", "max_iter", "partial_iter", "code_size", "n_iter_no_change"):
            check_integer(where, name, getattr(self, name), 1)
        check_integer(where, "buffer_size", self.buffer_size, 0)
        check_range(where, "learning_rate_init", self.learning_rate_init, above=0)
        check_range(where, "code_scale", self.code_scale, above=0)
        check_range(where, "alpha", self.alpha, at_least=0)
        check_range(where, "tol", self.tol, at_least=0)
        fraction = self.validation_fraction
        check_range(where, "validation_fraction", fraction, at_least=0, at_most=0.9)
        if self.early_stopping and not fraction:
            raise reject(where, "validation_fraction", "be above 0 with early_stopping", fraction)
        check_choice(where, "negatives", self.negatives, NEGATIVES)
        for name in self._rule_numbers:
            check_range(where, name, getattr(self, name), above=0)
        # The parts check their arguments only here, where they are not traced.
        make_learner(self._design(), self._numbers(), Codes(jnp.zeros((2, 1)), 2))

    def _reset(self, X: np.ndarray, *, first: bool) -> None:
        """Initialize the fitted attributes; a warm start keeps what training learned."""
        self._set_moments(no_moments(X.shape[1]))
        self.buffer_X_, self.buffer_class_index_ = X[:0], np.zeros(0, np.int32)
        self.buffer_priority_, self.buffer_held_out_ = np.zeros(0), np.zeros(0, bool)
        if not first:
            return
        self.seed_ = int(check_random_state(self.random_state).randint(2**31 - 1))
        self.n_iter_, self.temperature_, self.capacity_ = 0, 1.0, 2
        self.loss_curve_: list[float] = []
        self.validation_scores_: list[float] = []
        self.seen_classes_ = np.zeros(0)
        self.label_codes_ = np.zeros((0, self.code_size), np.float32)

    def _learn(self, *data: Any, partial: bool) -> None:
        """Train; on an error, restore the state before, without the layers after `fit`."""
        before = dict(vars(self))
        try:
            self._train(*data, partial=partial)
        except BaseException:
            if not partial:
                before.pop("layers_", None)
            self.__dict__ = before
            raise

    def _train(self, X: Any, y: Any, classes: Any, sample_weight: Any, *, partial: bool) -> None:
        """Train on the new samples, mixed with the buffer."""
        where = type(self).__name__
        self._check_parameters()
        X, y = unwrap(where, "X", X), unwrap(where, "y", y)
        # Whether there are no layers to continue from.
        first = not hasattr(self, "layers_") or not (partial or self.warm_start)
        X, y = validate_data(self, X, y, reset=first, dtype=[np.float64, np.float32])
        check_classification_targets(y)
        weights = total_weights(where, X, y, sample_weight, self.class_weight)
        if weights is not None:
            X, y, weights = X[weights > 0], y[weights > 0], weights[weights > 0]
            if np.ptp(weights) == 0:  # all weigh the same: as without weights, bit for bit
                weights = None
        announced = () if classes is None else (classes,)
        before = () if first else (self.classes_,)
        self.classes_: np.ndarray = unique_labels(y, *announced, *before)
        if first or not partial:
            self._reset(X, first=first)
        check_outliers(where, self._moments(), X)
        self._set_moments(add_moments(self._moments(), X, weights))
        class_index = self._class_index(y, partial)
        # The first generator draws batches, as if nothing were held out.
        rng, rng_held = (np.random.default_rng([self.seed_, self.n_iter_, *n]) for n in ((), (1,)))
        held = hold_out(rng_held, class_index, self.validation_fraction)
        train = X[~held], class_index[~held], None if weights is None else weights[~held]
        if not first:
            self._check_widths()
        layers: Layers = self._initial_layers() if first else vars(self)["layers_"]
        passes = self.partial_iter if partial else self.max_iter
        validation = None
        if self.early_stopping and not partial:
            if not held.any():
                advice = "Give more samples, or a larger validation_fraction."
                raise reject(where, "early_stopping", "hold out samples", "none", advice)
            validation = X[held], class_index[held]
        # Room for the buffer, which grows: a stream of batches compiles once.
        room = next_power_of_two(CHUNK + self.buffer_size) if partial else CHUNK
        self.layers_: Layers = self._passes(layers, rng, train, passes, room, validation)
        priority = rng.random(len(X))
        if weights is not None:  # Efraimidis & Spirakis 2006: a sample in proportion to weights
            priority = priority ** (weights.mean() / weights)
        self._calibrate(X[held], class_index[held], None if weights is None else weights[held])
        self._update_buffer(X, class_index, priority, held)

    def _passes(
        self,
        layers: Layers,
        rng: np.random.Generator,
        train: tuple[np.ndarray, np.ndarray, np.ndarray | None],
        passes: int,
        room: int,
        validation: tuple[np.ndarray, np.ndarray] | None,
    ) -> Layers:
        """Return the layers after some passes; with a validation split, those of the best pass."""
        X, class_index, weights = train
        replayed = ~self.buffer_held_out_
        old_X, old_class_index = self.buffer_X_[replayed], self.buffer_class_index_[replayed]
        classes_kept, classes_new = len(np.unique(old_class_index)), len(np.unique(class_index))
        replays = round(self.batch_size * classes_kept / (classes_kept + classes_new))
        x = np.concatenate([self._standardize(X), self._standardize(old_X)])
        labels = np.concatenate([class_index, old_class_index])
        data = self._keys()[2], pad_rows(x, room), pad_rows(labels, room)
        model = *self._model(), float(self.learning_rate_init), float(self.alpha)
        sizes = len(X), len(old_X), max(1, self.batch_size - replays), self.batch_size
        losses, best, best_score, best_pass = [], layers, -np.inf, 0
        for number in range(passes):
            rows = draw_batches(rng, *sizes, weights)
            batches = pad_rows(rows, 16), len(rows)
            layers, loss = train_pass(*model, layers, *data, *batches, self.n_iter_ + number)
            losses.append(loss)
            report = f"loss {np.mean(loss):.4f}" if self.verbose else ""
            if validation is not None:
                scores = self._scores(layers, self._standardize(validation[0]), 0)
                score = float(np.mean(np.argmax(scores, axis=1) == validation[1]))
                self.validation_scores_ = [*self.validation_scores_, score]
                report += f", validation accuracy {score:.4f}"
                if score > best_score + self.tol:
                    best, best_score, best_pass = layers, score, number
            if self.verbose:
                print(f"{type(self).__name__}: pass {self.n_iter_ + number + 1}, {report}")
            if validation is not None and number - best_pass >= self.n_iter_no_change:
                break
        curve = np.mean(jax.device_get(losses), axis=1)
        if not np.all(np.isfinite(curve)):
            where, advice = type(self).__name__, "The loss did not stay finite."
            raise reject(where, "learning_rate_init", "be smaller", self.learning_rate_init, advice)
        self.loss_curve_ = [*self.loss_curve_, *curve.tolist()]
        self.n_iter_ += len(curve)
        result: Layers = jax.device_get(layers if validation is None else best)
        return result

    def _calibrate(
        self, X: np.ndarray, class_index: np.ndarray, weights: np.ndarray | None
    ) -> None:
        """Set the temperature from the held-out samples, new and remembered; too few: keep it."""
        old = self.buffer_held_out_
        if weights is not None:
            # None may be held out; the remembered samples weigh as much as the mean new one.
            mean = weights.mean() if len(weights) else 1.0
            weights = np.concatenate([weights / mean, np.ones(old.sum())])
        X = np.concatenate([X, self.buffer_X_[old]])
        class_index = np.concatenate([class_index, self.buffer_class_index_[old]])
        if len(X) >= MIN_SAMPLES:
            scores = self._scores(self.layers_, self._standardize(X), 0)
            self.temperature_ = temperature(scores, class_index, weights)

    def _moments(self) -> Moments:
        return Moments(self.mean_, self.scale_, self.n_samples_seen_)

    def _set_moments(self, moments: Moments) -> None:
        self.mean_, self.scale_, self.n_samples_seen_ = moments

    def _standardize(
        self, X: Float[np.ndarray, "samples features"]
    ) -> Float[np.ndarray, "samples padded"]:
        """Return the features as inputs of the network."""
        return np.pad(standardize(self._moments(), X), ((0, 0), (0, -X.shape[1] % ALIGN)))

    def _class_index(
        self, y: Shaped[np.ndarray, " samples"], partial: bool
    ) -> Int[np.ndarray, " samples"]:
        """Return each label's index in `seen_classes_`; new classes are appended with a code."""
        y, seen = (labels.astype(self.classes_.dtype) for labels in (y, self.seen_classes_))
        arrived = self.classes_[np.isin(self.classes_, y) & ~np.isin(self.classes_, seen)]
        self.seen_classes_ = np.concatenate([seen, arrived])
        # A single class still needs a wrong label: the code of the second class.
        missing = range(len(self.label_codes_), max(2, len(self.seen_classes_)))
        keys = [jax.random.fold_in(self._keys()[0], index) for index in missing]
        size, scale = self.label_codes_.shape[1], np.float32(self.code_scale)
        drawn = [scale * np.asarray(jax.random.normal(key, (size,))) for key in keys]
        self.label_codes_ = np.concatenate([self.label_codes_, np.reshape(drawn, (-1, size))])
        # `fit` knows all its classes; `partial_fit` leaves room for new ones.
        number = len(self.label_codes_)
        if number > self.capacity_ or partial:
            room = max(ALIGN, next_power_of_two(number)) if partial else number
            self.capacity_ = max(self.capacity_, room)
        order = np.argsort(self.seen_classes_)
        return order[np.searchsorted(self.seen_classes_, y, sorter=order)].astype(np.int32)

    def _update_buffer(
        self,
        X: Float[np.ndarray, "samples features"],
        class_index: Int[np.ndarray, " samples"],
        priority: Float[np.ndarray, " samples"],
        held: Shaped[np.ndarray, " samples"],
    ) -> None:
        """Offer new samples to the buffer; its held-out fraction is never replayed."""
        X = np.concatenate([self.buffer_X_, X])
        class_index = np.concatenate([self.buffer_class_index_, class_index])
        priority = np.concatenate([self.buffer_priority_, priority])
        held = np.concatenate([self.buffer_held_out_, held])
        slots_held = int(self.validation_fraction * self.buffer_size)
        kept = np.concatenate(
            [
                np.flatnonzero(part)[keep_balanced(class_index[part], priority[part], slots)]
                for part, slots in ((~held, self.buffer_size - slots_held), (held, slots_held))
            ]
        )
        self.buffer_X_, self.buffer_class_index_ = X[kept], class_index[kept]
        self.buffer_priority_, self.buffer_held_out_ = priority[kept], held[kept]

    def _scores(
        self, layers: Layers, x: Float[np.ndarray, "samples padded"], part: int
    ) -> Float[np.ndarray, "samples _"]:
        """Return one of the results of `score_rows` for standardized rows."""
        model, params = self._model(), tuple(layer.params for layer in layers)
        rows = np.pad(x, ((0, -len(x) % CHUNK), (0, 0)))
        chunks = [
            score_rows(*model, params, rows[start : start + CHUNK], len(self.seen_classes_))[part]
            for start in range(0, len(rows), CHUNK)
        ]
        scores = np.concatenate(chunks)[: len(x)]
        return scores[:, : len(self.seen_classes_)] if part == 0 else scores

    def _check_widths(self) -> None:
        """Raise ValueError if `hidden_layer_sizes` was changed after the layers were made."""
        kernels = [next(iter(layer.params["kernels"].values())) for layer in self.layers_]
        fitted = tuple(kernel.shape[-1] for kernel in kernels)
        given = self._design().hidden
        if given != fitted:
            advice = "To train layers of other sizes, fit with warm_start=False."
            rule = f"be {fitted}, as when the estimator was fitted"
            raise reject(type(self).__name__, "hidden_layer_sizes", rule, given, advice)

    def _evaluate(self, X: Any, part: int) -> Float[np.ndarray, "samples _"]:
        """Return one of the results of `score_rows` for the rows of a caller."""
        check_is_fitted(self)
        self._check_widths()
        X = unwrap(type(self).__name__, "X", X)
        X = validate_data(self, X, reset=False, dtype=[np.float64, np.float32])
        return self._scores(self.layers_, self._standardize(X), part)

    def _seen_scores(self, X: Any) -> Float[np.ndarray, "samples seen"]:
        """Return the calibrated logits of the classes in `seen_classes_`."""
        return self._evaluate(X, 0).astype(np.float64) / self.temperature_

    def _columns(self) -> Int[np.ndarray, " seen"]:
        """Return the column of each of `seen_classes_` in the results."""
        return np.searchsorted(self.classes_, self.seen_classes_)
