"""Data sets that tensorflow-datasets has stored on disk as array_record, read by index."""

from functools import cached_property
from typing import Any

import numpy as np

from sffa_jax.data.dataset import DataError
from sffa_jax.data.formats.safe_reading import reading
from sffa_jax.data.records import ADVICE, SCAN, OnDisk, Records
from sffa_jax.data.sources.registry import BUILDER


class TfdsRecords(Records):
    """One split of a data set that TFDS has stored."""

    def __init__(self, builder: Any, split: str) -> None:
        """Open a split.

        Args:
          builder: TFDS's builder of a data set stored as array_record.
          split: TFDS's name of the split.

        Raises:
          DataError: unless the split holds uint8 images of one shape with integer labels.
        """
        import tensorflow_datasets as tfds

        self.where = f"{builder.info.full_name}, {split}"
        self._image, self._label = _keys(builder)
        shape = tuple(builder.info.features[self._image].shape)
        if len(shape) not in (2, 3) or None in shape:
            raise DataError(
                f"load: images of {self.where} must have one shape, got {shape}. Choose a set (or "
                "a configuration of it) whose images are resized already."
            )
        kind = np.dtype(builder.info.features[self._image].np_dtype)
        if kind != np.uint8:
            raise DataError(f"load: images of {self.where} must be uint8, got {kind}.")
        self.image_shape = shape[:2] if shape[2:] == (1,) else shape
        with reading("load", builder.data_dir, ADVICE):
            self._source = builder.as_data_source(split)
            # Reading the labels alone must not decode the images.
            skip = {self._image: tfds.decode.SkipDecoding()}
            plain = builder.name == BUILDER
            self._labels = self._source if plain else builder.as_data_source(split, decoders=skip)
        self._pairs = self._plain_pairs if plain else self._decoded_pairs

    def __len__(self) -> int:
        return len(self._source)

    def read(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return images [indices, *image_shape] uint8 and labels [indices] int32.

        Raises:
          DataError: if a record is damaged.
        """
        with reading("load", self.where, ADVICE):
            pixels, labels = self._pairs(self._source, [int(i) for i in indices])
            images = np.frombuffer(b"".join(pixels), np.uint8)
            return images.reshape(len(labels), *self.image_shape), np.array(labels, np.int32)

    @cached_property
    def labels(self) -> np.ndarray:
        """All labels, [samples] int32, e.g. for `stratified_split`."""
        parts = []
        for start in range(0, len(self), SCAN):
            chosen = list(range(start, min(start + SCAN, len(self))))
            with reading("load", self.where, ADVICE):
                parts.append(np.array(self._pairs(self._labels, chosen)[1], np.int32))
        return np.concatenate(parts)

    def _plain_pairs(self, source: Any, indices: list[int]) -> tuple[list[bytes], list[int]]:
        """Parse this package's records without TFDS's decoder, three times as fast."""
        from tensorflow_datasets.proto import tf_example_pb2

        pixels, labels = [], []
        for record in source.data_source.__getitems__(indices):
            fields = tf_example_pb2.Example.FromString(record).features.feature
            pixels.append(fields[self._image].bytes_list.value[0])
            labels.append(fields[self._label].int64_list.value[0])
        return pixels, labels

    def _decoded_pairs(self, source: Any, indices: list[int]) -> tuple[list[bytes], list[int]]:
        """Parse the records of any data set with TFDS's decoder."""
        examples = source.__getitems__(indices)
        pixels = [np.asarray(example[self._image]).tobytes() for example in examples]
        return pixels, [int(example[self._label]) for example in examples]


def on_disk(name: str, builder: Any) -> OnDisk:
    """Return the splits of a stored data set.

    Args:
      name: the name that `load` takes.
      builder: TFDS's builder of it.

    Raises:
      DataError: unless it has a training and a test split of images with labels.
    """
    splits = list(builder.info.splits)
    test_split = next((split for split in ("test", "validation") if split in splits), None)
    if "train" not in splits or test_split is None:
        raise DataError(
            f"load: {name} must have the splits train and test (or validation), got "
            f"{', '.join(splits)}."
        )
    train, test = TfdsRecords(builder, "train"), TfdsRecords(builder, test_split)
    names = getattr(builder.info.features[_keys(builder)[1]], "names", None)
    if names is None:  # plain integers: the largest label gives the number of classes
        highest = max(int(records.labels.max()) for records in (train, test))
        names = [str(label) for label in range(highest + 1)]
    remark = "" if test_split == "test" else f", tested on its {test_split} split"
    stored = dict((builder.info.metadata or {}).get("sha256", {}))
    source = f"TFDS {builder.info.full_name}{remark}"
    return OnDisk(name, train, test, tuple(names), source, stored)


def _keys(builder: Any) -> tuple[str, str]:
    """Return the names of the features that hold image and label.

    Raises:
      DataError: if there are none.
    """
    features = builder.info.features
    image, label = builder.info.supervised_keys or ("image", "label")
    if image not in features or label not in features or features[label].shape != ():
        raise DataError(
            f"load: {builder.info.full_name} must have an image and a label, got the features "
            f"{', '.join(features)}. It is not an image classification data set."
        )
    return image, label
