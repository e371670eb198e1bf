"""Forward-only learning as scikit-learn estimators, for rows of features of any scale.

`SFFAClassifier` and `FFAClassifier` differ in the rule alone. Both learn by `local_learner`, take
new classes at any time (`partial_fit`) and replay a small class-balanced memory of samples then.
"""

import json
import os
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, TypeVar, no_type_check

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, Key, Shaped
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
from sffa_jax.core import rules
from sffa_jax.core.architectures import dense_layers
from sffa_jax.core.layer import Params
from sffa_jax.core.network import Network, NetworkParams, activities
from sffa_jax.core.overlays import Overlay
from sffa_jax.core.rules import LocalRule
from sffa_jax.training.learner import Learner
from sffa_jax.training.local import LayerState, LocalState, local_learner

CHUNK = 256
"""Rows scored at a time. Every chunk is filled up to it: one program serves any number of rows, and
a row's result does not depend on the rows beside it."""

ALIGN = 16
"""Features are filled up with zeros to a multiple of it, again for few shapes to compile for."""

FORMAT = 1
"""Of the files that `save` writes."""


Classifier = TypeVar("Classifier", bound="ForwardOnlyClassifier")
Numbers = dict[str, Any]
"""A rule's own, by name; traced in a program."""
Layers = tuple[LayerState, ...]


class _Design(NamedTuple):
    """What programs are compiled for. Numbers are arguments of theirs instead, so that a search
    over learning rates or logit_scales compiles once."""

    rule: Callable[..., LocalRule]
    hidden: tuple[int, ...]
    activation: str
    winners: int | None
    negatives: str
    loss: str

    def network(self, numbers: Numbers, codes: Float[Array, "classes code"]) -> Network:
        rule = self.rule(loss=self.loss, **numbers)
        layers = dense_layers(self.hidden, activation=self.activation, winners=self.winners)
        return Network(layers, rule, lambda *_: Overlay(appended=codes), codes.shape[0])

    def learner(self, numbers: Numbers, codes: Float[Array, "classes code"], rate: Any) -> Learner:
        network = self.network(numbers, codes)
        return local_learner(network, optax.adam(rate), negatives=self.negatives)


@partial(jax.jit, static_argnames="design")
def _start(
    design: _Design,
    numbers: Numbers,
    codes: Float[Array, "classes code"],
    key: Key[Array, ""],
    x: Float[Array, "1 features"],
) -> Layers:
    layers: Layers = design.learner(numbers, codes, 1.0).init(key, x).layers
    return layers


@partial(jax.jit, static_argnames="design")
def _epoch(
    design: _Design,
    numbers: Numbers,
    codes: Float[Array, "classes code"],
    rate: Any,
    layers: Layers,
    key: Key[Array, ""],
    x: Float[Array, "samples features"],
    labels: Int[Array, " samples"],
    plan: Int[Array, "capacity batch"],
    steps: Int[Array, ""],
    epoch: Int[Array, ""],
) -> tuple[Layers, Float[Array, " layers"]]:
    """The first `steps` batches of the plan, one after another; also the mean loss per layer, nats.

    Their number is no shape: samples and plan are filled up, and one program serves many sizes.
    """
    learner = design.learner(numbers, codes, rate)
    key = jax.random.fold_in(key, epoch)

    def step(i: Array, carry: tuple[LocalState, Array]) -> tuple[LocalState, Array]:
        state, total = carry
        key_step, rows = jax.random.fold_in(key, i), plan[i]
        state, losses = learner.step(state, key_step, x[rows], labels[rows])
        return state, total + losses

    first = LocalState(layers, Overlay(appended=codes), jnp.int32(0)), jnp.zeros(len(layers))
    state, total = jax.lax.fori_loop(0, steps, step, first)
    return state.layers, total / steps


