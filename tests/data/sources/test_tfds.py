"""Sets that TFDS defines, prepared by it; here by builders of the tests that need no TensorFlow."""

import importlib.util
import io
import json

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from sffa_jax import data

RNG = np.random.default_rng(0)
COLOR = RNG.integers(0, 256, (12, 6, 5, 3)).astype(np.uint8)
GRAY = RNG.integers(0, 256, (12, 6, 5, 1)).astype(np.uint8)


def png(image):
    content = io.BytesIO()
    Image.fromarray(image.squeeze()).save(content, "png")
    return io.BytesIO(content.getvalue())


class ForeignSet(tfds.core.GeneratorBasedBuilder):
    """PNG images as TFDS's own sets store them."""

    VERSION = tfds.core.Version("2.1.0")
    BUILDER_CONFIGS = [  # noqa: RUF012
        tfds.core.BuilderConfig(name=name)
        for name in (
            "color",
            "gray",
            "numbers",
            "untested",
            "varying",
            "texts",
            "validated",
            "deep",
        )
    ]

    def _info(self):
        kind = self.builder_config.name
        shape = {"gray": (6, 5, 1), "varying": (None, None, 3)}.get(kind, (6, 5, 3))
        features = {
            "image": tfds.features.Image(shape=shape),
            "label": tfds.features.ClassLabel(names=["cat", "dog", "owl"]),
        }
        if kind == "deep":
            features["image"] = tfds.features.Tensor(shape=(6, 5, 3), dtype=np.float32)
        if kind == "numbers":
            features["label"] = tfds.features.Scalar(np.int64)
        if kind == "texts":
            features = {"text": tfds.features.Text()}
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, _):
        kind = self.builder_config.name
        other = {"untested": [], "validated": ["validation"]}.get(kind, ["test"])
        return {split: self._generate_examples(split) for split in ["train", *other]}

    def _generate_examples(self, split):
        kind = self.builder_config.name
        for i in range(12 if split == "train" else 5):
            image = (GRAY if kind == "gray" else COLOR)[i]
            stored = image.astype(np.float32) if kind == "deep" else png(image)
            yield i, {"text": "x"} if kind == "texts" else {"image": stored, "label": i % 3}


@pytest.fixture(autouse=True)
def folder(monkeypatch, tmp_path):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    return tmp_path


def prepare(folder, config, monkeypatch):
    """Prepares as the command in the error message does."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    return data.load(f"tfds:foreign_set/{config}")


def by_label(images, labels):
    return sorted(
        (int(label), image.tobytes()) for image, label in zip(images, labels, strict=True)
    )


@pytest.mark.parametrize(("config", "images"), [("color", COLOR), ("gray", GRAY[..., 0])])
def test_a_set_is_prepared_and_then_read(folder, monkeypatch, capsys, config, images):
    dataset = prepare(folder, config, monkeypatch)
    assert by_label(dataset.train_images, dataset.train_labels) == by_label(
        images, np.arange(12) % 3
    )
    assert dataset.test_images.shape == (5, *images.shape[1:])
    assert dataset.class_names == ("cat", "dog", "owl")
    assert dataset.source == f"TFDS foreign_set/{config}/2.1.0"
    assert capsys.readouterr().out == ""
    monkeypatch.undo()
    monkeypatch.setenv("TFDS_DATA_DIR", str(folder))
    for name in (f"tfds:foreign_set/{config}", f"tfds:foreign_set/{config}:2.1.0"):
        assert data.load(name, "no such folder").sha256 == dataset.sha256


def test_labels_without_names_and_a_validation_split(folder, monkeypatch):
    assert prepare(folder, "numbers", monkeypatch).class_names == ("0", "1", "2")
    validated = prepare(folder, "validated", monkeypatch)
    assert validated.source.endswith("tested on its validation split")
    assert len(validated.test_labels) == 5


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("untested", r"must have the splits train and test \(or validation\), got train"),
        ("varying", r"must have one shape, got \(None, None, 3\)"),
        ("deep", "must be uint8, got float32"),
        ("texts", "must have an image and a label, got the features text"),
    ],
)
def test_not_for_classification(folder, monkeypatch, config, message):
    with pytest.raises(data.DataError, match=message):
        prepare(folder, config, monkeypatch)


def test_without_tensorflow_it_is_said_what_to_do(folder, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(data.DataError) as failure:
        data.load("tfds:svhn_cropped")
    for part in (
        f"tfds:svhn_cropped is not prepared in {folder}",
        "pip install tensorflow",
        "tfds.builder('svhn_cropped', file_format='array_record').download_and_prepare()",
        f"copy svhn_cropped from its TFDS data directory to {folder}",
    ):
        assert part in str(failure.value)


def test_a_set_that_nobody_knows(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    with pytest.raises(data.DataError, match="tfds:no_such_set cannot be prepared"):
        data.load("tfds:no_such_set")


def test_a_set_stored_for_tensorflow(folder, monkeypatch):
    prepare(folder, "color", monkeypatch)
    info = folder / "foreign_set" / "color" / "2.1.0" / "dataset_info.json"
    info.write_text(json.dumps(json.loads(info.read_text()) | {"fileFormat": "tfrecord"}))
    with pytest.raises(data.DataError, match="must be stored as array_record, got tfrecord"):
        data.load("tfds:foreign_set/color")


def test_damaged_records(folder, monkeypatch):
    prepare(folder, "color", monkeypatch)
    shard = next((folder / "foreign_set" / "color" / "2.1.0").glob("*train.array_record*"))
    content = bytearray(shard.read_bytes())
    filled = [i for i, byte in enumerate(content) if byte]
    content[filled[len(filled) // 2]] ^= 0x10
    shard.write_bytes(content)
    with pytest.raises(data.DataError, match="Delete its folder"):
        data.load("tfds:foreign_set/color")


def test_labels_are_read_without_the_images(folder, monkeypatch):
    dataset = prepare(folder, "color", monkeypatch)
    monkeypatch.setattr(tfds.features.Image, "decode_example_np", None)
    train = data.open_on_disk("tfds:foreign_set/color").train
    np.testing.assert_array_equal(train.labels, dataset.train_labels)
