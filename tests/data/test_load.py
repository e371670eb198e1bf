"""Names, and where a set is looked for."""

import hashlib
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from published_files import cifar_files, idx_files, tar_bytes, write_files

from sffa_jax import data
from sffa_jax.data.sources.registry import PUBLISHED


@pytest.mark.parametrize(
    "name",
    [
        *data.NAMES,
        "folder:any/path",
        "tfds:svhn_cropped",
        "tfds:imagenette/320px-v2",
        "tfds:a/b:1.0.0",
    ],
)
def test_known_names(name):
    data.check_name(name)


@pytest.mark.parametrize(
    "name", ["mnsit", "", "MNIST", "folder:", "tfds:", "tfds:a b", "tfds:../x", "tfds:a/"]
)
def test_unknown_names(name, tmp_path):
    for call in (data.check_name, data.open_on_disk, lambda name: data.load(name, tmp_path)):
        with pytest.raises(
            data.DataError, match="`dataset` must be one of .* folder:DIR .* or tfds:NAME .* got '"
        ):
            call(name)


@pytest.mark.parametrize("name", ["MNIST", "mnits", "Mnist "])
def test_a_misspelled_name_is_suggested(name):
    with pytest.raises(data.DataError, match=r"got '.*'\. Did you mean 'mnist'\?$"):
        data.load(name)


def test_a_folder_is_the_only_place_where_one_is_given(tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    with pytest.raises(data.DataError, match="mnist, which does not exist.* another --data-dir"):
        data.load("mnist", tmp_path)
    assert not (tmp_path / "tfds").exists()


@pytest.mark.parametrize("option", [{"color": "blue"}, {"image_size": (8, 8, 8)}])
def test_a_bad_option_is_rejected_before_anything_is_read(tmp_path, option):
    with pytest.raises(ValueError, match=f"^load: `{next(iter(option))}` must be one"):
        data.load("mnist", tmp_path / "nowhere", **option)


def test_digits_are_not_on_disk():
    with pytest.raises(data.DataError, match="must be a data set on disk, got 'digits'"):
        data.open_on_disk("digits")


def test_loading_a_folder_imports_no_tfds_and_no_grain():
    code = (
        "import sys\nfrom sffa_jax import data\ntry: data.load('mnist', 'nowhere')\n"
        "except data.DataError: pass\n"
        "print([m for m in ('tensorflow', 'tensorflow_datasets', 'grain', 'requests', 'PIL')"
        " if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_other_files_under_a_published_name_are_named(tmp_path, monkeypatch, capsys):
    images, labels = np.zeros((2, 28, 28), np.uint8), [0, 1]
    write_files(tmp_path / "mnist", idx_files(images, labels, images, labels))
    dataset = data.load("mnist", tmp_path)
    error = capsys.readouterr().err
    assert error.startswith(f"warning: {tmp_path}/mnist does not hold the published mnist")
    assert error.count("\n") == 1
    assert dataset.source == "IDX files, folder mnist (not the published data)"
    known = replace(PUBLISHED["mnist"], content=dataset.sha256)
    monkeypatch.setitem(PUBLISHED, "mnist", known)
    assert data.load("mnist", tmp_path).source == "IDX files, folder mnist"
    assert not capsys.readouterr().err


@pytest.mark.parametrize("same", [True, False])
def test_the_published_archive_is_recognized(tmp_path, monkeypatch, same):
    images = np.zeros((5, 32, 32, 3), np.uint8)
    archive = tar_bytes(cifar_files(images, range(5), images[:1], [0]))
    write_files(tmp_path / "cifar10", {"cifar-10-binary.tar.gz": archive})
    digest = hashlib.sha256(archive if same else b"").hexdigest()
    (resource,) = PUBLISHED["cifar10"].resources
    known = replace(PUBLISHED["cifar10"], resources=(resource._replace(sha256=digest),))
    monkeypatch.setitem(PUBLISHED, "cifar10", known)
    source = data.load("cifar10", tmp_path).source
    assert source == "CIFAR batches, folder cifar10" + " (not the published data)" * (not same)