@partial(jax.jit, static_argnames="design")
def _read(
    design: _Design,
    numbers: Numbers,
    codes: Float[Array, "classes code"],
    layers: tuple[Params, ...],
    x: Float[Array, "rows features"],
    num_seen: Int[Array, ""],
) -> tuple[Float[Array, "rows classes"], Float[Array, "rows units"]]:
    """The sum over layers of every label's log-odds (-inf: label not seen yet), and the activity of
    all layers under the label with the highest."""
    network = design.network(numbers, codes)
    found = list(activities(network, NetworkParams(layers, Overlay(appended=codes)), x))
    total = jnp.sum(jnp.stack([network.rule.score(network.rule.logit(h)) for h in found]), axis=0)
    scores = jnp.where(jnp.arange(network.num_classes)[None] < num_seen, total, -jnp.inf)
    best = jnp.argmax(scores, axis=-1)[:, None, None]
    own = [jnp.take_along_axis(h, best, axis=1)[:, 0] for h in found]
    return scores, jnp.concatenate(own, axis=-1)


def _fill_up(array: np.ndarray, least: int) -> Array:
    """Adds rows of zeros up to a power of two: few shapes to compile for."""
    length = max(least, 1 << (len(array) - 1).bit_length())
    return jnp.asarray(np.pad(array, [(0, length - len(array))] + [(0, 0)] * (array.ndim - 1)))


