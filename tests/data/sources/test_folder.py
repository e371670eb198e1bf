"""Folders of pictures: order, splits, conversions, and one sentence for what is wrong."""

from shutil import rmtree

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from sffa_jax import data

GRAY, COLOR = np.arange(12, dtype=np.uint8).reshape(4, 3), np.zeros((4, 3, 3), np.uint8)


def write(path, pixels=GRAY, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels, np.uint8)).save(path, **options)


def write_classes(folder, names=("cat", "dog"), count=2, pixels=GRAY):
    for i in range(count):
        for name in names:
            write(folder / name / f"{i}.png", pixels)


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """scikit-learn's digits as PNG, 0..16 scaled to 0..255 as `load` does; numbered in order."""
    folder = tmp_path_factory.mktemp("digits")
    pixels, labels = load_digits(return_X_y=True)
    images = np.round(pixels.reshape(-1, 8, 8) * (255 / 16))
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
        write(folder / "one" / str(label) / f"{i:04}.png", image)
    for split, rows in zip(("train", "test"), data.stratified_split(labels, 0.2, 0), strict=True):
        for i in rows:
            path = folder / "two" / split / str(labels[i]) / f"{i:04}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.symlink_to(folder / "one" / str(labels[i]) / f"{i:04}.png")
    return folder


@pytest.mark.parametrize("tree", ["one", "two"])
def test_digits_as_pictures_are_the_digits(digits, tree):
    """Equal arrays in equal order: every result on them is equal."""
    ours, expected = data.load(f"folder:{digits / tree}"), data.load("digits")
    assert ours.sha256 == expected.sha256
    assert ours.class_names == expected.class_names


def test_classes_and_files_are_sorted_by_name(tmp_path):
    for path in ("b/2.png", "b/x/1.JPG", "a/2.png", "a/10.png"):
        write(tmp_path / "train" / path)
    for path in ("b/1.png", "a/1.png", "a/.hidden.png", "a/.thumbnails/1.png", ".git/1.png"):
        write(tmp_path / "val" / path)
    (tmp_path / "val" / "a" / "notes.txt").write_text("no picture")
    stored = data.open_on_disk(f"folder:{tmp_path}")
    assert stored.class_names == ("a", "b")
    assert [path.name for path in stored.train.files] == ["10.png", "2.png", "2.png", "1.JPG"]
    assert stored.train.labels.tolist() == [0, 0, 1, 1]
    assert stored.test.labels.tolist() == [0, 1]


def test_sizes_and_colors_are_unified(tmp_path):
    write_classes(tmp_path / "train")
    write_classes(tmp_path / "test", pixels=np.full((6, 6, 3), 9))
    gray = data.load(f"folder:{tmp_path}", image_size=(5,), color="gray")
    assert gray.train_images.shape[1:] == gray.test_images.shape[1:] == (5, 5)
    assert set(gray.test_images.flat) == {9}
    rgb = data.load(f"folder:{tmp_path}", image_size=(4, 3), color="rgb")
    np.testing.assert_array_equal(rgb.train_images, np.stack([GRAY] * 3, -1)[None].repeat(4, 0))


def test_a_gray_picture_among_colored_ones_becomes_rgb(tmp_path):
    write_classes(tmp_path, pixels=COLOR)
    write(tmp_path / "dog" / "1.png", GRAY)
    dataset = data.load(f"folder:{tmp_path}")
    assert dataset.train_images.shape == (2, 4, 3, 3)


def test_named_sets_are_converted_too():
    images = data.load("digits", image_size=(4, 6), color="rgb").test_images
    assert images.shape == (359, 4, 6, 3)


