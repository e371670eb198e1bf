"""CIFAR-10's two forms, and pickles that ask for more than arrays."""

import io
import pickle
import tarfile

import numpy as np
import pytest
from published_files import cifar_files, cifar_pickle, cifar_rows, tar_bytes, write_files

from sffa_jax import data
from sffa_jax.data.formats.cifar import parse_binary_batch
from sffa_jax.data.formats.pickles import parse_python_batch

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (10, 32, 32, 3)).astype(np.uint8)
LABELS = [3, 9, 0, 1, 2, 4, 5, 6, 7, 8]
SET = (IMAGES, LABELS, IMAGES[:3], LABELS[:3])
BINARY, PYTHON = cifar_files(*SET), cifar_files(*SET, form="python")
LAYOUTS = {
    "binary archive": {"cifar-10-binary.tar.gz": tar_bytes(BINARY)},
    "binary archive, unzipped": {"cifar-10-binary.tar": tar_bytes(BINARY, "w")},
    "binary, extracted": BINARY,
    "binary, without folder": {path.split("/")[1]: content for path, content in BINARY.items()},
    "python archive": {"cifar-10-python.tar.gz": tar_bytes(PYTHON)},
    "python, extracted": PYTHON,
    "python, without folder": {path.split("/")[1]: content for path, content in PYTHON.items()},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_published_form(tmp_path, layout):
    write_files(tmp_path / "cifar10", LAYOUTS[layout])
    cifar = data.load("cifar10", tmp_path)
    np.testing.assert_array_equal(cifar.train_images, IMAGES)
    np.testing.assert_array_equal(cifar.test_images, IMAGES[:3])
    assert cifar.train_labels.tolist() == LABELS
    assert cifar.class_names[cifar.train_labels[0]] == "cat"
    mean, _ = data.statistics(cifar.train_images)
    np.testing.assert_allclose(mean, (IMAGES / 255).mean((0, 1, 2)), rtol=1e-6)


def without(files, name):
    return {path: content for path, content in files.items() if not path.endswith(name)}


def shortened(count):
    path = "cifar-10-batches-bin/data_batch_3.bin"
    return BINARY | {path: BINARY[path][:-count]}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, r"cifar-10-binary.tar.gz or .* data_batch_1.bin \.\. test_batch.bin.*which is empty"),
        (without(BINARY, "batch_4.bin"), "the file data_batch_4.bin .*which lacks it"),
        (shortened(1), "must consist of records of 3073 bytes, got 6145"),
        (shortened(3073), r"must be equally long, got \[2, 2, 1, 2, 2\]"),
        (
            {"cifar-10-binary.tar.gz": tar_bytes(without(BINARY, "test_batch.bin"))},
            "must hold cifar-10-batches-bin/test_batch.bin",
        ),
        ({"cifar-10-binary.tar.gz": tar_bytes(BINARY)[:-2000]}, "cannot be read"),
        ({"cifar-10-python.tar.gz": b"no archive"}, "cannot be read"),
        (
            cifar_files(IMAGES, [10] * 10, IMAGES[:3], LABELS[:3]),
            r"labels` must lie in \[0, 10\), got min 10",
        ),
        (
            PYTHON | {"cifar-10-batches-py/test_batch": cifar_pickle(IMAGES[:3], LABELS[:2])},
            r"a label for each image, got \(3, 3072\) values and 2 labels",
        ),
    ],
    ids=[
        *("empty", "batch missing", "byte missing", "record missing", "archive lacks one"),
        *("torn archive", "no archive", "label 10", "counts differ"),
    ],
)
def test_refused(tmp_path, files, message):
    (tmp_path / "cifar10").mkdir()
    write_files(tmp_path / "cifar10", files)
    with pytest.raises(data.DataError, match=message):
        data.load("cifar10", tmp_path)


def test_our_python_2_pickle_is_one():
    """The tests' hand-written batch means to Python's own reader what it means to ours."""
    batch = pickle.loads(PYTHON["cifar-10-batches-py/test_batch"], encoding="bytes")
    np.testing.assert_array_equal(batch[b"data"], cifar_rows(IMAGES[:3]))
    assert batch[b"labels"] == LABELS[:3]
    assert len(batch[b"filenames"]) == 3


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_batches_written_by_python_3(protocol):
    batch = {"data": cifar_rows(IMAGES), "labels": LABELS, "batch_label": b"x"}
    rows, labels = parse_python_batch(pickle.dumps(batch, protocol), "batch")
    np.testing.assert_array_equal(rows, cifar_rows(IMAGES))
    assert labels == LABELS


