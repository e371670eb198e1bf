"""The two estimators: a rule each, with its numeric hyperparameters."""

from dataclasses import dataclass
from typing import ClassVar, no_type_check

from sffa_jax.core import rules
from sffa_jax.sklearn.base import ForwardOnlyClassifier


# scikit-learn requires that invalid parameters are accepted here and rejected in `fit`, so the
# tests' type checker, which would check the dataclass's fields, is turned off.
@no_type_check
@dataclass(eq=False, repr=False, kw_only=True)
class SFFAClassifier(ForwardOnlyClassifier):
    """Classifier and transformer trained by the Symmetric Forward-Forward Algorithm.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int, default=(200,)
        Number of units of each hidden layer; even numbers.
    activation : {"relu", "sigmoid", "tanh"}, default="relu"
        Activation function of the hidden layers.
    winners : int or None, default=None
        Number of units that stay active in each half of a layer; None keeps all.
    negatives : {"uniform", "hard", "all"}, default="uniform"
        Wrong labels of each update: one at random, one drawn by the network's scores, or all.
    loss : {"bce", "softmax", "symba"}, default="bce"
        Loss of each layer; see `sffa_jax.losses`.
    code_size : int, default=100
        Number of features of a label's random code.
    code_scale : float, default=1.0
        Standard deviation of the code; a standardized feature has 1.
    learning_rate_init : float, default=1e-3
        Learning rate of Adam; constant.
    batch_size : int, default=32
        Number of samples of an update, including those of the buffer.
    max_iter : int, default=100
        Largest number of passes of `fit`.
    partial_iter : int, default=1
        Number of passes of one call of `partial_fit`. If a class comes in a single call, use as
        many passes as `fit` needs.
    buffer_size : int, default=500
        Number of samples kept for `partial_fit`, the same number per class. They are kept, and
        saved, as given. Without a buffer (0), new classes overwrite old ones.
    random_state : int, RandomState or None, default=None
        Seed of codes, weights, the order of samples, the buffer and the held-out samples.
    alpha : float, default=0.0
        Weight decay, decoupled from the gradient (AdamW): an update shrinks each kernel by
        `learning_rate_init * alpha`.
    class_weight : dict, "balanced" or None, default=None
        Weights of the classes; factors of `sample_weight`. "balanced" weighs each class by the
        inverse of its frequency in the given samples.
    validation_fraction : float, default=0.1
        Fraction of each class that is held out to calibrate probabilities, and for early stopping.
        With 0, all samples are trained on and probabilities are overconfident.
    early_stopping : bool, default=False
        Whether `fit` stops if the accuracy on the held-out samples does not improve, and returns to
        the best pass.
    n_iter_no_change : int, default=10
        Number of passes without improvement after which `early_stopping` ends training.
    tol : float, default=1e-4
        Smallest increase of the accuracy that counts as an improvement.
    warm_start : bool, default=False
        Whether `fit` continues from the weights, label codes and classes of the previous fit.
    verbose : bool, default=False
        Whether to print loss and validation accuracy of each pass.
    logit_scale : float, default=6.0
        Factor on the logits; see `sffa_jax.rules.sffa`.
    eps : float, default=1.0
        Squared activity below which a half of a layer has little influence.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Sorted labels.
    seen_classes_ : ndarray of shape (n_seen,)
        Labels with samples so far, in order of arrival.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of str
        Names of the features, if `X` has names.
    n_iter_ : int
        Number of passes so far.
    loss_curve_ : list of float
        Mean loss of each pass, in nats, over updates and layers.
    validation_scores_ : list of float
        Accuracy on the held-out samples after each pass with early stopping.
    temperature_ : float
        Divisor of the summed logits that calibrates the probabilities; 1 if fewer than 10 samples
        were held out.
    layers_ : tuple
        Parameters and optimizer state of each layer.
    label_codes_ : ndarray of shape (n_seen, code_size)
        Label codes; two rows if only one class was seen.
    capacity_ : int
        Number of label codes that programs are compiled for.
    mean_ : ndarray of shape (n_features,)
        Mean of all samples so far.
    scale_ : ndarray of shape (n_features,)
        Standard deviation of all samples so far.
    n_samples_seen_ : int
        Number of samples so far.
    buffer_X_ : ndarray of shape (n_kept, n_features)
        Samples of the buffer.
    buffer_class_index_ : ndarray of shape (n_kept,)
        Index of each buffer sample's class in `seen_classes_`.
    buffer_priority_ : ndarray of shape (n_kept,)
        Random numbers; a class keeps the samples with the highest.
    buffer_held_out_ : ndarray of shape (n_kept,)
        Whether a sample of the buffer is only used for calibration, and never trained on.
    seed_ : int
        Seed drawn from `random_state`.

    References
    ----------
    Terres-Escudero, Del Ser, Garcia-Bringas, CoLLAs 2024, arXiv:2409.07387.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> model = SFFAClassifier(max_iter=20, random_state=0).fit(X, y)
    >>> model.predict(X[:3])
    array([0, 0, 0])
    """

    logit_scale: float = 6.0
    eps: float = 1.0

    _rule: ClassVar = staticmethod(rules.sffa)
    _rule_numbers: ClassVar = ("logit_scale", "eps")


