"""The published data sets: class names, files, checksums, addresses and readers."""

import hashlib
import string
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sffa_jax.data.dataset import Dataset
from sffa_jax.data.formats.cifar import BINARY, PYTHON, read_cifar10
from sffa_jax.data.formats.emnist import ARCHIVE, read_emnist_letters
from sffa_jax.data.formats.idx import read_idx_set

BUILDER = "sffa_images"
"""Name of the TFDS builder that stores the published data sets, and of its folder; each data set is
one of its configurations."""

VERSION = "1.0.0"
"""Version of the stored form; increase it when the form changes."""


class Resource(NamedTuple):
    """A file to download.

    Attributes:
      file: published name.
      size: number of bytes.
      sha256: SHA-256 of the content.
      addresses: URLs of the folders that hold it, tried in this order.
    """

    file: str
    size: int
    sha256: str
    addresses: tuple[str, ...]


@dataclass(frozen=True)
class Published:
    """A data set as its authors publish it.

    Attributes:
      class_names: one for each class.
      image_shape: shape of one image.
      read: (name, folder) -> arrays of a `Dataset`, read from the published files in the folder.
      form: kind of the files, for `Dataset.source`.
      expected: the files that a folder must hold, for messages.
      resources: the files to download; all that `read` needs.
      content: `Dataset.sha256` of the published data; None if not known.
    """

    class_names: tuple[str, ...]
    image_shape: tuple[int, ...]
    read: Callable[[str, Path], dict[str, np.ndarray]]
    form: str
    expected: str
    resources: tuple[Resource, ...]
    content: dict[str, str] | None = None

    def is_authentic(self, dataset: Dataset, folder: Path) -> bool:
        """Return False if the data, or a published file in the folder, has another checksum."""
        if self.content is not None:
            return dataset.sha256 == self.content
        files = [(folder / resource.file, resource.sha256) for resource in self.resources]
        return all(file_sha256(path) == sha256 for path, sha256 in files if path.is_file())


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


DIGITS = tuple(string.digits)
CLOTHES = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)
HIRAGANA = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")
OBJECTS = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)

TRAIN_IMAGES, TRAIN_LABELS = "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"
TEST_IMAGES, TEST_LABELS = "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"

ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")


def _idx_set(
    class_names: tuple[str, ...],
    addresses: tuple[str, ...],
    checksums: dict[str, tuple[int, str]],
    content: tuple[str, ...] = (),
) -> Published:
    return Published(
        class_names=class_names,
        image_shape=(28, 28),
        read=read_idx_set,
        form="IDX files",
        expected=", ".join(file.removesuffix(".gz") for file in checksums) + " (each may be .gz)",
        resources=tuple(
            Resource(file, size, sha256, addresses) for file, (size, sha256) in checksums.items()
        ),
        content=dict(zip(ARRAYS, content, strict=True)) if content else None,
    )


# Sizes and checksums as recorded by tensorflow-datasets for the published files.
PUBLISHED: dict[str, Published] = {
    "mnist": _idx_set(
        DIGITS,
        (
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
        ),
        {
            TRAIN_IMAGES: (
                9912422,
                "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            ),
            TRAIN_LABELS: (
                28881,
                "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            ),
            TEST_IMAGES: (
                1648877,
                "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            ),
            TEST_LABELS: (
                4542,
                "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
            ),
        },
        (
            "741c988805d008ac6e4c904b69001ba184c24b2c540a4ef403f4c71b676cf757",
            "ba2e26c82ab7a46fbcd5ec6de8eee4d541cf3829f5050669177da23b515defeb",
            "6d87418db22cc8025d05968bec9bd5c3932904b23485740db143a061a2c9d161",
            "52aa149c856ca033d02e1d2e5cc61033b4c56ed4a56f0edc328206a178c42126",
        ),
    ),
    "fashion_mnist": _idx_set(
        CLOTHES,
        (
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
            "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
        ),
        {
            TRAIN_IMAGES: (
                26421880,
                "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            ),
            TRAIN_LABELS: (
                29515,
                "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            ),
            TEST_IMAGES: (
                4422102,
                "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            ),
            TEST_LABELS: (
                5148,
                "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
            ),
        },
        (
            "2e487a6c89124f78f2d7521542223cafe96f7123c3ca13d447772ac6ecbb3012",
            "d69b1d6e0b8064974aa5aecc2786f961b8b2be829ee3a39dd8989efee46cad5a",
            "c867c93ff95360594e8ec3287995350b824dd110b11595c0e13d5423f621867a",
            "53fdd09ed9cbcd893df0e3b0af7802f2d62457de11c87273d4b4186f4992a40c",
        ),
    ),
    "kmnist": _idx_set(
        HIRAGANA,
        ("http://codh.rois.ac.jp/kmnist/dataset/kmnist/",),
        {
            TRAIN_IMAGES: (
                18165135,
                "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4",
            ),
            TRAIN_LABELS: (
                29497,
                "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17",
            ),
            TEST_IMAGES: (
                3041136,
                "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5",
            ),
            TEST_LABELS: (
                5120,
                "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c",
            ),
        },
    ),
    "emnist_letters": Published(
        class_names=tuple(string.ascii_lowercase),
        image_shape=(28, 28),
        read=read_emnist_letters,
        form="IDX files",
        expected=(
            f"{ARCHIVE}, or emnist-letters-train-images-idx3-ubyte and its three companions "
            "(each may be .gz)"
        ),
        resources=(
            Resource(
                ARCHIVE,
                561753746,
                "fb9bb67e33772a9cc0b895e4ecf36d2cf35be8b709693c3564cea2a019fcda8e",
                (
                    "https://biometrics.nist.gov/cs_links/EMNIST/",
                    "https://www.itl.nist.gov/iaui/vip/cs_links/EMNIST/",
                ),
            ),
        ),
    ),
    "cifar10": Published(
        class_names=OBJECTS,
        image_shape=(32, 32, 3),
        read=read_cifar10,
        form="CIFAR batches",
        expected=(
            f"{BINARY.archive} or {PYTHON.archive}, or the folder {BINARY.folder} or "
            f"{PYTHON.folder} that they hold"
        ),
        resources=(
            Resource(
                BINARY.archive,
                170052171,
                "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
                ("https://www.cs.toronto.edu/~kriz/",),
            ),
        ),
    ),
}


def read_published(name: str, folder: Path) -> dict[str, np.ndarray]:
    """Return the arrays of a published data set, labels as int32, from the files in a folder.

    Raises:
      DataError: if files are missing, damaged or inconsistent.
    """
    arrays = PUBLISHED[name].read(name, folder)
    return {
        key: array.astype(np.int32) if key.endswith("labels") else array
        for key, array in arrays.items()
    }
