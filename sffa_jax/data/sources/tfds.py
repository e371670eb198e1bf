"""Data sets that tensorflow-datasets defines: tfds:NAME."""

import importlib.util
import re
from pathlib import Path
from typing import Any

from sffa_jax.data.dataset import DataError
from sffa_jax.data.sources.cache import quietly, tfds_folder

PREFIX = "tfds:"
NAME = re.compile(r"tfds:\w+(/[\w.-]+)?(:\d+\.\d+\.\d+)?")
"""tfds:SET or tfds:SET/CONFIG, each optionally followed by :VERSION."""


def open_tfds(name: str) -> Any:
    """Return TFDS's builder of a data set; prepares the set if TensorFlow is installed.

    Raises:
      DataError: if the set is not stored as array_record, and TensorFlow is not installed or
        cannot prepare it.
    """
    import tensorflow_datasets as tfds

    root = tfds_folder()
    tfds_name = name.removeprefix(PREFIX)
    command = (
        f"`python -c \"import tensorflow_datasets as tfds; tfds.builder('{tfds_name}', "
        "file_format='array_record').download_and_prepare()\"`"
    )
    try:
        builder = tfds.core.read_only_builder.builder_from_files(tfds_name, data_dir=root)
    except tfds.core.DatasetNotFoundError:
        builder = _prepare(name, tfds_name, command, root)
    if "array_record" not in str(builder.info.file_format.value):
        raise DataError(
            f"load: {name} must be stored as array_record, got {builder.info.file_format.value} in "
            f"{builder.data_dir}. Delete that folder and, with TensorFlow installed (pip install "
            f"tensorflow), run {command}."
        )
    return builder


def _prepare(name: str, tfds_name: str, command: str, root: Path) -> Any:
    import tensorflow_datasets as tfds

    if importlib.util.find_spec("tensorflow") is None:
        raise DataError(
            f"load: {name} is not prepared in {root}, and preparing it needs TensorFlow. Run `pip "
            f"install tensorflow` and start again; or run {command} on another machine and copy "
            f"{tfds_name.split('/')[0].split(':')[0]} from its TFDS data directory to {root}."
        )
    try:
        builder = tfds.builder(tfds_name, data_dir=root, file_format="array_record")
        quietly(builder.download_and_prepare)
    except Exception as error:  # TensorFlow, TFDS, the network and the disk each raise their own
        raise DataError(f"load: {name} cannot be prepared in {root}: {error}") from None
    return builder
