"""CIFAR-10's two published forms, binary and python pickles, extracted or in their archive."""

import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sffa_jax.data.dataset import DataError
from sffa_jax.data.formats.files import find, missing
from sffa_jax.data.formats.pickles import parse_python_batch
from sffa_jax.data.formats.safe_reading import read_up_to, reading

PIXELS = 3 * 32 * 32
LARGEST = 1 << 28
"""Most bytes read from one batch: eight times a published one."""


def parse_binary_batch(content: bytes, path: object) -> tuple[np.ndarray, list[int]]:
    """The image rows and the labels of one binary batch: a label's byte, then the image's 3072.

    Raises:
      DataError: if it does not consist of whole records.
    """
    if len(content) % (1 + PIXELS):
        raise DataError(
            f"read_cifar10: {path} must consist of records of {1 + PIXELS} bytes, got "
            f"{len(content)} bytes. Fetch the file again."
        )
    records = np.frombuffer(content, np.uint8).reshape(-1, 1 + PIXELS)
    return records[:, 1:], records[:, 0].tolist()


class Form(NamedTuple):
    """One of the published forms: its archive, the folder in there, names and format."""

    archive: str
    folder: str
    suffix: str
    parse: Callable[[bytes, object], tuple[np.ndarray, list[int]]]

    @property
    def files(self) -> tuple[str, ...]:
        """The training batches in order, then the test batch."""
        stems = (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch")
        return tuple(stem + self.suffix for stem in stems)


BINARY = Form("cifar-10-binary.tar.gz", "cifar-10-batches-bin", ".bin", parse_binary_batch)
PYTHON = Form("cifar-10-python.tar.gz", "cifar-10-batches-py", "", parse_python_batch)


def read_cifar10(name: str, folder: Path) -> dict[str, np.ndarray]:
    """Reads whichever form lies in the folder, extracted batches first.

    Returns:
      The arrays of a `Dataset`, by name; images as [samples, 32, 32, RGB].

    Raises:
      DataError: if files are missing, damaged, or of different lengths.

    Reference: Krizhevsky 2009, "Learning multiple layers of features from tiny images".
    """
    form, contents = _contents(name, folder)
    batches = [form.parse(content, f"{folder}/{file}") for file, content in contents.items()]
    for file, (rows, labels) in zip(contents, batches, strict=True):
        if rows.shape[1] != PIXELS or len(rows) != len(labels):
            raise DataError(
                f"read_cifar10: {folder}/{file} must hold {PIXELS} values and a label for each "
                f"image, got {rows.shape} values and {len(labels)} labels."
            )
    counts = [len(rows) for rows, _ in batches[:-1]]
    if len(set(counts)) > 1:
        # A batch cut off between two records still consists of whole ones.
        raise DataError(
            f"read_cifar10: the training batches in {folder} must be equally long, got {counts} "
            "images. Fetch the shorter ones again."
        )
    arrays = {}
    for split, part in (("train", batches[:-1]), ("test", batches[-1:])):
        planes = np.concatenate([rows for rows, _ in part]).reshape(-1, 3, 32, 32)
        arrays[f"{split}_images"] = np.ascontiguousarray(planes.transpose(0, 2, 3, 1))
        arrays[f"{split}_labels"] = np.array([label for _, ls in part for label in ls], np.int32)
    return arrays


def _contents(name: str, folder: Path) -> tuple[Form, dict[str, bytes]]:
    """The bytes of the six batches, by file name, of the first form that is there."""
    for form in (BINARY, PYTHON):
        for place in (folder / form.folder, folder):
            present = [file for file in form.files if (place / file).is_file()]
            if not present:
                continue
            contents = {}
            for file in form.files:
                if file not in present:
                    raise missing(name, place, f"the file {file}")
                contents[file] = _read(place / file)
            return form, contents
    for form in (BINARY, PYTHON):
        archive = find(folder, [form.archive, form.archive.removesuffix(".gz")])
        if archive is not None:
            return form, _unpack(archive, form)
    raise missing(
        name,
        folder,
        f"the file {BINARY.archive} or {PYTHON.archive}, or its extracted batches "
        f"{BINARY.files[0]} .. {BINARY.files[-1]}",
    )


def _read(path: Path) -> bytes:
    with reading("read_cifar10", path):
        if path.stat().st_size > LARGEST:
            raise DataError(f"read_cifar10: {path} must be a batch, got a file far too large.")
        return path.read_bytes()


def _unpack(archive: Path, form: Form) -> dict[str, bytes]:
    """The batches in an archive, read as a stream: sizes in its headers reserve no memory."""
    wanted = {f"{form.folder}/{file}": file for file in form.files}
    found: dict[str, bytes] = {}
    with reading("read_cifar10", archive), tarfile.open(archive, "r|*") as members:
        for member in members:
            opened = members.extractfile(member) if member.isfile() else None
            if opened is not None and member.name in wanted:
                content = read_up_to(opened, min(member.size, LARGEST))
                if len(content) < member.size:
                    raise DataError(
                        f"read_cifar10: {archive} is truncated in {member.name}. Fetch it again."
                    )
                found[wanted[member.name]] = content
    lacking = [file for file in form.files if file not in found]
    if lacking:
        raise DataError(
            f"read_cifar10: {archive} must hold {form.folder}/{lacking[0]}, got an archive without "
            "it. Fetch the file again."
        )
    return {file: found[file] for file in form.files}
