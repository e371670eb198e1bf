"""A tensorflow-datasets builder of the published data sets that needs no TensorFlow.

TFDS's own builders of these data sets parse them with TensorFlow. This one downloads the same
files, reads them with this package's readers and stores them as array_record, one record per image,
in TFDS's data directory, where `tfds.data_source("sffa_images/mnist")` finds them. If the
environment variable SFFA_DATA_MIRROR is set, that address is tried first; it holds a folder for
each data set.

Importing this module imports tensorflow-datasets, so `cache` imports it in the function that
prepares a data set.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from sffa_jax.data.dataset import DataError, Dataset
from sffa_jax.data.sources.download import fetch
from sffa_jax.data.sources.registry import BUILDER, PUBLISHED, VERSION, read_published


class SffaImages(tfds.core.GeneratorBasedBuilder):
    """One configuration for each published data set; images as bytes, in their published order."""

    name = BUILDER
    VERSION = tfds.core.Version(VERSION)
    BUILDER_CONFIGS = [tfds.core.BuilderConfig(name=name) for name in PUBLISHED]  # noqa: RUF012

    def __init__(self, *, file_format: Any = "array_record", **options: Any) -> None:
        """Args: file_format: array_record is read without TensorFlow; options: of any builder."""
        super().__init__(file_format=file_format, **options)

    def _info(self) -> tfds.core.DatasetInfo:
        published = PUBLISHED[self.builder_config.name]
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(
                {
                    # As plain bytes: by default TFDS stores each pixel as an integer.
                    "image": tfds.features.Tensor(
                        shape=published.image_shape,
                        dtype=np.uint8,
                        encoding=tfds.features.Encoding.BYTES,
                    ),
                    "label": tfds.features.ClassLabel(names=list(published.class_names)),
                }
            ),
            supervised_keys=("image", "label"),
            # Keep the published order, so that both sources of a data set are identical.
            disable_shuffling=True,
            metadata=tfds.core.MetadataDict(),
        )

    def _split_generators(self, downloads: tfds.download.DownloadManager) -> dict[str, Any]:
        name, mirror = self.builder_config.name, os.environ.get("SFFA_DATA_MIRROR")
        published, folder = PUBLISHED[name], Path(downloads.download_dir) / BUILDER / name
        for resource in published.resources:
            mirrors = (f"{mirror.rstrip('/')}/{name}",) if mirror else ()
            fetch(resource._replace(addresses=mirrors + resource.addresses), folder)
        arrays = read_published(name, folder)
        dataset = Dataset(name=name, class_names=published.class_names, source="download", **arrays)
        shape = dataset.train_images.shape[1:]
        if shape != published.image_shape:
            raise DataError(
                f"load: images of {name} must have the shape {published.image_shape}, got {shape}."
            )
        # `in_memory` compares it at each load, which detects damage on the disk.
        self.info.metadata["sha256"] = dataset.sha256
        return {
            split: self._generate_examples(arrays[f"{split}_images"], arrays[f"{split}_labels"])
            for split in ("train", "test")
        }

    def _generate_examples(
        self, images: np.ndarray, labels: np.ndarray
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        for i, (image, label) in enumerate(zip(images, labels, strict=True)):
            yield i, {"image": image, "label": int(label)}
