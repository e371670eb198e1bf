"""Estimators on inputs of any kind: finite probabilities, or a sentence on what is wrong."""

import warnings

import numpy as np
import pytest
import scipy.sparse

from sffa_jax.sklearn import FFAClassifier, SFFAClassifier
from soak.campaign import campaign

pytestmark = pytest.mark.slow
SHAPE = (24, 4)


def features(rng):
    """A matrix, mostly of SHAPE, in one of many forms."""
    x = rng.normal(size=SHAPE)
    forms = {
        "plain": lambda: x,
        "float32": lambda: x.astype(np.float32),
        "uint8": lambda: rng.integers(0, 256, SHAPE).astype(np.uint8),
        "bool": lambda: x > 0,
        "big-endian": lambda: x.astype(">f8"),
        "column order": lambda: np.asfortranarray(x),
        "list": lambda: x.tolist(),
        "huge": lambda: x * 1e300,
        "large": lambda: x * 1e30,
        "tiny": lambda: x * 1e-300,
        "offset": lambda: x + 1e12,
        "scales": lambda: x * np.array([1e-8, 1.0, 1e8, 1e15]),
        "constant": lambda: np.ones(SHAPE),
        "nan": lambda: np.where(rng.random(SHAPE) < 0.05, np.nan, x),
        "inf": lambda: np.where(rng.random(SHAPE) < 0.05, np.inf, x),
        "vector": lambda: x[:, 0],
        "cube": lambda: x[:, :, None],
        "no rows": lambda: x[:0],
        "no columns": lambda: x[:, :0],
        "one row": lambda: x[:1],
        "text": lambda: x.astype(str),
        "words": lambda: np.full(SHAPE, "word"),
        "object": lambda: x.astype(object),
        "complex": lambda: x + 1j,
        "sparse": lambda: scipy.sparse.csr_matrix(x),
        "masked": lambda: np.ma.masked_array(x, x > 1),
        "none": lambda: None,
    }
    name = str(rng.choice(list(forms) + ["plain"] * 15))
    return name, forms[name]()


def labels(rng):
    """Labels, mostly of SHAPE's rows, in one of many forms."""
    y = rng.permutation(np.arange(SHAPE[0]) % 3)
    forms = {
        "plain": lambda: y,
        "words": lambda: np.array(["a", "b", "c"])[y],
        "objects": lambda: np.array(["a", "b", "c"], object)[y],
        "floats": lambda: y.astype(float),
        "fractions": lambda: y + 0.5,
        "nan": lambda: np.where(y == 2, np.nan, y),
        "negative": lambda: y - 5,
        "large": lambda: y * 2**40,
        "bool": lambda: y > 0,
        "uint8": lambda: y.astype(np.uint8) * 127,
        "column": lambda: y[:, None],
        "one-hot": lambda: np.eye(3)[y],
        "one class": lambda: y * 0,
        "short": lambda: y[:5],
        "list": lambda: y.tolist(),
        "mixed": lambda: np.array([1, "a", None] * 8, object),
        "none": lambda: None,
    }
    name = str(rng.choice(list(forms) + ["plain"] * 8))
    return name, forms[name]()


PARAMETERS = {
    "hidden_layer_sizes": [(6,), (6,), (6,), 6, (6, 4), (0,), (-2,), (3,), "x", (), None],
    "max_iter": [2, 2, 2, 0, -1, 1.5, "x"],
    "batch_size": [8, 8, 8, 1000, 0, "auto", None],
    "learning_rate_init": [1e-3, 1e-3, 0.0, 1e10, -1, float("nan")],
    "random_state": [0, 0, None, -1, 2**40, "x"],
    "buffer_size": [10, 0, -1, 3],
}


def test_estimator_inputs():
    def attempt(rng, number):
        kind = (SFFAClassifier, FFAClassifier)[number % 2]
        parameters = {"hidden_layer_sizes": (6,), "max_iter": 2, "batch_size": 8}
        if rng.random() < 0.3:
            name = str(rng.choice(list(PARAMETERS)))
            parameters[name] = PARAMETERS[name][rng.integers(len(PARAMETERS[name]))]
        (x_name, x), (y_name, y) = features(rng), labels(rng)
        partial = rng.random() < 0.3
        what = f"{kind.__name__} {parameters} x: {x_name} y: {y_name} partial: {partial}"
        try:
            model = kind(**parameters)
            before = None
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                try:
                    if partial:
                        good = np.random.default_rng(0)
                        start = good.normal(size=SHAPE), np.arange(SHAPE[0]) % 3
                        model.partial_fit(*start, classes=[0, 1, 2])
                        before = model.predict_proba(start[0])
                        model.partial_fit(x, y)
                    else:
                        model.fit(x, y)
                    probabilities = model.predict_proba(x)
                    predicted = model.predict(x)
                except (ValueError, TypeError) as error:
                    message = str(error)
                    assert message
                    if before is not None:
                        np.testing.assert_array_equal(model.predict_proba(start[0]), before)
                    return "refused"
            assert np.isfinite(probabilities).all()
            np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-4)
            assert set(np.asarray(predicted).tolist()) <= set(model.classes_.tolist())
        except Exception as error:
            raise AssertionError(what) from error
        return "fitted"

    campaign("estimators", 200, attempt, seconds=60)
