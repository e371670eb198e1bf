"""Readers on damaged files: a right answer or a DataError, and little memory."""

import gzip
import struct
import tracemalloc

import numpy as np
import pytest
from published_files import (
    cifar_files,
    damage,
    emnist_files,
    emnist_zip,
    idx_files,
    tar_bytes,
    write_files,
)

from sffa_jax import data

RNG = np.random.default_rng(0)
GRAY = RNG.integers(0, 256, (6, 5, 4)).astype(np.uint8)
COLOR = RNG.integers(0, 256, (5, 32, 32, 3)).astype(np.uint8)
IDX = idx_files(GRAY, range(6), GRAY, range(6), zipped=False)
EMNIST = emnist_files(GRAY, range(6), GRAY, range(6))
BINARY = cifar_files(COLOR, range(5), COLOR[:1], [0])
PYTHON = cifar_files(COLOR, range(5), COLOR[:1], [0], form="python")
SETS = {
    "idx": ("mnist", IDX),
    "gzipped idx": ("mnist", {f"{k}.gz": gzip.compress(v) for k, v in IDX.items()}),
    "zip": ("emnist_letters", {"gzip.zip": emnist_zip(EMNIST)}),
    "binary": ("cifar10", BINARY),
    "python": ("cifar10", PYTHON),
    "binary tar": ("cifar10", {"cifar-10-binary.tar": tar_bytes(BINARY, "w")}),
    "binary tar.gz": ("cifar10", {"cifar-10-binary.tar.gz": tar_bytes(BINARY)}),
    "python tar.gz": ("cifar10", {"cifar-10-python.tar.gz": tar_bytes(PYTHON)}),
}
SHAPES = {"mnist": (5, 4), "emnist_letters": (5, 4), "cifar10": (32, 32, 3)}
MEMORY = 64 << 20
"""Bytes that no reader of these files, of 40 kB at most, may hold at once."""


@pytest.mark.parametrize("key", SETS)
def test_damaged_files(tmp_path, key):
    """A few files of each format; `tests/soak` has more."""
    name, files = SETS[key]
    count = 25
    write_files(tmp_path / name, files)
    whole = data.load(name, tmp_path)
    rng, refused = np.random.default_rng(len(key)), 0
    names = sorted(files)
    tracemalloc.start()
    try:
        for _ in range(count):
            file = names[rng.integers(len(names))]
            (tmp_path / name / file).write_bytes(damage(files[file], rng))
            try:
                dataset = data.load(name, tmp_path)
            except data.DataError:
                refused += 1
            else:
                # Pixels carry no checksum in most formats; what is read is a whole set.
                assert dataset.train_images.dtype == np.uint8
                assert len(dataset.train_images) == len(dataset.train_labels)
                if dataset.train_images.shape[1:] != SHAPES[name]:
                    assert name != "cifar10"
                assert dataset.train_labels.max() < whole.num_classes
            (tmp_path / name / file).write_bytes(files[file])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < MEMORY
    assert refused > count / 20
    assert data.load(name, tmp_path).sha256 == whole.sha256


def forged_idx(content):
    """Every axis as long as its four bytes can say: up to 2^96 values."""
    header = 4 + 4 * content[3]
    return content[:4] + b"\xff" * (header - 4) + content[header:]


def forged_tar(content):
    """The first batch 8 GiB long, with a right checksum."""
    begin = content.index(b"data_batch_1") // 512 * 512
    header = bytearray(content[begin : begin + 512])
    header[124:136], header[148:156] = b"7" * 11 + b"\0", b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return content[:begin] + header + content[begin + 512 :]


FORGED = {
    "idx": ("mnist", {k: forged_idx(v) for k, v in IDX.items()}),
    "gzipped idx": ("mnist", {f"{k}.gz": gzip.compress(forged_idx(v)) for k, v in IDX.items()}),
    "zip": (
        "emnist_letters",
        {"gzip.zip": emnist_zip({k: forged_idx(v) for k, v in EMNIST.items()})},
    ),
    "binary tar": ("cifar10", {"cifar-10-binary.tar": forged_tar(tar_bytes(BINARY, "w"))}),
    "python": (
        "cifar10",
        {
            k: v.replace(b"T" + struct.pack("<I", 3072), b"T" + struct.pack("<I", 2**31 - 1))
            for k, v in PYTHON.items()
        },
    ),
}


@pytest.mark.parametrize("key", FORGED)
def test_a_forged_size_reserves_no_memory(tmp_path, key):
    name, files = FORGED[key]
    assert files != SETS[key][1]
    write_files(tmp_path / name, files)
    tracemalloc.start()
    try:
        with pytest.raises(data.DataError, match="must hold at most|pickle"):
            data.load(name, tmp_path)
        assert tracemalloc.get_traced_memory()[1] < MEMORY
    finally:
        tracemalloc.stop()
