"""Names, and where a set is looked for."""

import subprocess
import sys

import pytest

from sffa_jax import data


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


def test_a_folder_is_the_only_place_where_one_is_given(tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    with pytest.raises(data.DataError, match="mnist, which does not exist.* another --data-dir"):
        data.load("mnist", tmp_path)
    assert not (tmp_path / "tfds").exists()


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
