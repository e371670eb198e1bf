"""The scikit-learn estimators: scikit-learn's own checks, and what is ours on top of them."""

import inspect
import pickle

import jax
import joblib
import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax
from sklearn.datasets import load_breast_cancer
from sklearn.exceptions import NotFittedError
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from sklearn.utils.estimator_checks import parametrize_with_checks
from small_estimators import BOTH, SMALL, assert_same, digits, iris, small

from sffa_jax.sklearn import FFAClassifier, SFFAClassifier
from sffa_jax.sklearn.calibration import temperature

__all__ = ["digits", "iris"]


def expected_to_fail(_):
    """Weights draw samples, so that they equal repetition on average only, as in MLPClassifier."""
    return {"check_sample_weight_equivalence_on_dense_data": "samples are drawn"}


@parametrize_with_checks([SFFAClassifier(**SMALL)], expected_failed_checks=expected_to_fail)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


# What differs is the rule, which no check is about.
@pytest.mark.slow
@parametrize_with_checks([FFAClassifier(**SMALL)], expected_failed_checks=expected_to_fail)
def test_scikit_learn_checks_of_ffa(estimator, check):
    check(estimator)


DEEP = {"hidden_layer_sizes": (20, 10), "winners": 3}


@BOTH
def test_learns_digits(kind, digits):
    train, test, train_labels, test_labels = digits
    fitted = kind(max_iter=20, random_state=0).fit(train, train_labels)
    assert fitted.score(test, test_labels) > 0.95
    assert fitted.loss_curve_[-1] < 0.5 * fitted.loss_curve_[0]
    assert fitted.n_iter_ == len(fitted.loss_curve_) == 20


@BOTH
def test_any_scale_and_offset_of_features_will_do(kind, iris):
    X, y = iris
    scale = np.array([1e-6, 1.0, 1e3, 1e9])
    accuracies = [small(kind).fit(x, y).score(x, y) for x in (X, 1e9 + X, X * scale)]
    assert min(accuracies) > 0.8
    assert np.ptp(accuracies) < 0.05


def test_a_class_has_its_code_whatever_the_number_of_classes(digits):
    train, _, labels, _ = digits
    few, all_ = (
        SFFAClassifier(max_iter=1, random_state=0)
        .fit(train[labels < n], labels[labels < n])
        .label_codes_
        for n in (5, 10)
    )
    assert all_.shape == (10, 100)
    np.testing.assert_array_equal(few, all_[:5])


def test_probabilities_are_the_softmax_of_the_sums(iris):
    X, y = iris
    model = small(SFFAClassifier, **DEEP).fit(X, y)
    sums = model.decision_function(X)
    np.testing.assert_allclose(model.predict_proba(X), softmax(sums, axis=1))
    assert log_loss(y, model.predict_proba(X)) < np.log(3)
    latents = model.transform(X)
    assert latents.shape == (len(X), 30)
    # Three winners in each half of each layer.
    assert np.max(np.sum(latents > 0, axis=1)) <= 12
    binary = small(SFFAClassifier).fit(X, y == 0)
    difference = binary.decision_function(X)
    np.testing.assert_allclose(binary.predict_proba(X)[:, 1], 1 / (1 + np.exp(-difference)))
    np.testing.assert_array_equal(binary.predict(X), difference > 0)


def test_latents_are_the_activity_under_the_predicted_label(iris):
    X, y = iris
    model = small(SFFAClassifier).fit(X, y)
    kernels = model.layers_[0].params["kernels"]
    x = (X - X.mean(axis=0)) / X.std(axis=0)
    label = model.label_codes_[model.predict(X)]
    expected = np.maximum(x @ kernels["input"][:4] + label @ kernels["label"], 0)
    np.testing.assert_allclose(model.transform(X), expected, atol=1e-4)


@BOTH
def test_in_pipelines_searches_and_cross_validation(kind, iris):
    X, y = iris
    pipeline = make_pipeline(MinMaxScaler(), small(kind, max_iter=60))
    assert np.mean(cross_val_score(pipeline, X, y, cv=3)) > 0.85
    name = f"{kind.__name__.lower()}__learning_rate_init"
    search = GridSearchCV(pipeline, {name: np.array([1e-7, 1e-3])}, cv=2).fit(X, y)
    assert search.best_params_[name] == 1e-3
    names = search.best_estimator_.get_feature_names_out()
    assert names[0] == f"{kind.__name__.lower()}0"
    assert len(names) == 40


