"""The fields of a record about a run's predictions."""

import base64
import dataclasses
import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from experiments.harness import predictions as harness
from sffa_jax import data
from sffa_jax.analysis.precision import predictions

IMAGES = np.arange(4 * 6, dtype=np.uint8).reshape(4, 2, 3)
LABELS = np.array([0, 1, 1, 0])
DATASET = data.Dataset("four", IMAGES, LABELS, IMAGES, LABELS, ("a", "b", "c"), "here")
PROBABILITIES = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.9, 0.05, 0.05], [0.2, 0.2, 0.6]])


def predicted(scores):
    """NumPy arrays, as a trainer hands them over."""
    scores, labels = jnp.asarray(scores, jnp.float32), jnp.asarray(LABELS)
    return jax.device_get(jax.jit(predictions)(scores, labels))


@pytest.fixture(scope="module")
def record():
    return harness.describe(predicted(np.log(PROBABILITIES)), DATASET)


def test_measures_by_hand(record):
    assert record["nll"] == pytest.approx(-np.log([0.7, 0.8, 0.05, 0.2]).mean(), rel=1e-5)
    # One image in each bin: confidence minus accuracy.
    assert record["ece"] == pytest.approx((0.3 + 0.2 + 0.9 + 0.6) / 4, abs=1e-5)
    assert record["class_accuracies"] == [0.5, 0.5, None]
    assert harness.unpack_bits(record["correct"]).tolist() == [True, True, False, False]
    assert record["confusion"] == [[1, 0, 1], [1, 1, 0], [0, 0, 0]]
    bins = np.array(record["reliability"])
    np.testing.assert_allclose(
        bins[[9, 10, 12, 13]],
        [[0.6, 0, 0.25], [0.7, 1, 0.25], [0.8, 1, 0.25], [0.9, 0, 0.25]],
        atol=1e-5,
    )


def test_the_most_wrong_images_come_first(record):
    assert [image["index"] for image in record["worst"]] == [2, 3, 0, 1]
    first = record["worst"][0]
    assert (first["label"], first["predicted"]) == (1, 0)
    assert first["probability"] == pytest.approx(0.9, rel=1e-5)
    picture = Image.open(io.BytesIO(base64.b64decode(first["png"])))
    np.testing.assert_array_equal(np.asarray(picture), IMAGES[2])


def test_many_classes_leave_the_matrix_out(monkeypatch):
    monkeypatch.setattr(harness, "MOST_CLASSES", 2)
    blank = np.zeros((4, 200, 100), np.uint8)
    large = dataclasses.replace(DATASET, train_images=blank, test_images=blank)
    record = harness.describe(predicted(np.zeros((4, 3))), large)
    assert "confusion" not in record
    assert Image.open(io.BytesIO(base64.b64decode(record["worst"][0]["png"]))).size == (32, 64)


def test_scores_that_are_no_logits_have_no_calibration(record):
    found = harness.describe(predicted(np.log(PROBABILITIES)), DATASET, probable=False)
    assert record.keys() - found.keys() == {"nll", "ece", "reliability"}
    assert {image["probability"] for image in found["worst"]} == {None}
    assert found["confusion"] == record["confusion"]
