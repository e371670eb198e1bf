"""The published sets stored by TFDS: downloaded once, read back identically, never half-read."""

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from published_files import (
    Server,
    cifar_files,
    emnist_files,
    emnist_zip,
    idx_files,
    tar_bytes,
    write_files,
)

from sffa_jax import data
from sffa_jax.data.sources import download
from sffa_jax.data.sources.cache import open_published
from sffa_jax.data.sources.registry import PUBLISHED

REAL = os.environ.get("SFFA_DATA_DIR", "")  # before a fixture clears it
RNG = np.random.default_rng(0)
GRAY = RNG.integers(0, 256, (40, 5, 4)).astype(np.uint8)
COLOR = RNG.integers(0, 256, (15, 32, 32, 3)).astype(np.uint8)
LABELS = np.arange(40) % 10
FILES = {
    "mnist": idx_files(GRAY, LABELS, GRAY[:7], LABELS[:7]),
    "fashion_mnist": idx_files(GRAY[::-1], LABELS, GRAY[:5], LABELS[:5]),
    "kmnist": idx_files(GRAY[::2], LABELS[::2], GRAY[:7], LABELS[:7]),
    "emnist_letters": {
        "gzip.zip": emnist_zip(emnist_files(GRAY, np.arange(40) % 26, GRAY[:9], range(9)))
    },
    "cifar10": {
        "cifar-10-binary.tar.gz": tar_bytes(
            cifar_files(COLOR, LABELS[:15], COLOR[:4], LABELS[:4].tolist())
        )
    },
}
SHAPES = dict.fromkeys(FILES, (5, 4)) | {"cifar10": (32, 32, 3)}


@pytest.fixture(autouse=True)
def folders(monkeypatch, tmp_path):
    monkeypatch.setattr(download, "PAUSE", 0.0)
    monkeypatch.delenv("SFFA_DATA_DIR", raising=False)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))


@pytest.fixture
def served(monkeypatch):
    """Starts a server of one set's files and puts it in the place of the published address."""
    servers = []

    def serve(name):
        servers.append(Server(FILES[name]).__enter__())
        monkeypatch.setitem(PUBLISHED, name, servers[-1].published(name, SHAPES[name]))
        return servers[-1]

    yield serve
    for server in servers:
        server.__exit__()


def prepared(tmp_path, name="mnist"):
    return tmp_path / "tfds" / "sffa_images" / name / "1.0.0"


def shard(tmp_path, split="train"):
    return next(prepared(tmp_path).glob(f"*{split}.array_record*"))


@pytest.mark.parametrize("name", FILES)
def test_folder_and_builder_read_the_same(served, tmp_path, name, capsys):
    write_files(tmp_path / "local" / name, FILES[name])
    local = data.load(name, tmp_path / "local")
    server = served(name)
    built = data.load(name)
    assert built.sha256 == local.sha256
    assert built.class_names == local.class_names
    assert built.source == f"TFDS sffa_images/{name}/1.0.0"
    assert capsys.readouterr().out == ""
    count = len(server.log)
    assert data.load(name).sha256 == local.sha256
    assert len(server.log) == count == len(FILES[name])


def test_every_published_set_is_tested():
    assert set(FILES) == set(PUBLISHED)


def test_tfds_finds_the_set_by_itself(served, tmp_path):
    import tensorflow_datasets as tfds

    served("mnist")
    mnist = data.load("mnist")
    source = tfds.data_source("sffa_images/mnist", split="test", data_dir=tmp_path / "tfds")
    np.testing.assert_array_equal([example["image"] for example in source], mnist.test_images)
    assert [example["label"] for example in source] == mnist.test_labels.tolist()


def test_a_mirror_is_asked_first(served, monkeypatch):
    published = served("mnist")
    with Server({f"mnist/{file}": content for file, content in FILES["mnist"].items()}) as mirror:
        monkeypatch.setenv("SFFA_DATA_MIRROR", mirror.url)
        data.load("mnist")
        assert len(mirror.log) == 4
    assert published.log == []