# scikit-learn requires that invalid parameters are accepted here and rejected in `fit`, so the
# tests' type checker, which would check the dataclass's fields, is turned off.
@no_type_check
@dataclass(eq=False, repr=False, kw_only=True)
class FFAClassifier(ForwardOnlyClassifier):
    """Classifier and transformer trained by the Forward-Forward Algorithm.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int, default=(200,)
        Number of units of each hidden layer.
    activation : {"relu", "sigmoid", "tanh"}, default="relu"
        Activation function of the hidden layers.
    winners : int or None, default=None
        Number of units that stay active in each half of a layer; None keeps all.
    negatives : {"uniform", "hard", "all"}, default="uniform"
        Wrong labels of each update: one at random, one drawn by the network's scores, or all.
    loss : {"bce", "softmax", "symba"}, default="bce"
        Loss of each layer; see `sffa_jax.losses`.
    code_size : int, default=100
        Number of features of a label's random code.
    code_scale : float, default=1.0
        Standard deviation of the code; a standardized feature has 1.
    learning_rate_init : float, default=1e-3
        Learning rate of Adam; constant.
    batch_size : int, default=32
        Number of samples of an update, including those of the buffer.
    max_iter : int, default=100
        Largest number of passes of `fit`.
    partial_iter : int, default=1
        Number of passes of one call of `partial_fit`. If a class comes in a single call, use as
        many passes as `fit` needs.
    buffer_size : int, default=500
        Number of samples kept for `partial_fit`, the same number per class. They are kept, and
        saved, as given. Without a buffer (0), new classes overwrite old ones.
    random_state : int, RandomState or None, default=None
        Seed of codes, weights, the order of samples, the buffer and the held-out samples.
    alpha : float, default=0.0
        Weight decay, decoupled from the gradient (AdamW): an update shrinks each kernel by
        `learning_rate_init * alpha`.
    class_weight : dict, "balanced" or None, default=None
        Weights of the classes; factors of `sample_weight`. "balanced" weighs each class by the
        inverse of its frequency in the given samples.
    validation_fraction : float, default=0.1
        Fraction of each class that is held out to calibrate probabilities, and for early stopping.
        With 0, all samples are trained on and probabilities are overconfident.
    early_stopping : bool, default=False
        Whether `fit` stops if the accuracy on the held-out samples does not improve, and returns to
        the best pass.
    n_iter_no_change : int, default=10
        Number of passes without improvement after which `early_stopping` ends training.
    tol : float, default=1e-4
        Smallest increase of the accuracy that counts as an improvement.
    warm_start : bool, default=False
        Whether `fit` continues from the weights, label codes and classes of the previous fit.
    verbose : bool, default=False
        Whether to print loss and validation accuracy of each pass.
    logit_scale : float, default=20.0
        Factor on the logits; see `sffa_jax.rules.ffa`.
    threshold : float, default=0.3
        Mean squared activity at which the logit is 0.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Sorted labels.
    seen_classes_ : ndarray of shape (n_seen,)
        Labels with samples so far, in order of arrival.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of str
        Names of the features, if `X` has names.
    n_iter_ : int
        Number of passes so far.
    loss_curve_ : list of float
        Mean loss of each pass, in nats, over updates and layers.
    validation_scores_ : list of float
        Accuracy on the held-out samples after each pass with early stopping.
    temperature_ : float
        Divisor of the summed logits that calibrates the probabilities; 1 if fewer than 10 samples
        were held out.
    layers_ : tuple
        Parameters and optimizer state of each layer.
    label_codes_ : ndarray of shape (n_seen, code_size)
        Label codes; two rows if only one class was seen.
    capacity_ : int
        Number of label codes that programs are compiled for.
    mean_ : ndarray of shape (n_features,)
        Mean of all samples so far.
    scale_ : ndarray of shape (n_features,)
        Standard deviation of all samples so far.
    n_samples_seen_ : int
        Number of samples so far.
    buffer_X_ : ndarray of shape (n_kept, n_features)
        Samples of the buffer.
    buffer_class_index_ : ndarray of shape (n_kept,)
        Index of each buffer sample's class in `seen_classes_`.
    buffer_priority_ : ndarray of shape (n_kept,)
        Random numbers; a class keeps the samples with the highest.
    buffer_held_out_ : ndarray of shape (n_kept,)
        Whether a sample of the buffer is only used for calibration, and never trained on.
    seed_ : int
        Seed drawn from `random_state`.

    References
    ----------
    Hinton 2022, arXiv:2212.13345.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> model = FFAClassifier(max_iter=20, random_state=0).fit(X, y)
    >>> model.predict(X[:3])
    array([0, 0, 0])
    """

    logit_scale: float = 20.0
    threshold: float = 0.3

    _rule: ClassVar = staticmethod(rules.ffa)
    _rule_numbers: ClassVar = ("logit_scale", "threshold")
