"""The published sets as tensorflow-datasets builders that need no TensorFlow.

TFDS's own builders of these sets parse them with TensorFlow. This one downloads the same files,
reads them with this package's readers and stores them as array_record, one record an image, in
TFDS's data directory, where `tfds.data_source("sffa_images/mnist")` finds them.

Importing this module imports tensorflow-datasets: import it where a set is prepared.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from sffa_jax.data.dataset import DataError, Dataset
from sffa_jax.data.download import fetch
from sffa_jax.data.prepared import BUILDER, VERSION
from sffa_jax.data.published import PUBLISHED, read_published


class SffaImages(tfds.core.GeneratorBasedBuilder):
    """One configuration a published set; images as bytes, in their published order."""

    name = BUILDER
    VERSION = tfds.core.Version(VERSION)
    BUILDER_CONFIGS = [tfds.core.BuilderConfig(name=name) for name in PUBLISHED]  # noqa: RUF012

    def __init__(
        self, *, config: str, data_dir: Path, downloads: Path, mirror: str | None = None
    ) -> None:
        """Args as TFDS's, and:

        Args:
          downloads: folder for the published files.
          mirror: an address asked before the published ones; it holds a folder a set.
        """
        self.set_name, self.downloads, self.mirror = config, downloads, mirror
        super().__init__(config=config, data_dir=data_dir, file_format="array_record")

    def _info(self) -> tfds.core.DatasetInfo:
        published = PUBLISHED[self.set_name]
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(
                {
                    # As plain bytes: TFDS's default would spell each pixel out as a number.
                    "image": tfds.features.Tensor(
                        shape=published.image_shape,
                        dtype=np.uint8,
                        encoding=tfds.features.Encoding.BYTES,
                    ),
                    "label": tfds.features.ClassLabel(names=list(published.class_names)),
                }
            ),
            supervised_keys=("image", "label"),
            # The published order, so that both sources of a set are the same set.
            disable_shuffling=True,
            metadata=tfds.core.MetadataDict(),
        )

    def _split_generators(self, _: Any) -> dict[str, Any]:
        published = PUBLISHED[self.set_name]
        for resource in published.resources:
            if self.mirror:
                first = f"{self.mirror.rstrip('/')}/{self.set_name}"
                resource = resource._replace(addresses=(first, *resource.addresses))
            fetch(resource, self.downloads)
        arrays = read_published(self.set_name, self.downloads)
        checked = Dataset(
            name=self.set_name, class_names=published.class_names, source="download", **arrays
        )
        shape = checked.train_images.shape[1:]
        if shape != published.image_shape:
            raise DataError(
                f"load: images of {self.set_name} must have the shape {published.image_shape}, got "
                f"{shape}."
            )
        # Read back and compared each time: damage on the disk is noticed.
        self.info.metadata["sha256"] = checked.sha256
        return {
            split: self._generate_examples(arrays[f"{split}_images"], arrays[f"{split}_labels"])
            for split in ("train", "test")
        }

    def _generate_examples(
        self, images: np.ndarray, labels: np.ndarray
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        for i, (image, label) in enumerate(zip(images, labels, strict=True)):
            yield i, {"image": image, "label": int(label)}