def _plan_epoch(
    rng: np.random.Generator, new: int, old: int, fresh: int, batch_size: int
) -> Int[np.ndarray, "steps batch"]:
    """Rows of each batch: `fresh` of the new ones, shuffled, and random old ones, which lie behind.

    No new row is left out: the last batch is filled up with the first of the order, and so is a
    batch that is larger than the data.
    """
    steps = -(-new // fresh)
    order = np.resize(rng.permutation(new), (steps, fresh))
    remembered = new + rng.integers(max(old, 1), size=(steps, batch_size - fresh))
    return np.concatenate([order, remembered], axis=1).astype(np.int32)


def _keep_balanced(
    places: Int[np.ndarray, " samples"], priority: Float[np.ndarray, " samples"], slots: int
) -> Int[np.ndarray, " kept"]:
    """Which samples stay: as many of each class, those of the highest priority; what a small class
    leaves free goes to the others.

    With priorities drawn once a sample, a class keeps a uniform draw of all of its samples ever
    shown, as in `continual.memory`. (That is a compiled program over indices into data that stay;
    here rows come and go.)
    """
    order = np.lexsort((-priority, places))
    rank = np.arange(len(order)) - np.searchsorted(places[order], places[order])
    return order[np.argsort(rank, kind="stable")][:slots]


@dataclass(eq=False, repr=False)
class ForwardOnlyClassifier(
    ClassNamePrefixFeaturesOutMixin, ClassifierMixin, TransformerMixin, BaseEstimator
):
    """What `SFFAClassifier` and `FFAClassifier` share: all but the rule.

    A feature is standardized by the mean and the deviation of all samples shown so far, and the
    label is a random code appended to the features. A class's code depends on how many classes came
    before it and not on how many there are, so that their number may grow.

    After `fit` or `partial_fit`:
      classes_: [classes] labels, sorted.
      seen_classes_: [seen] those that samples were shown of, in the order they came.
      n_features_in_, feature_names_in_: scikit-learn's.
      n_iter_: passes made so far.
      loss_curve_: loss of each pass, nats, averaged over updates and layers.
      layers_: of each layer, parameters and optimizer state.
      label_codes_: [seen, code_size], a row more for a first class that is alone.
      mean_, var_, n_samples_seen_: [features], [features] and number, of all samples shown so far.
      memory_X_, memory_places_, memory_priority_: remembered samples, their class as its index in
        `seen_classes_`, and the random number that decides which of them stay.
    """

    hidden_layer_sizes: int | Sequence[int] = (200,)
    """Width of each hidden layer; SFFA's are even."""
    _: KW_ONLY
    activation: str = "relu"
    """Of every hidden layer: relu, sigmoid or tanh."""
    winners: int | None = None
    """Units that stay active in each half of a layer; None keeps all."""
    negatives: str = "uniform"
    """Wrong labels an update contrasts with the true one: uniform, hard (one each) or all."""
    loss: str = "bce"
    """Each layer's own: bce, softmax over the candidate labels, or symba."""
    code_size: int = 100
    """Features that the label's code has."""
    code_scale: float = 1.0
    """Deviation of the code's entries; a standardized feature's is 1."""
    learning_rate_init: float = 1e-3
    """Adam's learning rate, constant."""
    batch_size: int = 32
    """Samples an update, remembered ones among them."""
    max_iter: int = 100
    """Passes that `fit` makes. There is no early stop."""
    partial_iter: int = 1
    """Passes over the new samples that one call of `partial_fit` makes: 1, as in scikit-learn.
    Where a class comes in a single call, take as many as `fit` would."""
    memory_size: int = 500
    """Samples remembered for `partial_fit`, shared out evenly over the classes. Not 0 by default,
    since without any a new class erases the old ones; not all, so that what is stored, and the work
    of a call, do not grow with the stream. They are kept (and saved) as they were given: choose 0
    where that must not be, or if `partial_fit` is not used."""
    random_state: int | np.random.RandomState | None = None
    """Of codes, weights, order and memory."""

    _rule: ClassVar[Callable[..., LocalRule]]
    _rule_numbers: ClassVar[tuple[str, ...]]

    def fit(self: Classifier, X: Any, y: Any) -> Classifier:
        """Learns from scratch, `max_iter` passes.

        Args:
          X: [samples, features] finite numbers of any scale.
          y: [samples] class labels, numbers or strings.

        Returns:
          The estimator.

        Raises:
          TypeError, ValueError: for data that scikit-learn would reject, for a parameter out of
            range, or where the loss does not stay finite.
        """
        self._learn(X, y, (), self.max_iter, reset=True)
        return self

    def partial_fit(self: Classifier, X: Any, y: Any, classes: Any = None) -> Classifier:
        """Goes on learning, `partial_iter` passes; classes that were not there before are welcome.

        Remembered samples are replayed beside the new ones, as large a share of each batch as makes
        a remembered class weigh what a class of the new samples weighs. A sample that comes again
        in another call counts as another one in the memory: better one call of more passes.

        Args:
          X: [samples, features] finite numbers.
          y: [samples] class labels.
          classes: labels that may come later, as a hint: each has its column in the results from
            now on, with probability 0 until a sample of it was seen.

        Returns:
          The estimator.

        Raises:
          TypeError, ValueError: as for `fit`.
        """
        hint = () if classes is None else (classes,)
        self._learn(X, y, hint, self.partial_iter, reset=not hasattr(self, "layers_"))
        return self

    def decision_function(self, X: Any) -> Float[np.ndarray, "samples *classes"]:
        """The log-odds that each label fits, nats, summed over layers.

        Args:
          X: [samples, features].

        Returns:
          [samples, classes] in the order of `classes_`, float64, -inf for a class that was hinted
          at but not seen yet; with two classes [samples], the second's less the first's.

        Raises:
          ValueError: for data that scikit-learn would reject; NotFittedError before `fit`.
        """
        sums = self._sums(X)
        return sums[:, 1] - sums[:, 0] if len(self.classes_) == 2 else sums

    def predict_proba(self, X: Any) -> Float[np.ndarray, "samples classes"]:
        """Softmax over the classes seen of the sums in `decision_function`.

        Every layer says the same in its own words, and the sum counts it anew each time: take
        `sklearn.calibration` where the numbers themselves matter.

        Args:
          X: [samples, features].

        Returns:
          [samples, classes] in the order of `classes_`, float64, rows sum to 1.

        Raises:
          ValueError: as for `decision_function`.
        """
        return softmax(np.asarray(self._sums(X)))

    def predict(self, X: Any) -> Shaped[np.ndarray, " samples"]:
        """The label with the highest sum of log-odds, [samples], of the type of `classes_`.

        Args:
          X: [samples, features].

        Raises:
          ValueError: as for `decision_function`.
        """
        best = np.argmax(self._sums(X), axis=1)
        return np.asarray(self.classes_[best])

    def transform(self, X: Any) -> Float[np.ndarray, "samples units"]:
        """The latents: every layer's activity under the predicted label, side by side.

        Args:
          X: [samples, features].

        Returns:
          [samples, sum of the layers' widths], float32, >= 0 under relu.

        Raises:
          ValueError: as for `decision_function`.
        """
        return self._evaluate(X, 1)

    def save(self, path: Path | str) -> None:
        """Writes all that prediction and further learning need into one file, without pickle.

        Args:
          path: of the file (NumPy's npz); what is there is replaced once the new one is whole.

        Raises:
          NotFittedError: before `fit`.
          ValueError: if `random_state` is a generator, which has no plain form.
          OSError: if it cannot be written.
        """
        check_is_fitted(self)
        if not (self.random_state is None or hasattr(self.random_state, "__index__")):
            advice = (
                "What is learned does not depend on it any more: set_params(random_state=None)."
            )
            raise reject("save", "random_state", "be a number or None", self.random_state, advice)
        fitted = {name: value for name, value in vars(self).items() if name.endswith("_")}
        leaves = jax.tree.leaves(fitted.pop("layers_"))
        # Names of features are objects, which NumPy would pickle.
        arrays: dict[str, Any] = {
            name: value.astype(str) if value.dtype == object else value
            for name, value in fitted.items()
            if isinstance(value, np.ndarray)
        }
        head = {
            "estimator": [type(self).__name__, FORMAT],
            "parameters": self.get_params(deep=False),
            "fitted": {name: value for name, value in fitted.items() if name not in arrays},
        }
        arrays |= {f"leaf {i:05d}": leaf for i, leaf in enumerate(leaves)}
        final = Path(path)
        new = final.with_name(f".{final.name}.new")
        with new.open("wb") as file:
            # NumPy's scalars, which searches set, as plain numbers.
            text = json.dumps(head, default=lambda value: value.tolist())
            np.savez(file, head=np.array(text), **arrays)
        os.replace(new, final)

    @classmethod
    def load(cls: type[Classifier], path: Path | str) -> Classifier:
        """An estimator of this class that `save` saved; it predicts, and learns on, the same.

        Raises:
          ValueError: if the file is damaged, or holds something else.
          OSError: if it cannot be read.
        """
        try:
            with Path(path).open("rb") as stream, np.load(stream, allow_pickle=False) as file:
                arrays = dict(file)
            head = json.loads(str(arrays.pop("head")))
            kind = head["estimator"]
        except (zipfile.BadZipFile, EOFError, KeyError, TypeError, ValueError) as error:
            raise reject("load", "path", "be a whole file that `save` wrote", path) from error
        if kind != [cls.__name__, FORMAT]:
            raise reject("load", "path", f"hold a {cls.__name__} of format {FORMAT}", kind)
        parameters = head["parameters"]
        if isinstance(parameters["hidden_layer_sizes"], list):
            parameters["hidden_layer_sizes"] = tuple(parameters["hidden_layer_sizes"])
        loaded = cls(**parameters)
        leaves = [arrays.pop(name) for name in sorted(arrays) if name.startswith("leaf ")]
        if "feature_names_in_" in arrays:
            arrays["feature_names_in_"] = arrays["feature_names_in_"].astype(object)
        for name, value in (head["fitted"] | arrays).items():
            setattr(loaded, name, value)
        structure = jax.tree.structure(jax.eval_shape(loaded._fresh_layers))
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

    def _design(self) -> _Design:
        hidden = tuple(np.atleast_1d(np.asarray(self.hidden_layer_sizes)).tolist())
        choices = (self.activation, self.winners, self.negatives, self.loss)
        return _Design(type(self)._rule, hidden, *choices)

    def _numbers(self) -> dict[str, float]:
        return {name: float(getattr(self, name)) for name in self._rule_numbers}

    def _keys(self) -> tuple[Array, Array, Array]:
        """For label codes, weights and epochs."""
        codes, weights, epochs = jax.random.split(jax.random.key(self.seed_), 3)
        return codes, weights, epochs

    def _model(self) -> tuple[_Design, Numbers, Array]:
        """What every program takes first."""
        return self._design(), self._numbers(), jnp.asarray(self.label_codes_)

    def _fresh_layers(self) -> Layers:
        layers: Layers = _start(*self._model(), self._keys()[1], self._scaled(self.mean_[None]))
        return layers

    def _check_parameters(self) -> None:
        """Raises for the first parameter that cannot be used. scikit-learn wants that in `fit`."""
        where, least = type(self).__name__, {"memory_size": 0}
        for name in ("batch_size", "max_iter", "partial_iter", "memory_size", "code_size"):
            check_integer(where, name, getattr(self, name), least.get(name, 1))
        check_range(where, "learning_rate_init", self.learning_rate_init, above=0)
        check_range(where, "code_scale", self.code_scale, above=0)
        # The parts check their own choices, which they cannot where numbers are traced.
        self._design().learner(self._numbers(), jnp.zeros((2, 1)), self.learning_rate_init)

    def _forget(self, X: np.ndarray) -> None:
        """Before the first sample. A fit that fails leaves nothing to predict with."""
        self.__dict__.pop("layers_", None)
        self.seed_ = int(check_random_state(self.random_state).randint(2**31 - 1))
        self.n_iter_, self.n_samples_seen_ = 0, 0
        self.loss_curve_: list[float] = []
        self.seen_classes_ = np.zeros(0)
        self.label_codes_ = np.zeros((0, self.code_size), np.float32)
        self.mean_, self.var_ = np.zeros(X.shape[1]), np.zeros(X.shape[1])
        self.memory_X_, self.memory_places_ = X[:0], np.zeros(0, np.int32)
        self.memory_priority_ = np.zeros(0)

    def _learn(self, X: Any, y: Any, hint: tuple[Any, ...], passes: Any, *, reset: bool) -> None:
        """Learns from new samples and the memory, `passes` times over the new ones."""
        self._check_parameters()
        X, y = validate_data(self, X, y, reset=reset, dtype=[np.float64, np.float32])
        check_classification_targets(y)
        before = () if reset else (self.classes_,)
        self.classes_: np.ndarray = unique_labels(y, *hint, *before)
        if reset:
            self._forget(X)
        self._count_in(X)
        places = self._places(y)
        kinds_old, kinds_new = len(np.unique(self.memory_places_)), len(np.unique(places))
        replayed = round(self.batch_size * kinds_old / (kinds_old + kinds_new))
        fresh = max(1, self.batch_size - replayed)
        x = np.concatenate([self._scaled(X), self._scaled(self.memory_X_)])
        labels = np.concatenate([places, self.memory_places_])
        data = self._keys()[2], _fill_up(x, CHUNK), _fill_up(labels, CHUNK)
        rng = np.random.default_rng([self.seed_, self.n_iter_])
        model, rate, losses = self._model(), float(self.learning_rate_init), []
        layers = self._fresh_layers() if reset else self.layers_
        for epoch in range(self.n_iter_, self.n_iter_ + passes):
            plan = _plan_epoch(rng, len(X), len(self.memory_X_), fresh, self.batch_size)
            batches = _fill_up(plan, 16), len(plan)
            layers, loss = _epoch(*model, rate, layers, *data, *batches, epoch)
            losses.append(loss)
        curve = np.mean(jax.device_get(losses), axis=1)
        if not np.all(np.isfinite(curve)):
            where, advice = type(self).__name__, "The loss did not stay finite."
            raise reject(where, "learning_rate_init", "be smaller", self.learning_rate_init, advice)
        self._remember(X, places, rng.random(len(X)))
        self.layers_: Layers = jax.device_get(layers)
        self.loss_curve_ = [*self.loss_curve_, *curve.tolist()]
        self.n_iter_ += passes

    def _count_in(self, X: Float[np.ndarray, "samples features"]) -> None:
        """Takes samples into the mean and the variance of all seen (Chan et al. 1979)."""
        seen, new = self.n_samples_seen_, len(X)
        total = seen + new
        step = X.mean(axis=0, dtype=np.float64) - self.mean_
        inner = (seen * self.var_ + new * X.var(axis=0, dtype=np.float64)) / total
        self.mean_ = self.mean_ + step * new / total
        self.var_ = inner + np.square(step) * seen * new / total**2
        self.n_samples_seen_ = total

    def _scaled(
        self, X: Float[np.ndarray, "samples features"]
    ) -> Float[np.ndarray, "samples filled_up"]:
        """Standardized features, as the network sees them."""
        std = np.sqrt(self.var_)
        # A feature that varies by less than it is rounded by is constant.
        std = np.where(std > 1e-12 * np.abs(self.mean_), std, 1.0)
        x = ((X - self.mean_) / std).astype(np.float32)
        return np.pad(x, ((0, 0), (0, -X.shape[1] % ALIGN)))

    def _places(self, y: Shaped[np.ndarray, " samples"]) -> Int[np.ndarray, " samples"]:
        """Each label's place in the order in which classes came, new ones with a code each.

        A code depends on the place alone, not on how many classes there are.
        """
        y, seen = (labels.astype(self.classes_.dtype) for labels in (y, self.seen_classes_))
        arrived = self.classes_[np.isin(self.classes_, y) & ~np.isin(self.classes_, seen)]
        self.seen_classes_ = np.concatenate([seen, arrived])
        # One class alone still needs a wrong label: the code of the second to come.
        missing = range(len(self.label_codes_), max(2, len(self.seen_classes_)))
        keys = [jax.random.fold_in(self._keys()[0], place) for place in missing]
        size, scale = self.label_codes_.shape[1], np.float32(self.code_scale)
        drawn = [scale * np.asarray(jax.random.normal(key, (size,))) for key in keys]
        self.label_codes_ = np.concatenate([self.label_codes_, np.reshape(drawn, (-1, size))])
        order = np.argsort(self.seen_classes_)
        return order[np.searchsorted(self.seen_classes_, y, sorter=order)].astype(np.int32)

    def _remember(
        self,
        X: Float[np.ndarray, "samples features"],
        places: Int[np.ndarray, " samples"],
        priority: Float[np.ndarray, " samples"],
    ) -> None:
        """Shows the memory new samples, with a random priority each."""
        X = np.concatenate([self.memory_X_, X])
        places = np.concatenate([self.memory_places_, places])
        priority = np.concatenate([self.memory_priority_, priority])
        kept = _keep_balanced(places, priority, self.memory_size)
        self.memory_X_, self.memory_places_ = X[kept], places[kept]
        self.memory_priority_ = priority[kept]

    def _evaluate(self, X: Any, part: int) -> Float[np.ndarray, "samples _"]:
        """One part of what `_read` returns, for rows as they are given."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=[np.float64, np.float32])
        model, params = self._model(), tuple(layer.params for layer in self.layers_)
        x = np.pad(self._scaled(X), ((0, -len(X) % CHUNK), (0, 0)))
        chunks = [
            _read(*model, params, x[start : start + CHUNK], len(self.seen_classes_))[part]
            for start in range(0, len(x), CHUNK)
        ]
        return np.concatenate(chunks)[: len(X)]

    def _sums(self, X: Any) -> Float[np.ndarray, "samples classes"]:
        """The sum of log-odds of each class, in the order of `classes_`."""
        scores = self._evaluate(X, 0)[:, : len(self.seen_classes_)]
        sums = np.full((len(scores), len(self.classes_)), -np.inf)
        sums[:, np.searchsorted(self.classes_, self.seen_classes_)] = scores
        return sums


# scikit-learn wants parameters of any type to be taken here and rejected in `fit`: no type check at
# run time, which the tests' hook else makes for a dataclass.
@no_type_check
@dataclass(eq=False, repr=False, kw_only=True)
class SFFAClassifier(ForwardOnlyClassifier):
    """The Symmetric Forward-Forward Algorithm, a classifier and transformer for scikit-learn.

    Its parameters are those of `ForwardOnlyClassifier`, and the rule's own, see `rules.sffa`:
      logit_scale: tau > 0, steepness of the log-odds.
      eps: epsilon > 0, squared activity below which a half says little.

    Reference: Terres-Escudero, Del Ser, Garcia-Bringas, CoLLAs 2024, arXiv:2409.07387.
    """

    logit_scale: float = 6.0
    eps: float = 1.0

    _rule: ClassVar = staticmethod(rules.sffa)
    _rule_numbers: ClassVar = ("logit_scale", "eps")


@no_type_check
@dataclass(eq=False, repr=False, kw_only=True)
class FFAClassifier(ForwardOnlyClassifier):
    """The Forward-Forward Algorithm, a classifier and transformer for scikit-learn.

    Its parameters are those of `ForwardOnlyClassifier`, and the rule's own, see `rules.ffa`:
      logit_scale: tau > 0, steepness of the log-odds.
      threshold: theta > 0, mean squared activity at which the log-odds are 0.

    Reference: Hinton 2022, arXiv:2212.13345.
    """

    logit_scale: float = 20.0
    threshold: float = 0.3

    _rule: ClassVar = staticmethod(rules.ffa)
    _rule_numbers: ClassVar = ("logit_scale", "threshold")
