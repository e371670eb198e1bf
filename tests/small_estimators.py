"""Estimators of few units, and the data that their tests share."""

import numpy as np
import pytest
from sklearn.datasets import load_digits, load_iris
from sklearn.model_selection import train_test_split

from sffa_jax.sklearn import FFAClassifier, SFFAClassifier

BOTH = pytest.mark.parametrize("kind", [SFFAClassifier, FFAClassifier])

METHODS = ("predict", "predict_proba", "decision_function", "transform")

# Fewer passes and units than by default, for time alone.
SMALL = {"max_iter": 20, "hidden_layer_sizes": (40,), "code_size": 20}


@pytest.fixture(scope="module")
def digits():
    return train_test_split(*load_digits(return_X_y=True), test_size=0.3, random_state=0)


@pytest.fixture(scope="module")
def iris():
    return load_iris(return_X_y=True)


def small(kind, **parameters):
    """Of the checks' shapes, whose programs it shares."""
    return kind(**(SMALL | {"random_state": 0} | parameters))


def assert_same(first, second, X):
    for method in METHODS:
        np.testing.assert_array_equal(getattr(first, method)(X), getattr(second, method)(X))
