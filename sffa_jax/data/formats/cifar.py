"""CIFAR-10 in its two published forms, binary and Python pickles, extracted or as an archive."""

import tarfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from sffa_jax.data.dataset import DataError
from sffa_jax.data.formats.files import find, missing
from sffa_jax.data.formats.pickles import parse_python_batch
from sffa_jax.data.formats.safe_reading import read_up_to, reading

PIXELS = 3 * 32 * 32
LARGEST = 1 << 28
"""Maximum number of bytes of an archive, and of one batch: the published archive has 184 MB."""

MOST_ATTRIBUTES, MOST_ENTRIES = 1 << 20, 1000
"""Maximum number of bytes of an entry that holds another one's attributes, and of entries."""


def parse_binary_batch(content: bytes | bytearray, path: object) -> tuple[np.ndarray, list[int]]:
    """Return the rows of pixels and the labels of one binary batch.

    A record is one byte of label and 3072 bytes of pixels.

    Raises:
      DataError: if the length is not a multiple of a record's.
    """
    if len(content) % (1 + PIXELS):
        raise DataError(
            f"read_cifar10: {path} must consist of records of {1 + PIXELS} bytes, got "
            f"{len(content)} bytes. Fetch the file again."
        )
    records = np.frombuffer(content, np.uint8).reshape(-1, 1 + PIXELS)
    return records[:, 1:], records[:, 0].tolist()


class Form(NamedTuple):
    """A published form: name of the archive, its folder, the files' suffix and their parser."""

    archive: str
    folder: str
    suffix: str
    parse: Callable[[bytes | bytearray, object], tuple[np.ndarray, list[int]]]

    @property
    def files(self) -> tuple[str, ...]:
        """Names of the training batches in order, then of the test batch."""
        stems = (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch")
        return tuple(stem + self.suffix for stem in stems)


BINARY = Form("cifar-10-binary.tar.gz", "cifar-10-batches-bin", ".bin", parse_binary_batch)
PYTHON = Form("cifar-10-python.tar.gz", "cifar-10-batches-py", "", parse_python_batch)


def read_cifar10(name: str, folder: Path) -> dict[str, np.ndarray]:
    """Read CIFAR-10 in the form that lies in the folder; extracted batches have priority.

    Args:
      name: name of the data set in errors.
      folder: folder of the batches, of their folder, or of the archive.

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
        # A batch that is cut off between two records still consists of complete records.
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


def _contents(name: str, folder: Path) -> tuple[Form, dict[str, bytes | bytearray]]:
    """Return the first form that exists, and the bytes of its six batches by file name."""
    for form in (BINARY, PYTHON):
        for place in (folder / form.folder, folder):
            absent = [file for file in form.files if not (place / file).is_file()]
            if len(absent) == len(form.files):
                continue
            if absent:
                raise missing(name, place, f"the file {absent[0]}")
            return form, {file: _read(place / file) for file in form.files}
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
            raise DataError(f"read_cifar10: {path} must have at most {LARGEST} bytes.")
        return path.read_bytes()


class _Entry(tarfile.TarInfo):
    """An entry of an archive; refuses long names and attributes that would fill the memory."""

    def _proc_member(self, archive: tarfile.TarFile) -> Any:
        if not (self.isfile() or self.isdir()) and self.size > MOST_ATTRIBUTES:
            raise tarfile.ReadError(f"an entry of type {self.type!r} and {self.size} bytes")
        return super()._proc_member(archive)  # type: ignore[misc]


def _unpack(archive: Path, form: Form) -> dict[str, bytes | bytearray]:
    """Return the batches of an archive, in whatever folder they lie.

    The archive is read as a stream: its headers reserve no memory, and it is refused where it
    announces more than `LARGEST` bytes.
    """
    contents: dict[str, bytes | bytearray] = {}
    with (
        reading("read_cifar10", archive),
        tarfile.open(archive, "r|*", tarinfo=_Entry) as members,
    ):
        for count, member in enumerate(members):
            if member.offset_data + member.size > LARGEST or count >= MOST_ENTRIES:
                raise DataError(
                    f"read_cifar10: {archive} must hold at most {LARGEST} bytes in {MOST_ENTRIES} "
                    f"entries, got {member.size} bytes in {member.name[:80]}. Fetch it again."
                )
            file = members.extractfile(member) if member.isfile() else None
            name = PurePosixPath(member.name).name
            if file is not None and name in form.files:
                content = read_up_to(file, member.size)
                if len(content) < member.size:
                    raise DataError(
                        f"read_cifar10: {archive} is truncated in {member.name}. Fetch it again."
                    )
                contents[name] = content
    absent = [file for file in form.files if file not in contents]
    if absent:
        raise DataError(
            f"read_cifar10: {archive} must hold {form.folder}/{absent[0]}, got an archive without "
            "it. Fetch the file again."
        )
    return {file: contents[file] for file in form.files}
