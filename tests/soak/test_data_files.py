"""Damaged data files of every format: a right set or a DataError, and little memory."""

import gzip
import io
import tracemalloc

import numpy as np
import pytest
from PIL import Image
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
from soak.campaign import campaign

pytestmark = pytest.mark.slow
RNG = np.random.default_rng(0)
GRAY = RNG.integers(0, 256, (6, 8, 8)).astype(np.uint8)
COLOR = RNG.integers(0, 256, (5, 32, 32, 3)).astype(np.uint8)
MEMORY = 128 << 20
"""Bytes that no reader of these files, of 40 kB at most, may hold at once."""


def picture(image, form):
    content = io.BytesIO()
    Image.fromarray(image).save(content, form)
    return content.getvalue()


def table():
    content = io.BytesIO()
    np.savez_compressed(content, x_train=GRAY, y_train=np.arange(6), x_test=GRAY, y_test=range(6))
    return content.getvalue()


def sets():
    idx = idx_files(GRAY, range(6), GRAY, range(6), zipped=False)
    binary = cifar_files(COLOR, range(5), COLOR[:1], [0])
    python = cifar_files(COLOR, range(5), COLOR[:1], [0], form="python")
    emnist = emnist_files(GRAY, range(6), GRAY, range(6))
    forms = ("PNG", "JPEG", "BMP", "GIF")
    pictures = {
        f"{split}/{label}/{i}.{form.lower()}": picture(GRAY[i], form)
        for split in ("train", "test")
        for label in "ab"
        for i, form in enumerate(forms)
    }
    return {
        "mnist": [idx, {f"{k}.gz": gzip.compress(v) for k, v in idx.items()}],
        "emnist_letters": [{"gzip.zip": emnist_zip(emnist)}],
        "cifar10": [
            binary,
            python,
            {"cifar-10-binary.tar": tar_bytes(binary, "w")},
            {"cifar-10-python.tar.gz": tar_bytes(python)},
        ],
        "folder": [pictures],
        "npz": [{"set.npz": table()}],
    }


def test_damaged_data_files(tmp_path):
    choices = [(name, files) for name, variants in sets().items() for files in variants]

    def attempt(rng, number):
        name, files = choices[number % len(choices)]
        folder = tmp_path / str(number)
        names = sorted(files)
        damaged = names[rng.integers(len(names))]
        change = damage(files[damaged], rng) if rng.random() < 0.95 else b""
        write_files(folder / name, {**files, damaged: change})
        where = {"folder": f"folder:{folder / name}", "npz": f"npz:{folder / name / 'set.npz'}"}
        message = ""
        tracemalloc.start()
        try:
            dataset = data.load(where.get(name, name), folder)
        except data.DataError as error:
            message = str(error)
        finally:
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        assert peak < MEMORY, peak
        if message:
            assert "\n" not in message, message
            return "refused"
        # Pixels have no checksum in most formats; what is read is a whole set.
        for split in ("train", "test"):
            images, labels = (getattr(dataset, f"{split}_{kind}") for kind in ("images", "labels"))
            assert images.dtype == np.uint8
            assert len(images) == len(labels) > 0
            assert 0 <= labels.min() <= labels.max() < dataset.num_classes
        return "read"

    campaign("data files", 500, attempt, seconds=30)
