"""A folder of pictures as a data set: one sub-folder for each class."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sffa_jax.checks import check_choice
from sffa_jax.data.dataset import DataError
from sffa_jax.data.formats.pictures import (
    COLORS,
    SUFFIXES,
    check_image_size,
    read_picture,
    unify,
)
from sffa_jax.data.records import OnDisk, Records
from sffa_jax.data.splits import check_test_fraction, held_out_test

TEST_FOLDERS = ("test", "val", "validation")
"""Names of the folder of test images beside train/, the first that exists."""


class PictureRecords(Records):
    """One split of a folder of pictures, decoded when they are read.

    Attributes:
      files: path of each picture.
      like: the picture whose shape all must have.
      image_size, color: as in `open_folder`.
    """

    def __init__(
        self,
        files: Sequence[Path],
        labels: np.ndarray,
        like: Path,
        image_size: tuple[int, ...],
        color: str,
    ) -> None:
        """Decode the picture `like`, which defines the shape of all."""
        self.files, self.like, self.image_size = files, like, image_size
        self.where = str(files[0].parent)
        self._labels = labels
        first = read_picture(like)
        # A gray picture among colored ones loses nothing as RGB; the reverse would.
        self.color = "rgb" if color == "auto" and first.ndim == 3 else color
        shape = unify(first[None], (), self.color).shape[1:]
        self.image_shape = (*image_size, *shape[2:]) if image_size else shape

    def __len__(self) -> int:
        return len(self.files)

    @property
    def labels(self) -> np.ndarray:
        """All labels, [samples] int32."""
        return self._labels

    def read(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return images [indices, *image_shape] uint8 and labels [indices] int32.

        Raises:
          DataError: if a picture is damaged or has another shape.
        """
        images = np.empty((len(indices), *self.image_shape), np.uint8)
        for row, index in enumerate(indices):
            images[row] = self._image(self.files[index])
        return images, self._labels[indices]

    def _image(self, path: Path) -> np.ndarray:
        image = unify(read_picture(path)[None], self.image_size, self.color)[0]
        if image.shape == self.image_shape:
            return image
        height, width = self.image_shape[:2]
        if image.shape[:2] != (height, width):
            rule, got = f"{height}x{width} pixels", f"{image.shape[0]}x{image.shape[1]}"
            advice = f"--image-size {height} {width} resizes all pictures."
        else:
            rule, got = "gray", "a colored picture"
            advice = "--color rgb or --color gray converts all pictures."
        raise DataError(f"load: {path} must be {rule}, like {self.like}, got {got}. {advice}")


def open_folder(
    folder: Path,
    name: str,
    *,
    image_size: Sequence[int] = (),
    color: str = "auto",
    test_fraction: float | None = None,
) -> OnDisk:
    """Open a folder of pictures; the pictures stay on disk.

    The folder holds train/ and test/ (or val/, validation/), each with one sub-folder for each
    class; or the classes' folders, of which a fraction of each class becomes the test split. Class
    names are sorted. Pictures are sorted by their path within the class's folder, then by class:
    the order depends on names only, and numbered names keep an order across classes.

    Args:
      folder: the folder.
      name: name of the data set.
      image_size: (height, width) of all images, or (size,) for both; (): images keep their size,
        which must be the same.
      color: "gray", "rgb", or "auto": as the first picture.
      test_fraction: fraction of each class's pictures in the test split; None: a fifth.

    Raises:
      DataError: if the folder, a class or pictures are missing, there is only one class, the
        folders of the splits have other names, or the first picture cannot be read.
      TypeError, ValueError: for a bad size, color or fraction.
    """
    check_choice("load", "color", color, COLORS)
    size = check_image_size("load", image_size)
    check_test_fraction("load", test_fraction)
    if not folder.is_dir():
        raise DataError(
            f"load: {folder} must be a folder with one sub-folder of pictures for each class, got "
            f"{'a file' if folder.exists() else 'no such folder'}."
        )
    test_folder = next((folder / n for n in TEST_FOLDERS if (folder / n).is_dir()), None)
    if test_folder is not None and (folder / "train").is_dir():
        if test_fraction is not None:
            raise DataError(
                f"load: {folder} has a test split, {test_folder.name}/. Leave --test-fraction out."
            )
        class_names = _class_names(folder / "train")
        in_test = _class_names(test_folder)
        if in_test != class_names:
            differing = sorted({*in_test} ^ {*class_names})
            raise DataError(
                f"load: {folder}/train and {test_folder} must have the same classes, got "
                f"{', '.join(differing[:5])} in only one of them."
            )
        train, test = _pictures(folder / "train", class_names), _pictures(test_folder, class_names)
    else:
        class_names = _class_names(folder)
        _check_no_split(folder, class_names)
        files, labels = _pictures(folder, class_names)
        named = np.array(class_names)[labels]  # sorted like the labels; errors show them
        train, test = (
            ([files[i] for i in rows], labels[rows]) for rows in held_out_test(named, test_fraction)
        )
    like = train[0][0]
    return OnDisk(
        name=name,
        train=PictureRecords(*train, like, size, color),
        test=PictureRecords(*test, like, size, color),
        class_names=tuple(class_names),
        source=f"pictures in the folder {folder.name}",
        sha256={},
    )


def _check_no_split(folder: Path, class_names: Sequence[str]) -> None:
    """Raise DataError if the folders are not classes but splits with other names than ours.

    There may be a class of trains: its folder contains pictures.
    """
    for name in class_names:
        if name.lower() not in ("train", "training"):
            continue
        inside = [path for path in (folder / name).iterdir() if path.name[0] != "."]
        if all(path.is_dir() for path in inside):
            raise DataError(
                f"load: {folder} must contain train/ and {'/, '.join(TEST_FOLDERS[:-1])}/ or "
                f"{TEST_FOLDERS[-1]}/, or the classes, got {', '.join(class_names[:5])}. Rename "
                "the folders of the splits."
            )


def _class_names(folder: Path) -> list[str]:
    """Return the sorted names of the classes' folders; hidden folders are ignored."""
    names = sorted(p.name for p in folder.iterdir() if p.is_dir() and p.name[0] != ".")
    if len(names) < 2:
        raise DataError(
            f"load: {folder} must have one sub-folder of pictures for each of at least two "
            f"classes, got {', '.join(names) or 'none'}."
        )
    return names


def _pictures(folder: Path, class_names: Sequence[str]) -> tuple[list[Path], np.ndarray]:
    """Return the pictures of all classes and their labels, sorted by name, then by class.

    Raises:
      DataError: if a class has no picture.
    """
    pictures = []
    for label, name in enumerate(class_names):
        inside = [
            (path.relative_to(folder / name).as_posix(), label, path)
            for path in (folder / name).rglob("*")
            if path.suffix.lower() in SUFFIXES and path.is_file()
        ]
        inside = [entry for entry in inside if not any(p[0] == "." for p in entry[0].split("/"))]
        if not inside:
            raise DataError(
                f"load: {folder / name} must contain pictures ({', '.join(SUFFIXES)}), got none. "
                "Add some, or delete the folder."
            )
        pictures += inside
    pictures.sort()
    return [path for _, _, path in pictures], np.array([n for _, n, _ in pictures], np.int32)