def test_offline_with_nothing_local(monkeypatch, tmp_path):
    nobody = "http://127.0.0.1:9/"
    entry = PUBLISHED["kmnist"]
    gone = tuple(resource._replace(addresses=(nobody,)) for resource in entry.resources)
    monkeypatch.setitem(PUBLISHED, "kmnist", replace(entry, resources=gone))
    with pytest.raises(data.DataError) as failure:
        data.load("kmnist")
    message = str(failure.value)
    for part in (
        f"load: kmnist is not in {prepared(tmp_path, 'kmnist')}",
        f"train-images-idx3-ubyte.gz could not be downloaded ({nobody}train-images",
        "Put train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte",
        "into DIR/kmnist and pass --data-dir DIR",
        "data.load('kmnist')",
        f"copy {tmp_path / 'tfds' / 'sffa_images'}",
    ):
        assert part in message
    assert "\n" not in message


def test_other_files_than_published_are_refused(served, tmp_path):
    server = served("mnist")
    server.files["t10k-labels-idx1-ubyte.gz"] = FILES["kmnist"]["train-labels-idx1-ubyte.gz"]
    with pytest.raises(data.DataError, match="t10k-labels.* sha256 differs"):
        data.load("mnist")
    assert not prepared(tmp_path).exists()
    server.files.update(FILES["mnist"])
    np.testing.assert_array_equal(data.load("mnist").train_images, GRAY)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (idx_files(GRAY, LABELS[:30], GRAY[:7], LABELS[:7]), "40 images and 30 labels"),
        (idx_files(GRAY, LABELS + 1, GRAY[:7], LABELS[:7]), r"must lie in \[0, 10\).* max 10"),
        (idx_files(GRAY[:, :3], LABELS, GRAY[:7, :3], LABELS[:7]), r"the shape \(5, 4\), got"),
    ],
    ids=["counts", "label 10", "other size"],
)
def test_files_that_do_not_belong_together_are_not_stored(monkeypatch, tmp_path, files, message):
    with Server(files) as server:
        monkeypatch.setitem(PUBLISHED, "mnist", server.published("mnist", (5, 4)))
        with pytest.raises(data.DataError, match=message):
            data.load("mnist")
    assert not prepared(tmp_path).exists()


def cut_off(folder):
    (folder / "dataset_info.json").unlink()


def without_shard(folder):
    next(folder.glob("*test.array_record*")).unlink()


def torn_info(folder):
    info = folder / "dataset_info.json"
    info.write_text(info.read_text()[:60])


@pytest.mark.parametrize("left", [cut_off, without_shard, torn_info])
def test_a_half_finished_preparation_is_done_again(served, tmp_path, left):
    served("mnist")
    whole = data.load("mnist").sha256
    left(prepared(tmp_path))
    killed = prepared(tmp_path).parent / "incomplete.ABCDEF_1.0.0"
    killed.mkdir()
    (killed / "sffa_images-train.array_record-00000-of-00001").write_bytes(b"half")
    downloads = tmp_path / "tfds" / "downloads" / "sffa_images" / "mnist"
    (downloads / "train-images-idx3-ubyte.gz").write_bytes(b"half")
    assert data.load("mnist").sha256 == whole
    assert not killed.exists()


@pytest.mark.parametrize("place", [0.02, 0.3, 0.6, 0.9])
def test_damage_on_the_disk_is_noticed(served, tmp_path, place):
    served("mnist")
    data.load("mnist")
    content = bytearray(shard(tmp_path).read_bytes())
    # The file is padded to blocks: change what is not zero.
    filled = [i for i, byte in enumerate(content) if byte]
    content[filled[int(place * len(filled))]] ^= 0x10
    shard(tmp_path).write_bytes(content)
    with pytest.raises(data.DataError, match="Delete its folder"):
        data.load("mnist")


def test_swapped_content_is_noticed(served, tmp_path):
    """Whole files of the right form, but of other pixels than the stored hash says."""
    served("mnist")
    served("fashion_mnist")
    data.load("mnist")
    data.load("fashion_mnist")
    other = next(prepared(tmp_path, "fashion_mnist").glob("*train.array_record*"))
    shard(tmp_path).write_bytes(other.read_bytes())
    with pytest.raises(data.DataError, match="is damaged: its checksum differs"):
        data.load("mnist")


def test_nowhere_to_write(served, monkeypatch, tmp_path):
    served("mnist")
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "file"))
    with pytest.raises(
        data.DataError, match="cannot be stored in .*Set TFDS_DATA_DIR .*--data-dir"
    ):
        data.load("mnist")


