"""Sets that tensorflow-datasets itself defines: tfds:NAME."""

import importlib.util
import re
from pathlib import Path
from typing import Any

from sffa_jax.data.dataset import DataError
from sffa_jax.data.sources.cache import quietly, tfds_folder

PREFIX = "tfds:"
NAME = re.compile(r"tfds:\w+(/[\w.-]+)?(:\d+\.\d+\.\d+)?")
"""tfds:SET, tfds:SET/CONFIG, either with a version behind a colon."""


def open_tfds(name: str) -> Any:
    """TFDS's builder of a set that is prepared, or can be.

    Raises:
      DataError: if the set is not there in a form that reads without TensorFlow, and TensorFlow is
        not installed or cannot prepare it.
    """
    import tensorflow_datasets as tfds

    root = tfds_folder()
    asked = name.removeprefix(PREFIX)
    command = (
        f"`python -c \"import tensorflow_datasets as tfds; tfds.builder('{asked}', "
        "file_format='array_record').download_and_prepare()\"`"
    )
    try:
        builder = tfds.core.read_only_builder.builder_from_files(asked, data_dir=root)
    except tfds.core.DatasetNotFoundError:
        builder = _prepare(name, asked, command, root)
    if "array_record" not in str(builder.info.file_format.value):
        raise DataError(
            f"load: {name} must be stored as array_record, got {builder.info.file_format.value} in "
            f"{builder.data_dir}. Delete that folder and, with TensorFlow installed (pip install "
            f"tensorflow), run {command}."
        )
    return builder


def _prepare(name: str, asked: str, command: str, root: Path) -> Any:
    import tensorflow_datasets as tfds

    if importlib.util.find_spec("tensorflow") is None:
        raise DataError(
            f"load: {name} is not prepared in {root}, and preparing it needs TensorFlow. Run `pip "
            f"install tensorflow` and start again; or run {command} on another machine and copy "
            f"{asked.split('/')[0].split(':')[0]} from its TFDS data directory to {root}."
        )
    try:
        builder = tfds.builder(asked, data_dir=root, file_format="array_record")
        quietly(builder.download_and_prepare)
    except Exception as error:  # TensorFlow, TFDS, the network and the disk each raise their own
        raise DataError(f"load: {name} cannot be prepared in {root}: {error}") from None
    return builder