class Evil:
    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


def dumped(value, protocol=2):
    return pickle.dumps({"data": value, "labels": [0]}, protocol)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (dumped(Evil(print, "run")), "asks for (__builtin__|builtins).print"),
        (dumped(Evil(__import__("os").system, "true")), "asks for (posix|nt).system"),
        (dumped(Evil(eval, "1"), 4), "asks for builtins.eval"),
        (dumped(Evil(np.load, "x")), "asks for numpy"),
        (dumped(np.array([[None]])), "no matrix of bytes"),
        (dumped(np.zeros((1, 2))), "no matrix of bytes"),
        (dumped(np.zeros(4, np.uint8)), "no matrix of bytes"),
        (b"cnumpy\nndarray\n(I9\nI9\ntR.", "unknown instruction"),
        (b"\x80\x02cnumpy\nndarray\n}b.", "state is given to something other"),
        (b"\x80\x02}(K\x01K\x02u.", "key is not a name"),
        (b"\x80\x02]r\xff\xff\xff\xff.", "other fields"),
        (b"\x80\x05\x96" + b"\xff" * 7 + b"\x0f.", "unknown instruction"),
        (dumped(np.zeros((1, 2), np.uint8))[:-9], "must be a pickle"),
        (pickle.dumps({"fine_labels": []}, 2), "holds? an array `data`|other fields"),
        (
            pickle.dumps({"data": np.zeros((1, 2), np.uint8), "labels": [1.5]}, 2),
            "unknown instruction",
        ),
        (
            pickle.dumps({"data": np.zeros((1, 2), np.uint8), "labels": [-1]}, 2),
            "integers as labels",
        ),
    ],
    ids=[
        *("print", "system", "eval", "numpy.load", "objects", "floats", "one axis"),
        *("protocol 0", "state for a class", "numbers as keys", "huge memo", "huge bytearray"),
        *("torn", "other fields", "float label", "negative label"),
    ],
)
def test_a_pickle_runs_nothing(content, message):
    with pytest.raises(data.DataError, match=message):
        parse_python_batch(content, "batch")


def test_a_binary_batch():
    rows, labels = parse_binary_batch(BINARY["cifar-10-batches-bin/test_batch.bin"], "batch")
    np.testing.assert_array_equal(rows, cifar_rows(IMAGES[:3]))
    assert labels == LABELS[:3]


def tar_of(*members):
    """An archive of (name, type, announced size, content)."""
    content = io.BytesIO()
    for name, kind, size, body in members:
        member = tarfile.TarInfo(name)
        member.type, member.size = kind, size
        content.write(member.tobuf() + body + b"\0" * (-len(body) % 512))
    return content.getvalue() + b"\0" * 1024


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([("x", tarfile.XHDTYPE, 4 << 30, b"x" * 4096)], "an entry of type b'x' and 4294967296"),
        ([("x", tarfile.GNUTYPE_LONGNAME, 2 << 20, b"x" * 4096)], "an entry of type b'L'"),
        ([("x", tarfile.REGTYPE, 4 << 30, b"x" * 4096)], "must hold at most .* 4294967296 bytes"),
        ([("x", tarfile.REGTYPE, 0, b"")] * 1001, "in 1000 entries"),
    ],
)
def test_forged_entries_are_refused_at_once(tmp_path, members, message):
    write_files(tmp_path / "cifar10", {"cifar-10-binary.tar": tar_of(*members)})
    with pytest.raises(data.DataError, match=message):
        data.load("cifar10", tmp_path)


@pytest.mark.parametrize("front", ["./", "data/", "./a/b/"])
def test_archives_as_other_tools_pack_them(tmp_path, front):
    archive = tar_bytes({front + path: content for path, content in BINARY.items()})
    write_files(tmp_path / "cifar10", {"cifar-10-binary.tar.gz": archive})
    assert data.load("cifar10", tmp_path).train_labels.tolist() == LABELS