def test_the_same_random_state_gives_the_same(iris):
    X, y = iris
    first, second, other = (
        small(SFFAClassifier, random_state=seed).fit(X, y) for seed in (3, 3, 4)
    )
    assert_same(first, second, X)
    assert np.any(first.transform(X) != other.transform(X))
    generators = [np.random.RandomState(3) for _ in range(2)]
    assert_same(*(small(SFFAClassifier, random_state=g).fit(X, y) for g in generators), X)


@pytest.mark.parametrize(("kind", "parameters"), [(SFFAClassifier, DEEP), (FFAClassifier, {})])
def test_saved_and_loaded_it_predicts_and_learns_on_the_same(kind, parameters, iris, tmp_path):
    X, y = iris
    X = pd.DataFrame(X, columns=list("abcd"))
    names = np.array(["no", "yes", "perhaps"])[y]
    model = small(kind, **parameters).fit(X[y < 2], names[y < 2])
    model.save(tmp_path / "model")
    joblib.dump(model, tmp_path / "joblib")
    copies = [
        kind.load(tmp_path / "model"),
        joblib.load(tmp_path / "joblib"),
        pickle.loads(pickle.dumps(model)),
    ]
    assert [file.name for file in sorted(tmp_path.iterdir())] == ["joblib", "model"]
    for copy in copies:
        assert copy.get_params() == model.get_params()
        assert_same(model, copy, X)
    model.partial_fit(X, names)
    for copy in copies:
        copy.partial_fit(X, names)
        assert_same(model, copy, X)
        assert copy.loss_curve_ == model.loss_curve_


def test_the_weights_of_classes_that_are_numbers_are_saved(iris, tmp_path):
    X, y = iris
    weights = dict.fromkeys(np.unique(y), 2.0)  # its keys are NumPy's numbers
    small(SFFAClassifier, max_iter=1, class_weight=weights).fit(X, y).save(tmp_path / "model")
    copy = SFFAClassifier.load(tmp_path / "model")
    assert copy.class_weight == weights
    copy.partial_fit(X, y)


def test_functions_as_parameters_are_not_saved(iris, tmp_path):
    model = small(SFFAClassifier, max_iter=1, activation=jax.nn.gelu).fit(*iris)
    with pytest.raises(
        TypeError, match="save: `estimator` must have parameters .* got <function ge"
    ):
        model.save(tmp_path / "model")
    assert not list(tmp_path.iterdir())
    small(SFFAClassifier, max_iter=1, hidden_layer_sizes=range(4, 8, 2)).fit(*iris).save(
        tmp_path / "model"
    )
    assert SFFAClassifier.load(tmp_path / "model").hidden_layer_sizes == (4, 6)


def test_files_that_are_none_of_ours_are_rejected(iris, tmp_path):
    X, y = iris
    model = small(SFFAClassifier, max_iter=1).fit(X, y)
    model.save(tmp_path / "model")
    with pytest.raises(ValueError, match="load: `path` must hold a FFAClassifier of format 3"):
        FFAClassifier.load(tmp_path / "model")
    whole = (tmp_path / "model").read_bytes()
    middle = len(whole) // 2
    for damaged in (b"", b"text", whole[:middle], whole[:middle] + b"?" + whole[middle + 1 :]):
        (tmp_path / "damaged").write_bytes(damaged)
        with pytest.raises(ValueError, match="be an undamaged file that `save` wrote"):
            SFFAClassifier.load(tmp_path / "damaged")
    np.save(tmp_path / "array.npy", X)
    np.savez(tmp_path / "arrays.npz", X)
    for other in ("array.npy", "arrays.npz"):
        with pytest.raises(ValueError, match="be an undamaged file that `save` wrote"):
            SFFAClassifier.load(tmp_path / other)
    with pytest.raises(FileNotFoundError):
        SFFAClassifier.load(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="`random_state` must be a number or None"):
        model.set_params(random_state=np.random.RandomState(0)).save(tmp_path / "model")
    with pytest.raises(NotFittedError):
        small(SFFAClassifier).save(tmp_path / "model")


