"""The base class of both estimators: their public methods; only the rule differs."""

from pathlib import Path
from typing import Any, ClassVar, TypeVar

import jax
import numpy as np
from jaxtyping import Float, Shaped
from scipy.special import softmax
from sklearn.base import ClassifierMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from sffa_jax.sklearn import archive
from sffa_jax.sklearn.training import Trainable

UNSEEN = 30.0
"""How much lower than the lowest logit the logit of a class without samples is; it is finite for
`sklearn.calibration`."""

Classifier = TypeVar("Classifier", bound="ForwardOnlyClassifier")


class ForwardOnlyClassifier(
    ClassNamePrefixFeaturesOutMixin, ClassifierMixin, TransformerMixin, Trainable
):
    """Base of `SFFAClassifier` and `FFAClassifier`, which document parameters and attributes.

    Features are standardized by the mean and the standard deviation of all samples so far. The
    label is a random code appended to the features. The code of a class depends on how many classes
    were seen before it, not on the number of classes, so that classes can be added. A fraction of
    the samples is held out to calibrate the probabilities.
    """

    # Jupyter shows the descriptions of parameters and attributes only beside a link.
    _doc_link_module: ClassVar[str] = "sffa_jax"
    _doc_link_template: ClassVar[str] = "#"

    def fit(self: Classifier, X: Any, y: Any, sample_weight: Any = None) -> Classifier:
        """Train with `max_iter` passes, from scratch unless `warm_start` is set.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Finite numbers of any scale.
        y : array-like of shape (n_samples,)
            Class labels, numbers or strings.
        sample_weight : array-like of shape (n_samples,), optional
            Each pass draws samples in proportion to their weights; 0 leaves a sample out. Equal
            weights give the same as none.

        Returns
        -------
        self
            The fitted estimator. If an error is raised, the estimator is not fitted.
        """
        self._learn(X, y, None, sample_weight, partial=False)
        return self

    def partial_fit(
        self: Classifier, X: Any, y: Any, classes: Any = None, sample_weight: Any = None
    ) -> Classifier:
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
        sample_weight : array-like of shape (n_samples,), optional
            As in `fit`.

        Returns
        -------
        self
            The estimator. If an error is raised, the estimator is unchanged.
        """
        self._learn(X, y, classes, sample_weight, partial=True)
        return self

    def decision_function(self, X: Any) -> Float[np.ndarray, "samples *classes"]:
        """Return the calibrated logits: each class's sum over layers, divided by `temperature_`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes), float64
            In the order of `classes_`; a class without a sample so far has the lowest. With two
            classes: shape (n_samples,), the second class's logit minus the first's.
        """
        seen = self._seen_scores(X)
        lowest = seen.min(axis=1, keepdims=True) - UNSEEN
        scores = np.repeat(lowest, len(self.classes_), axis=1)
        scores[:, self._columns()] = seen
        return scores[:, 1] - scores[:, 0] if len(self.classes_) == 2 else scores

    def predict_proba(self, X: Any) -> Float[np.ndarray, "samples classes"]:
        """Return the softmax of the calibrated logits.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes), float64
            In the order of `classes_`; rows sum to 1. A class without a sample so far has 0.
        """
        seen = self._seen_scores(X)
        probabilities = np.zeros((len(seen), len(self.classes_)))
        probabilities[:, self._columns()] = softmax(seen, axis=1)
        return probabilities

    def predict(self, X: Any) -> Shaped[np.ndarray, " samples"]:
        """Return the label with the highest summed logit.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,), of the type of `classes_`
        """
        best = np.argmax(self._seen_scores(X), axis=1)
        return np.asarray(self.classes_[self._columns()[best]])

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

        Raises
        ------
        TypeError
            If a parameter is a function; `joblib.dump` saves those that can be imported.
        ValueError
            If `random_state` is a generator.
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