def test_what_tfds_cannot_replace_is_no_endless_trust(served, monkeypatch, tmp_path):
    """A damaged set that cannot be deleted is refused, not read."""
    served("mnist")
    prepared(tmp_path).mkdir(parents=True)
    (prepared(tmp_path) / "something").write_text("")
    monkeypatch.setattr("shutil.rmtree", lambda *_, **__: None)
    with pytest.raises(data.DataError, match="is damaged and cannot be replaced"):
        open_published("mnist")


PROGRAM = """
import json, os, resource, sys
from dataclasses import replace
from sffa_jax import data
from sffa_jax.data.sources import download
from sffa_jax.data.sources.registry import PUBLISHED, Resource

download.PAUSE = 0.0
results = []
for given in json.loads(sys.argv[1]):
    os.environ["TFDS_DATA_DIR"] = given["folder"]
    resources = tuple(Resource(f, n, h, tuple(a)) for f, n, h, a in given["resources"])
    PUBLISHED["mnist"] = replace(
        PUBLISHED["mnist"], image_shape=tuple(given["shape"]), resources=resources
    )
    said = []
    for limit in given["limits"]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        try:
            data.load("mnist")
        except data.DataError as error:
            said.append(str(error))
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    dataset = data.load("mnist")
    on_disk = data.open_on_disk("mnist")
    batch = next(iter(data.batches(on_disk.train, dataset.train_labels[None] * 0)))
    assert (batch[0] == dataset.train_images[0]).all()
    tensorflow = "tensorflow" in sys.modules
    results.append({"sha256": dataset.sha256, "said": said, "tensorflow": tensorflow})
print(json.dumps(results))
"""


def start_program(*given):
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, json.dumps(given)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    """Two processes that load a set at once; the second then loads one that fills the disk.

    Their results, the requests for the first set, and where it was stored and published.
    """
    folder = tmp_path_factory.mktemp("programs")
    # Zeros pack into a small download and unpack into large records.
    images = np.zeros((3000, 20, 20), np.uint8)
    large = idx_files(images, np.zeros(3000), images[:1], [0])
    assert 1000 < len(large["train-images-idx3-ubyte.gz"]) < 20_000

    def given(name, server, shape, limits=()):
        resources = server.resources()
        return {
            "folder": str(folder / name),
            "resources": resources,
            "shape": shape,
            "limits": limits,
        }

    with Server(FILES["mnist"]) as small_server, Server(large) as large_server:
        together = given("together", small_server, (5, 4))
        # The first limit stops the download, the second the records.
        filled = given("filled", large_server, (20, 20), (1000, 20_000))
        started = [start_program(together), start_program(together, filled)]
        ended = [program.communicate(timeout=120) for program in started]
        published = small_server.published("mnist", (5, 4))
    assert [program.returncode for program in started] == [0, 0], ended
    results = [json.loads(out.splitlines()[-1]) for out, _ in ended]
    return results, small_server.log, folder / "together", published


def test_two_processes_prepare_once_and_without_tensorflow(programs, monkeypatch):
    ((first,), (second, _)), log, folder, published = programs
    assert first == second
    assert not first["tensorflow"]
    assert len(log) == 4
    monkeypatch.setenv("TFDS_DATA_DIR", str(folder))
    monkeypatch.setitem(PUBLISHED, "mnist", published)
    assert data.load("mnist").sha256 == first["sha256"]
    assert len(log) == 4


def test_a_full_disk_leaves_nothing_that_is_trusted(programs):
    (_, (_, result)), *_ = programs
    assert len(result["said"]) == 2
    for message in result["said"]:
        assert "cannot be stored in" in message
        assert "File too large" in message


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_real_sets_are_the_same_by_folder_and_builder(monkeypatch, name):
    folder = Path(REAL) / name
    files = {path.name: path.read_bytes() for path in folder.glob("*.gz")}
    with Server(files) as server:
        monkeypatch.setitem(PUBLISHED, name, server.published(name, (28, 28)))
        built = data.load(name)
    local = data.load(name, folder.parent)
    assert built.sha256 == local.sha256
    assert built.train_images.shape == (60000, 28, 28)
    began = time.perf_counter()
    data.load(name)
    assert time.perf_counter() - began < 2