@pytest.mark.parametrize(
    ("kind", "parameters", "message"),
    [
        (SFFAClassifier, {"max_iter": 0}, "SFFAClassifier: `max_iter` must be at least 1"),
        (SFFAClassifier, {"batch_size": 0}, "`batch_size` must be at least 1"),
        (SFFAClassifier, {"buffer_size": -1}, "`buffer_size` must be at least 0"),
        (
            SFFAClassifier,
            {"learning_rate_init": 0.0},
            "`learning_rate_init` must be a number above",
        ),
        (SFFAClassifier, {"code_scale": -1.0}, "`code_scale` must be a number above 0"),
        (SFFAClassifier, {"hidden_layer_sizes": (7,)}, "even number of units"),
        (SFFAClassifier, {"hidden_layer_sizes": ()}, "name at least one width"),
        (SFFAClassifier, {"winners": 21}, "`winners` must be at most half"),
        (SFFAClassifier, {"negatives": "none"}, "`negatives` must be one of all, hard, uniform"),
        (SFFAClassifier, {"loss": "hinge"}, "`loss` must be one of"),
        (SFFAClassifier, {"eps": 0.0}, "`eps` must be a number above 0"),
        (FFAClassifier, {"threshold": 0.0}, "`threshold` must be a number above 0"),
        (FFAClassifier, {"logit_scale": float("nan")}, "`logit_scale` must be a number above 0"),
        (FFAClassifier, {"learning_rate_init": 1e30}, "did not stay finite"),
    ],
)
def test_parameters_out_of_range_are_rejected_in_fit(kind, parameters, message, iris):
    model = small(kind, **parameters)
    with pytest.raises(ValueError, match=message):
        model.fit(*iris)
    with pytest.raises(NotFittedError):
        model.predict(iris[0])


def test_a_fit_that_fails_leaves_no_older_one_behind(iris):
    model = small(FFAClassifier).fit(*iris)
    with pytest.raises(ValueError, match="did not stay finite"):
        model.set_params(learning_rate_init=1e30).fit(*iris)
    with pytest.raises(NotFittedError):
        model.predict(iris[0])


def test_no_whole_number_is_a_type_error(iris):
    for wrong in ({"max_iter": 2.5}, {"batch_size": "auto"}):
        with pytest.raises(TypeError, match="must be a whole number"):
            small(FFAClassifier, **wrong).fit(*iris)
    with pytest.raises(TypeError, match="FFAClassifier: `logit_scale` must be a number, got 'a'"):
        small(FFAClassifier, logit_scale="a").fit(*iris)


def test_features_of_extreme_scales_give_finite_probabilities(iris):
    X, y = iris
    model = small(SFFAClassifier).fit(X * [1e300, 1e-300, 1, 1e150], y)
    assert model.score(X * [1e300, 1e-300, 1, 1e150], y) > 0.85
    for kind in (SFFAClassifier, FFAClassifier):
        model = small(kind, max_iter=3).fit(X, y)
        assert np.isfinite(model.predict_proba(np.full((1, 4), -1e300))).all()
        # One such value would make all others the same.
        for method in (small(kind).fit, small(kind).partial_fit, model.partial_fit):
            with pytest.raises(ValueError, match=r"median absolute .* got 1e\+300 in row 150"):
                method(np.vstack([X, np.full(4, 1e300)]), [*y, 0])


def test_probabilities_are_calibrated():
    X, y = load_breast_cancer(return_X_y=True)
    X, test, y, test_labels = train_test_split(X, y, stratify=y, random_state=0)
    model = SFFAClassifier(random_state=0).fit(X, y)
    calibrated = log_loss(test_labels, model.predict_proba(test))
    model.temperature_ = 1.0
    assert calibrated < 0.12 < log_loss(test_labels, model.predict_proba(test))


def test_the_temperature_fits_probabilities_and_survives_few_samples():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(20_000, 3))
    drawn = np.argmax(scores / 3 + rng.gumbel(size=scores.shape), axis=1)
    assert temperature(scores, drawn) == pytest.approx(3, rel=0.1)
    right = np.eye(3)[np.arange(12) % 3] * 20
    assert 1 < temperature(right, np.arange(12) % 3) < 10
    assert temperature(right[:, :1], np.zeros(12, int)) == 1


@BOTH
def test_jupyter_shows_what_parameters_and_attributes_mean(kind, iris):
    # scikit-learn before 1.8 shows no descriptions.
    docscrape = pytest.importorskip("sklearn.externals._numpydoc.docscrape")
    model = small(kind, max_iter=1).fit(*iris)
    shown = model._repr_html_()
    documented = docscrape.NumpyDocString(inspect.getdoc(kind))
    names = {part: {x.name for x in documented[part]} for part in ("Parameters", "Attributes")}
    assert names["Parameters"] == set(model.get_params())
    fitted = {name for name in vars(model) if name.endswith("_")}
    assert fitted <= names["Attributes"]
    for text in ("Weight decay, decoupled", "Divisor of the summed logits"):
        assert text in shown
