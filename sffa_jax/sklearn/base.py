"""The base class of both estimators; only the rule differs."""

from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Shaped
from sklearn.base import (
    BaseEstimator,
    ClassifierMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
)
from sklearn.utils import check_random_state
from sklearn.utils.extmath import softmax
from sklearn.utils.multiclass import check_classification_targets, unique_labels
from sklearn.utils.validation import check_is_fitted, validate_data

from sffa_jax.checks import check_integer, check_range, reject
from sffa_jax.core.rules import LocalRule
from sffa_jax.sklearn import archive
from sffa_jax.sklearn.buffer import draw_batches, keep_balanced
from sffa_jax.sklearn.programs import (
    CHUNK,
    Design,
    Layers,
    Numbers,
    init_layers,
    pad_rows,
    score_rows,
    train_pass,
)

ALIGN = 16
"""Features are padded with zeros to a multiple of it, which limits the number of shapes."""

Classifier = TypeVar("Classifier", bound="ForwardOnlyClassifier")


@dataclass(eq=False, repr=False)
class ForwardOnlyClassifier(
    ClassNamePrefixFeaturesOutMixin, ClassifierMixin, TransformerMixin, BaseEstimator
):
    """Base of `SFFAClassifier` and `FFAClassifier`, which document parameters and attributes.

    Features are standardized by the mean and the standard deviation of all samples so far. The
    label is a random code appended to the features. The code of a class depends on how many classes
    were seen before it, not on the number of classes, so that classes can be added.
    """

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

    _rule: ClassVar[Callable[..., LocalRule]]
    _rule_numbers: ClassVar[tuple[str, ...]]

    def fit(self: Classifier, X: Any, y: Any) -> Classifier:
        """Train from scratch with `max_iter` passes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Finite numbers of any scale.
        y : array-like of shape (n_samples,)
            Class labels, numbers or strings.

        Returns
        -------
        self
            The fitted estimator. If an error is raised, the estimator is not fitted.
        """
        self._learn(X, y, (), self.max_iter, reset=True)
        return self

    def partial_fit(self: Classifier, X: Any, y: Any, classes: Any = None) -> Classifier:
        """Continue training with `partial_iter` passes; `y` may contain new classes.

        Each batch mixes new samples with samples of the buffer, so that a class of the buffer
        weighs as much as a class of the new samples. A sample that is given in two calls counts
        twice in the buffer; to repeat samples, increase `partial_iter` instead.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Finite numbers.
        y : array-like of shape (n_samples,)
            Class labels.
        classes : array-like, optional
            Labels that may come later. Each gets a column in the results, with probability 0 until
            a sample of it is given.

        Returns
        -------
        self
            The estimator. If an error is raised, the estimator is unchanged.
        """
        hint = () if classes is None else (classes,)
        self._learn(X, y, hint, self.partial_iter, reset=not hasattr(self, "layers_"))
        return self

    def decision_function(self, X: Any) -> Float[np.ndarray, "samples *classes"]:
        """Return the logits of each class, summed over layers.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes), float64
            In the order of `classes_`; -inf for a class without a sample so far. With two classes:
            shape (n_samples,), the second class's logit minus the first's.
        """
        scores = self._class_scores(X)
        return scores[:, 1] - scores[:, 0] if len(self.classes_) == 2 else scores

    def predict_proba(self, X: Any) -> Float[np.ndarray, "samples classes"]:
        """Return the softmax of the summed logits.

        Probabilities are overconfident because correlated layers are summed; calibrate them with
        `sklearn.calibration`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes), float64
            In the order of `classes_`; rows sum to 1.
        """
        return softmax(np.asarray(self._class_scores(X)))

    def predict(self, X: Any) -> Shaped[np.ndarray, " samples"]:
        """Return the label with the highest summed logit.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,), of the type of `classes_`
        """
        best = np.argmax(self._class_scores(X), axis=1)
        return np.asarray(self.classes_[best])

    def transform(self, X: Any) -> Float[np.ndarray, "samples units"]:
        """Return the hidden activities of all layers under the predicted label.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, sum of hidden_layer_sizes), float32
        """
        return self._evaluate(X, 1)

    def save(self, path: Path | str) -> None:
        """Save the fitted estimator to one NumPy archive, without pickle.

        Parameters
        ----------
        path : str or Path
            An existing file is replaced once the new one is complete.
        """
        check_is_fitted(self)
        archive.write(self, path)

    @classmethod
    def load(cls: type[Classifier], path: Path | str) -> Classifier:
        """Load an estimator of this class; it predicts, and continues to learn, identically.

        Parameters
        ----------
        path : str or Path
            A file that `save` wrote.
        """
        parameters, fitted, leaves = archive.read(cls, path)
        loaded = cls(**parameters)
        for name, value in fitted.items():
            setattr(loaded, name, value)
        structure = jax.tree.structure(jax.eval_shape(loaded._initial_layers))
        loaded.layers_ = jax.tree.unflatten(structure, leaves)
        return loaded

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "layers_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags

    @property
    def _n_features_out(self) -> int:
        return sum(self._design().hidden)

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

    def _model(self) -> tuple[Design, Numbers, Array]:
        """Return the first arguments of every program."""
        return self._design(), self._numbers(), jnp.asarray(self.label_codes_)

    def _initial_layers(self) -> Layers:
        x = self._standardize(self.mean_[None])
        layers: Layers = init_layers(*self._model(), self._keys()[1], x)
        return layers

    def _check_parameters(self) -> None:
        """Raise for the first invalid parameter; scikit-learn requires this in `fit`."""
        where, minimum = type(self).__name__, {"buffer_size": 0}
        for name in ("batch_size", "max_iter", "partial_iter", "buffer_size", "code_size"):
            check_integer(where, name, getattr(self, name), minimum.get(name, 1))
        check_range(where, "learning_rate_init", self.learning_rate_init, above=0)
        check_range(where, "code_scale", self.code_scale, above=0)
        # The parts check their arguments only here, where they are not traced.
        self._design().learner(self._numbers(), jnp.zeros((2, 1)), self.learning_rate_init)

    def _reset(self, X: np.ndarray) -> None:
        """Initialize all fitted attributes but `layers_`."""
        self.seed_ = int(check_random_state(self.random_state).randint(2**31 - 1))
        self.n_iter_, self.n_samples_seen_ = 0, 0
        self.loss_curve_: list[float] = []
        self.seen_classes_ = np.zeros(0)
        self.label_codes_ = np.zeros((0, self.code_size), np.float32)
        self.mean_, self.var_ = np.zeros(X.shape[1]), np.zeros(X.shape[1])
        self.buffer_X_, self.buffer_class_index_ = X[:0], np.zeros(0, np.int32)
        self.buffer_priority_ = np.zeros(0)

    def _learn(self, X: Any, y: Any, hint: tuple[Any, ...], passes: Any, *, reset: bool) -> None:
        """Train; on an error, restore the state before, without the layers after `fit`."""
        before = dict(vars(self))
        try:
            self._train(X, y, hint, passes, reset=reset)
        except BaseException:
            if reset:
                before.pop("layers_", None)
            self.__dict__ = before
            raise

    def _train(self, X: Any, y: Any, hint: tuple[Any, ...], passes: Any, *, reset: bool) -> None:
        """Train `passes` times on the new samples, mixed with the buffer."""
        self._check_parameters()
        X, y = validate_data(self, X, y, reset=reset, dtype=[np.float64, np.float32])
        check_classification_targets(y)
        before = () if reset else (self.classes_,)
        self.classes_: np.ndarray = unique_labels(y, *hint, *before)
        if reset:
            self._reset(X)
        self._update_moments(X)
        class_index = self._class_index(y)
        classes_kept = len(np.unique(self.buffer_class_index_))
        classes_new = len(np.unique(class_index))
        replayed = round(self.batch_size * classes_kept / (classes_kept + classes_new))
        new_per_batch = max(1, self.batch_size - replayed)
        x = np.concatenate([self._standardize(X), self._standardize(self.buffer_X_)])
        labels = np.concatenate([class_index, self.buffer_class_index_])
        data = self._keys()[2], pad_rows(x, CHUNK), pad_rows(labels, CHUNK)
        rng = np.random.default_rng([self.seed_, self.n_iter_])
        model, rate, losses = self._model(), float(self.learning_rate_init), []
        layers = self._initial_layers() if reset else self.layers_
        sizes = len(X), len(self.buffer_X_), new_per_batch, self.batch_size
        for epoch in range(self.n_iter_, self.n_iter_ + passes):
            rows = draw_batches(rng, *sizes)
            batches = pad_rows(rows, 16), len(rows)
            layers, loss = train_pass(*model, rate, layers, *data, *batches, epoch)
            losses.append(loss)
        curve = np.mean(jax.device_get(losses), axis=1)
        if not np.all(np.isfinite(curve)):
            where, advice = type(self).__name__, "The loss did not stay finite."
            raise reject(where, "learning_rate_init", "be smaller", self.learning_rate_init, advice)
        self._update_buffer(X, class_index, rng.random(len(X)))
        self.layers_: Layers = jax.device_get(layers)
        self.loss_curve_ = [*self.loss_curve_, *curve.tolist()]
        self.n_iter_ += passes

    def _update_moments(self, X: Float[np.ndarray, "samples features"]) -> None:
        """Add samples to mean and variance (Chan et al. 1979)."""
        seen, new = self.n_samples_seen_, len(X)
        total = seen + new
        with np.errstate(over="ignore", invalid="ignore"):
            step = X.mean(axis=0, dtype=np.float64) - self.mean_
            inner = (seen * self.var_ + new * X.var(axis=0, dtype=np.float64)) / total
            self.mean_ = self.mean_ + step * new / total
            self.var_ = inner + np.square(step) * seen * new / total**2
        if not np.all(np.isfinite(self.var_)):
            rule, value = "have features of finite variance", f"values up to {np.abs(X).max():g}"
            raise reject(type(self).__name__, "X", rule, value)
        self.n_samples_seen_ = total

    def _standardize(
        self, X: Float[np.ndarray, "samples features"]
    ) -> Float[np.ndarray, "samples padded"]:
        """Return the features as inputs of the network."""
        std = np.sqrt(self.var_)
        # A feature that varies less than its rounding error is constant.
        std = np.where(std > 1e-12 * np.abs(self.mean_), std, 1.0)
        x = ((X - self.mean_) / std).astype(np.float32)
        return np.pad(x, ((0, 0), (0, -X.shape[1] % ALIGN)))

    def _class_index(self, y: Shaped[np.ndarray, " samples"]) -> Int[np.ndarray, " samples"]:
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
        order = np.argsort(self.seen_classes_)
        return order[np.searchsorted(self.seen_classes_, y, sorter=order)].astype(np.int32)

    def _update_buffer(
        self,
        X: Float[np.ndarray, "samples features"],
        class_index: Int[np.ndarray, " samples"],
        priority: Float[np.ndarray, " samples"],
    ) -> None:
        """Offer new samples to the buffer."""
        X = np.concatenate([self.buffer_X_, X])
        class_index = np.concatenate([self.buffer_class_index_, class_index])
        priority = np.concatenate([self.buffer_priority_, priority])
        kept = keep_balanced(class_index, priority, self.buffer_size)
        self.buffer_X_, self.buffer_class_index_ = X[kept], class_index[kept]
        self.buffer_priority_ = priority[kept]

    def _evaluate(self, X: Any, part: int) -> Float[np.ndarray, "samples _"]:
        """Return one of the results of `score_rows` for unscaled rows."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=[np.float64, np.float32])
        model, params = self._model(), tuple(layer.params for layer in self.layers_)
        x = np.pad(self._standardize(X), ((0, -len(X) % CHUNK), (0, 0)))
        chunks = [
            score_rows(*model, params, x[start : start + CHUNK], len(self.seen_classes_))[part]
            for start in range(0, len(x), CHUNK)
        ]
        return np.concatenate(chunks)[: len(X)]

    def _class_scores(self, X: Any) -> Float[np.ndarray, "samples classes"]:
        """Return the summed logits of each class, in the order of `classes_`."""
        seen_scores = self._evaluate(X, 0)[:, : len(self.seen_classes_)]
        scores = np.full((len(seen_scores), len(self.classes_)), -np.inf)
        scores[:, np.searchsorted(self.classes_, self.seen_classes_)] = seen_scores
        return scores
