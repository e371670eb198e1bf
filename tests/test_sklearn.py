"""The scikit-learn estimators: scikit-learn's own checks, and what is ours on top of them."""

import inspect
import pickle
import re

import joblib
import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_breast_cancer, load_digits, load_iris
from sklearn.exceptions import NotFittedError
from sklearn.externals._numpydoc.docscrape import NumpyDocString
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from sffa_jax.sklearn import FFAClassifier, SFFAClassifier
from sffa_jax.sklearn.batches import draw_batches, total_weights
from sffa_jax.sklearn.calibration import temperature
from sffa_jax.sklearn.programs import score_rows, train_pass

BOTH = pytest.mark.parametrize("kind", [SFFAClassifier, FFAClassifier])
METHODS = ("predict", "predict_proba", "decision_function", "transform")


def expected_to_fail(_):
    """Weights draw samples, so that they equal repetition on average only, as in MLPClassifier."""
    return {"check_sample_weight_equivalence_on_dense_data": "samples are drawn"}


# Fewer passes and units than by default, for time alone.
SMALL = {"max_iter": 20, "hidden_layer_sizes": (40,), "code_size": 20}


@parametrize_with_checks([SFFAClassifier(**SMALL)], expected_failed_checks=expected_to_fail)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


# What differs is the rule, which no check is about.
@pytest.mark.slow
@parametrize_with_checks([FFAClassifier(**SMALL)], expected_failed_checks=expected_to_fail)
def test_scikit_learn_checks_of_ffa(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def digits():
    return train_test_split(*load_digits(return_X_y=True), test_size=0.3, random_state=0)


@pytest.fixture(scope="module")
def iris():
    return load_iris(return_X_y=True)


def small(kind, **parameters):
    """Of the checks' shapes, whose programs it shares."""
    return kind(**(SMALL | {"random_state": 0} | parameters))


DEEP = {"hidden_layer_sizes": (20, 10), "winners": 3}


def assert_same(first, second, X):
    for method in METHODS:
        np.testing.assert_array_equal(getattr(first, method)(X), getattr(second, method)(X))


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


def halves(kind, digits, **parameters):
    """Accuracy on the first and on the second five classes, learned one half after the other."""
    train, test, train_labels, test_labels = digits
    model = kind(partial_iter=20, random_state=0, **parameters)
    for half in (train_labels < 5, train_labels >= 5):
        model.partial_fit(train[half], train_labels[half])
    first = test_labels < 5
    return [model.score(test[half], test_labels[half]) for half in (first, ~first)]


@BOTH
def test_a_buffer_prevents_forgetting(kind, digits):
    first, second = halves(kind, digits)
    assert min(first, second) > 0.92
    first, second = halves(kind, digits, buffer_size=0)
    assert first < 0.3
    assert second > 0.9


def test_the_buffer_is_balanced_and_holds_given_samples(digits):
    train, _, labels, _ = digits
    model = SFFAClassifier(buffer_size=100, max_iter=1, random_state=0)

    def counts():
        held = model.buffer_held_out_
        return [np.bincount(model.buffer_class_index_[part]).tolist() for part in (~held, held)]

    model.fit(train[labels < 5], labels[labels < 5])
    assert counts() == [[18] * 5, [2] * 5]
    model.partial_fit(train[labels >= 5], labels[labels >= 5])
    assert counts() == [[9] * 10, [1] * 10]
    kept = model.seen_classes_[model.buffer_class_index_]
    for row, label in zip(model.buffer_X_, kept, strict=True):
        assert label in labels[np.all(train == row, axis=1)]
    # A class of a single sample leaves its share to the others, and is never held out.
    few = np.r_[np.flatnonzero(labels == 0), np.flatnonzero(labels == 1)[:1]]
    model.fit(train[few], labels[few])
    assert counts()[0] == [89, 1]


def test_classes_come_in_any_order_and_without_notice(iris):
    X, y = iris
    names = np.array(["virginica", "b", "setosa"])[y]
    model = small(SFFAClassifier, partial_iter=40)
    model.partial_fit(X[y == 2], names[y == 2])
    assert set(model.predict(X)) == {"setosa"}
    assert model.predict_proba(X).tolist() == [[1.0]] * len(X)
    model.partial_fit(X[y == 0], names[y == 0])
    assert model.decision_function(X).shape == (len(X),)
    model.partial_fit(X[y == 1], names[y == 1])
    assert model.classes_.tolist() == ["b", "setosa", "virginica"]
    assert model.seen_classes_.tolist() == ["setosa", "virginica", "b"]
    assert model.score(X, names) > 0.85


def test_classes_hinted_at_have_a_column_and_no_probability(iris):
    X, y = iris
    model = small(SFFAClassifier).partial_fit(X[y < 2], y[y < 2], classes=[0, 1, 2, 7])
    probability = model.predict_proba(X)
    assert model.classes_.tolist() == [0, 1, 2, 7]
    assert probability.shape == (len(X), 4)
    assert not probability[:, 2:].any()
    np.testing.assert_allclose(probability.sum(axis=1), 1)
    # The hint changes nothing in what is learned.
    plain = small(SFFAClassifier).partial_fit(X[y < 2], y[y < 2])
    np.testing.assert_array_equal(plain.predict_proba(X), probability[:, :2])


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


def test_a_partial_fit_that_fails_changes_nothing(iris):
    X, y = iris
    model = small(SFFAClassifier, max_iter=3).fit(X[y < 2], y[y < 2])
    expected = small(SFFAClassifier, max_iter=3).fit(X[y < 2], y[y < 2])
    before = pickle.dumps(vars(model))
    message = r"`X` must lie within 1e\+06 standard deviations .* got 1e\+300 in row 0, column 0"
    with pytest.raises(ValueError, match=message):
        model.partial_fit(np.full((2, 4), 1e300) * [[1], [-1]], [2, 0])
    with pytest.raises(ValueError, match="did not stay finite"):
        model.set_params(learning_rate_init=1e30).partial_fit(X, y)
    model.set_params(learning_rate_init=1e-3)
    with pytest.raises(ValueError, match="`y` must contain no masked values, got 1"):
        model.partial_fit(X[:2], np.ma.array([0, 5], mask=[0, 1]))
    with pytest.raises(ValueError, match="X has 3 features"):
        model.partial_fit(X[:, :3], y + 7)
    assert pickle.dumps(vars(model)) == before
    assert_same(model.partial_fit(X, y), expected.partial_fit(X, y), X)


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


def test_a_class_hinted_at_can_be_calibrated(iris):
    X, y = iris
    model = small(SFFAClassifier).partial_fit(X[y < 2], y[y < 2], classes=[0, 1, 2])
    assert np.isfinite(model.decision_function(X)).all()
    calibrated = CalibratedClassifierCV(FrozenEstimator(model)).fit(X, y)
    assert np.isfinite(calibrated.predict_proba(X)).all()


def test_weights_of_samples_and_classes(iris):
    X, y = iris
    rows = [0, 1, 60, 70, 120]
    rng = np.random.default_rng(0)
    weights = np.array([0.5, 1.5, 2.0, 0.0, 1.0])
    drawn = draw_batches(rng, 5, 0, 5, 5, weights)
    assert np.bincount(drawn.ravel(), minlength=5)[[2, 3, 4]].tolist() == [2, 0, 1]
    assert total_weights("f", X[rows], y[rows], None, "balanced").tolist() == pytest.approx(
        [5 / 6, 5 / 6, 5 / 6, 5 / 6, 5 / 3]
    )
    kept, removed = small(SFFAClassifier, max_iter=3), small(SFFAClassifier, max_iter=3)
    ones = np.where(y == 1, 0.0, 2.0)
    assert_same(kept.fit(X, y, ones), removed.fit(X[y != 1], y[y != 1], ones[y != 1]), X)
    for wrong in ("even", {0: -1.0}, {0: 0, 1: 0, 2: 0}):
        with pytest.raises(ValueError, match="`class_weight` must"):
            small(SFFAClassifier, class_weight=wrong).fit(X, y)


def test_early_stopping_returns_to_the_best_pass(iris, capsys):
    X, y = iris
    options = {"early_stopping": True, "n_iter_no_change": 3, "validation_fraction": 0.3}
    model = small(SFFAClassifier, verbose=True, **options).fit(X, y)
    scores = model.validation_scores_
    assert len(scores) == model.n_iter_ == int(np.argmax(scores)) + 4 < 20
    first = capsys.readouterr().out.splitlines()[0]
    assert re.fullmatch(r"SFFAClassifier: pass 1, loss \d\.\d+, validation accuracy 0\.\d+", first)
    best = small(SFFAClassifier, max_iter=int(np.argmax(scores)) + 1, validation_fraction=0.3)
    assert_same(best.fit(X, y), model, X)
    with pytest.raises(ValueError, match="`validation_fraction` must be above 0 with early_stop"):
        small(SFFAClassifier, early_stopping=True, validation_fraction=0.0).fit(X, y)


def test_warm_starts_and_weight_decay(iris):
    X, y = iris
    model = small(SFFAClassifier, warm_start=True, max_iter=10).fit(X, y)
    assert model.fit(X, y).n_iter_ == 20
    assert model.loss_curve_[10] < 0.8 * model.loss_curve_[0]
    norms = [
        np.square(
            small(SFFAClassifier, alpha=alpha).fit(X, y).layers_[0].params["kernels"]["input"]
        )
        for alpha in (0.0, 10.0)
    ]
    assert norms[1].sum() < 0.9 * norms[0].sum()


def test_a_stream_of_new_classes_compiles_once(digits):
    train, _, labels, _ = digits
    model = SFFAClassifier(random_state=0)
    for label in range(10):
        model.partial_fit(train[labels == label][:40], labels[labels == label][:40])
        model.predict(train[:2])
        if label == 2:  # from the second call on, weights are arrays of the host
            programs = train_pass._cache_size(), score_rows._cache_size()
    assert (train_pass._cache_size(), score_rows._cache_size()) == programs


@BOTH
def test_jupyter_shows_what_parameters_and_attributes_mean(kind, iris):
    model = small(kind, max_iter=1).fit(*iris)
    shown = model._repr_html_()
    documented = NumpyDocString(inspect.getdoc(kind))
    names = {part: {x.name for x in documented[part]} for part in ("Parameters", "Attributes")}
    assert names["Parameters"] == set(model.get_params())
    fitted = {name for name in vars(model) if name.endswith("_")}
    assert fitted <= names["Attributes"]
    for text in ("Weight decay, decoupled", "Divisor of the summed logits"):
        assert text in shown
