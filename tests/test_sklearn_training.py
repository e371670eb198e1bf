"""The estimators in training: streams of classes, buffers, weights, early stopping."""

import pickle
import re

import numpy as np
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from small_estimators import BOTH, assert_same, digits, iris, small

from sffa_jax.sklearn import SFFAClassifier, training
from sffa_jax.sklearn.batches import draw_batches, keep_balanced, total_weights
from sffa_jax.sklearn.programs import score_rows, train_pass

__all__ = ["digits", "iris"]


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


def test_a_stream_may_begin_with_almost_equal_samples():
    model = small(SFFAClassifier)
    for row, label in (([100.0, 1], 0), ([100.01, 2], 1), ([1e5, 1], 0)):
        model.partial_fit([row], [label])
    assert model.mean_[0] == pytest.approx(np.mean([100.0, 100.01, 1e5]))
    with pytest.raises(ValueError, match=r"`X` must lie within 1e\+09 .* got 1e\+300 in row 0"):
        model.partial_fit([[1e300, 1]], [0])


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
    equal, without = small(SFFAClassifier, max_iter=3), small(SFFAClassifier, max_iter=3)
    assert_same(equal.fit(X, y, np.full(150, 0.3)), without.fit(X, y), X)
    with pytest.raises(ValueError, match="`sample_weight` must have, times .* up to 1e.308"):
        equal.fit(X, y, np.full(150, 1e308))
    with pytest.raises(ValueError, match="a finite sum above 0, got weights up to 0"):
        small(SFFAClassifier, class_weight={0: 0, 1: 1, 2: 1}).fit(X, y, y == 0)
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


def test_no_class_of_a_full_buffer_is_favored():
    """Four slots for three classes: the fourth goes to the sample with the highest priority."""
    class_index, priority = np.repeat([0, 1, 2], 2), np.array([0.9, 0.1, 0.8, 0.2, 0.7, 0.3])
    assert sorted(keep_balanced(class_index, priority, slots=4)) == [0, 2, 4, 5]


def test_other_layer_sizes_need_a_new_fit(iris):
    X, y = iris
    model = small(SFFAClassifier, max_iter=1, warm_start=True).fit(X, y)
    expected = model.predict(X)
    sizes = model.hidden_layer_sizes
    model.set_params(hidden_layer_sizes=(8, 8, 8))
    for call in (model.predict, model.transform):
        with pytest.raises(ValueError, match="as when the estimator was fitted, got .8, 8, 8."):
            call(X)
    with pytest.raises(ValueError, match="fit with warm_start=False"):
        model.partial_fit(X, y)
    model.set_params(hidden_layer_sizes=sizes)
    np.testing.assert_array_equal(model.predict(X), expected)
    model.set_params(hidden_layer_sizes=(8, 8, 8), warm_start=False).fit(X, y)
    assert model.transform(X).shape == (150, 24)


def test_the_buffer_prefers_samples_of_high_weight():
    X, y = np.random.default_rng(0).normal(size=(100, 4)), np.arange(100) % 2
    model = small(SFFAClassifier, max_iter=1, buffer_size=10, validation_fraction=0.0)
    model.fit(X, y, sample_weight=np.where(np.arange(100) < 20, 100, 0.1))
    kept = [np.flatnonzero((row == X).all(axis=1)).item() for row in model.buffer_X_]
    assert max(kept) < 20


def test_a_class_of_the_buffer_weighs_as_much_as_a_new_one(iris, monkeypatch):
    """Two earlier classes and a new one: two thirds of each batch come from the buffer."""
    sizes = []

    def draw(rng, num_new, num_kept, new_per_batch, batch_size, weights):
        sizes.append((new_per_batch, batch_size))
        return draw_batches(rng, num_new, num_kept, new_per_batch, batch_size, weights)

    X, y = iris
    model = small(SFFAClassifier, max_iter=1, batch_size=30).fit(X[y < 2], y[y < 2])
    monkeypatch.setattr(training, "draw_batches", draw)
    model.partial_fit(X[y == 2], y[y == 2])
    assert sizes == [(10, 30)]


def test_an_accuracy_within_the_tolerance_is_no_improvement(iris):
    stopping = {"early_stopping": True, "n_iter_no_change": 3}
    model = small(SFFAClassifier, tol=1.0, **stopping).fit(*iris)
    assert model.n_iter_ == 1 + 3