def test_upright_opaque_first_frame(tmp_path):
    turned = Image.Exif()
    turned[0x0112] = 6  # turned by a quarter
    write(tmp_path / "turned.png", GRAY, exif=turned)
    np.testing.assert_array_equal(data.read_picture(tmp_path / "turned.png"), np.rot90(GRAY, -1))
    clear = np.zeros((2, 2, 4), np.uint8)
    clear[0, 0] = 10, 20, 30, 255
    write(tmp_path / "clear.png", clear)
    pixels = data.read_picture(tmp_path / "clear.png")
    assert pixels[0, 0].tolist() == [10, 20, 30]
    assert (pixels.reshape(-1, 3)[1:] == 255).all()
    ppm = b"P6 2 1 65535\n" + np.array([258, 0, 65535] * 2, ">u2").tobytes()
    (tmp_path / "deep.ppm").write_bytes(ppm)  # 16 bits for each color
    assert data.read_picture(tmp_path / "deep.ppm").tolist() == [[[1, 0, 255]] * 2]
    frames = [Image.fromarray(np.full((2, 2), level, np.uint8)) for level in (7, 8)]
    frames[0].save(tmp_path / "two.tiff", save_all=True, append_images=frames[1:])
    assert set(data.read_picture(tmp_path / "two.tiff").flat) == {7}


def test_records_give_statistics_and_batches(tmp_path):
    write_classes(tmp_path, count=5)
    stored = data.open_on_disk(f"folder:{tmp_path}", test_fraction=0.4)
    assert (len(stored.train), len(stored.test)) == (6, 4)
    mean, std = stored.train.statistics(np.arange(6))
    assert (mean, std) == data.statistics(GRAY[None])
    order = np.array([[5, 0], [2, 3]])
    for (images, labels), rows in zip(data.batches(stored.train, order), order, strict=True):
        np.testing.assert_array_equal(images, GRAY[None].repeat(2, 0))
        np.testing.assert_array_equal(labels, stored.train.labels[rows])


def truncate(folder):
    write(folder / "dog" / "2.png", np.zeros((50, 50)))
    path = folder / "dog" / "2.png"
    path.write_bytes(path.read_bytes()[:60])


WRONG = {
    "no folder": (lambda f: (f / "cat").rename(f.parent / "x"), "at least two classes, got dog"),
    "other splits": (
        lambda f: (write_classes(f / "train"), write_classes(f / "valid"), rmtree(f / "cat")),
        r"must contain train/ and test/, val/ or validation/, .* got dog, train, valid. Rename",
    ),
    "one picture": (
        lambda f: write(f / "eel" / "0.png"),
        "class eel must have at least 2 samples, got 1",
    ),
    "no picture": (lambda f: (f / "eel").mkdir(), "eel must contain pictures .* got none"),
    "damaged": (truncate, r"2.png cannot be read: .* Replace or delete the file"),
    "another size": (
        lambda f: write(f / "dog" / "2.png", np.zeros((3, 3))),
        "2.png must be 4x3 pixels, like .*0.png, got 3x3. --image-size 4 3 resizes all",
    ),
    "a colored one": (
        lambda f: write(f / "dog" / "2.png", COLOR),
        "2.png must be gray, like .*0.png, got a colored picture. --color rgb or --color gray",
    ),
    "16 bits": (
        lambda f: Image.new("I;16", (3, 4)).save(f / "dog" / "2.png"),
        "2.png must have 8 bits per channel, got Pillow's mode I;16. Save it",
    ),
    "unequal classes": (
        lambda f: (write_classes(f / "train"), write_classes(f / "test", ("cat", "eel"))),
        "must have the same classes, got dog, eel in only one of them",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_one_sentence(tmp_path, case):
    change, message = WRONG[case]
    folder = tmp_path / "pictures"
    write_classes(folder)
    change(folder)
    with pytest.raises(data.DataError, match=message):
        data.load(f"folder:{folder}")


def test_a_class_of_trains_is_no_split(tmp_path):
    write_classes(tmp_path, ("bus", "train"))
    write_classes(tmp_path / "train", ("steam", "diesel"))
    assert data.load(f"folder:{tmp_path}").class_names == ("bus", "train")


def test_a_folder_is_named_if_it_is_none(tmp_path):
    for path, got in ((tmp_path / "x", "no such folder"), (tmp_path / "file", "a file")):
        (tmp_path / "file").write_text("")
        with pytest.raises(data.DataError, match=f"must be a folder .* got {got}"):
            data.load(f"folder:{path}")


def test_a_test_fraction_is_for_data_without_a_test_split(tmp_path):
    write_classes(tmp_path / "train")
    write_classes(tmp_path / "test")
    for name in ("digits", f"folder:{tmp_path}"):
        with pytest.raises(data.DataError, match="has a test split.* Leave --test-fraction out"):
            data.load(name, test_fraction=0.5)
