"""Data sets from what a program holds, and from NumPy archives."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from sffa_jax import data

RNG = np.random.default_rng(0)
TABLE = RNG.normal(size=(20, 3)).astype(np.float32) * [1, 1e4, 0] + [0, 1e5, 7]
LABELS = np.arange(20) % 2
WORDS = np.array(["no", "yes"])[LABELS]
PICTURES = RNG.integers(0, 256, (20, 4, 4, 3), np.uint8)


def equal(first, second):
    return first.sha256 == second.sha256 and first.class_names == second.class_names


@pytest.fixture(scope="module")
def whole():
    return data.from_arrays(PICTURES, LABELS, test_fraction=0.4)


def test_a_split_of_each_class_is_held_out(whole):
    kept, held_out = data.stratified_split(LABELS, 0.4, seed=0)
    np.testing.assert_array_equal(whole.train_images, PICTURES[kept])
    np.testing.assert_array_equal(whole.test_labels, LABELS[held_out])
    assert (whole.class_names, whole.name) == (("0", "1"), "arrays")


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (WORDS, ("no", "yes")),
        (WORDS.astype("S"), ("no", "yes")),
        (list(WORDS), ("no", "yes")),
        (LABELS * 2 - 1, ("-1", "1")),
        (LABELS.astype(float) * 5, ("0", "5")),
        (LABELS.astype(bool), ("False", "True")),
    ],
)
def test_classes_are_the_sorted_labels(labels, names):
    dataset = data.from_arrays(TABLE, labels, TABLE[:4], labels[:4])
    assert dataset.class_names == names
    np.testing.assert_array_equal(dataset.train_labels, LABELS)
    np.testing.assert_array_equal(dataset.test_labels, LABELS[:4])


def test_each_feature_of_a_table_has_its_own_scale():
    mean, std = data.statistics(TABLE)
    np.testing.assert_allclose(mean, TABLE.mean(0), rtol=1e-5)
    np.testing.assert_allclose(std[:2], TABLE[:, :2].std(0), rtol=1e-5)
    assert std[2] == 0
    image_mean, image_std = data.statistics(TABLE.reshape(20, 3, 1))
    assert image_mean.shape == image_std.shape == ()


def test_pairs_tensors_and_rows_give_the_same_set(whole):
    """Stand-ins for torch and Hugging Face, which the tests do not install."""

    class Tensor:
        """Channels first, as torchvision's `ToTensor` returns it."""

        def __init__(self, array):
            self.array, self.ndim = array, array.ndim

        def permute(self, *axes):
            return self.array.transpose(axes)

    class TorchSet:
        classes = ("0", "1")

        def __len__(self):
            return len(LABELS)

        def __getitem__(self, i):  # a torch data set of tensors may go on without an end
            return Tensor(PICTURES[i % 20].transpose(2, 0, 1)), np.int64(LABELS[i % 20])

    class Rows(list):
        column_names = ("image", "label")
        features = {"label": type("ClassLabel", (), {"names": ["0", "1"]})}  # noqa: RUF012

    pairs = list(zip(PICTURES, LABELS.tolist(), strict=True))
    rows = Rows({"image": Image.fromarray(x), "label": y} for x, y in pairs)
    assert equal(data.from_iterable(iter(pairs), test_fraction=0.4), whole)
    assert equal(data.from_torch(TorchSet(), test_fraction=0.4), whole)
    assert equal(data.from_hugging_face(rows, test_fraction=0.4), whole)
    split = data.from_hugging_face({"train": rows, "validation": Rows(rows[:2])})
    assert (len(split.train_labels), len(split.test_labels)) == (20, 2)
    with pytest.raises(ValueError, match="must have the column 'img', got image, label"):
        data.from_hugging_face(rows, image="img")
    with pytest.raises(ValueError, match="must have a split `train`, got all"):
        data.from_hugging_face({"all": rows})


def test_a_real_torch_set_gives_the_same_set(whole):
    torch = pytest.importorskip("torch", reason="only where PyTorch is installed")
    from torch.utils.data import TensorDataset

    pictures = torch.from_numpy(PICTURES).permute(0, 3, 1, 2)
    real = TensorDataset(pictures, torch.from_numpy(LABELS))
    assert equal(data.from_torch(real, class_names=["0", "1"], test_fraction=0.4), whole)
    assert equal(
        data.from_arrays(torch.from_numpy(PICTURES), real.tensors[1]),
        data.from_arrays(PICTURES, LABELS),
    )


@pytest.mark.filterwarnings("ignore")  # its own pickling warns
def test_a_real_hugging_face_set_gives_the_same_set(whole):
    datasets = pytest.importorskip("datasets", reason="only where Hugging Face's is installed")
    kinds = {"image": datasets.Image(), "label": datasets.ClassLabel(names=["0", "1"])}
    rows = {"image": list(map(Image.fromarray, PICTURES)), "label": LABELS.tolist()}
    real = datasets.Dataset.from_dict(rows, features=datasets.Features(kinds))
    assert equal(data.from_hugging_face(real, test_fraction=0.4), whole)
    both = datasets.DatasetDict(train=real, validation=real.select([0, 1]))
    split = data.from_hugging_face(both)
    assert (len(split.train_labels), len(split.test_labels)) == (20, 2)


def test_pictures_of_pairs_are_unified():
    sizes = [(4, 4, 3), (6, 6, 3), (5, 5)] * 4
    pairs = [(np.full(size, 9, np.uint8), i % 2) for i, size in enumerate(sizes)]
    dataset = data.from_iterable(pairs, image_size=[4], color="gray")
    assert dataset.train_images.shape[1:] == (4, 4)
    with pytest.raises(ValueError, match=r"images of one shape, got .* `image_size=...` resizes"):
        data.from_iterable(pairs)


GRAY, RED = np.full((2, 2), 9, np.uint8), np.full((2, 2, 3), (9, 0, 0), np.uint8)


@pytest.mark.parametrize(
    ("train", "test"),
    [([GRAY, GRAY], [RED, RED]), ([RED, RED], [GRAY, GRAY]), ([GRAY, RED], [GRAY, GRAY])],
)
def test_gray_pictures_of_either_split_become_rgb(train, test):
    splits = ([(image, label) for label, image in enumerate(part)] for part in (train, test))
    dataset = data.from_iterable(*splits)
    for part, given in ((dataset.train_images, train), (dataset.test_images, test)):
        expected = [np.full((2, 2, 3), 9) if image is GRAY else RED for image in given]
        np.testing.assert_array_equal(part, expected)


def test_rows_may_be_lists_of_whole_numbers_and_floats():
    dataset = data.from_iterable([([1, 2.5], "a"), ([3, 4], "b")] * 5)
    np.testing.assert_array_equal(np.unique(dataset.train_images, axis=0), [[1, 2.5], [3, 4]])


def test_a_table_of_pandas(tmp_path):
    frame = pd.DataFrame(TABLE, columns=["a", "b", "c"]).assign(kind=WORDS)
    frame["c"] = range(20)  # integers are features, too
    dataset = data.from_pandas(frame, "kind")
    assert dataset.class_names == ("no", "yes")
    assert dataset.train_images.shape == (16, 3)
    assert dataset.train_images.dtype == np.float32
    swapped = frame[["kind", "c", "b", "a"]]
    both = data.from_pandas(frame, "kind", swapped)
    np.testing.assert_array_equal(both.test_images, both.train_images)
    np.savez(tmp_path / "table.npz", features=frame[["a", "b", "c"]], labels=WORDS)
    assert equal(data.load(f"npz:{tmp_path / 'table.npz'}"), dataset)
    for bad, message in (
        (frame.assign(d="x"), "hold numbers as features, got .* in 'd'. `pandas.get_dummies`"),
        (frame[["kind"]], "hold numbers as features, got no feature"),
        (frame.assign(a=np.nan), "must be finite, got 20 NaN"),
    ):
        with pytest.raises((TypeError, ValueError), match=message):
            data.from_pandas(bad, "kind")
    with pytest.raises(ValueError, match="`label` must be a column of `table` .*, got 'sort'"):
        data.from_pandas(frame, "sort")
    with pytest.raises(ValueError, match="`test_table` must have the columns of `table`, got no"):
        data.from_pandas(frame, "kind", frame[["a", "kind"]])


def npz(folder, **arrays):
    np.savez(folder / "data.npz", **arrays)
    return f"npz:{folder / 'data.npz'}"


def test_an_archive_of_both_splits(tmp_path, whole):
    splits = {"train": (whole.train_images, whole.train_labels)}
    splits["test"] = (whole.test_images, whole.test_labels)
    images = {f"{split}_images": images for split, (images, _) in splits.items()}
    labels = {f"{split}_labels": labels for split, (_, labels) in splits.items()}
    name = npz(tmp_path, **images, **labels)
    assert equal(data.load(name), whole)
    assert data.load(name, image_size=(2,), color="gray").test_images.shape == (8, 2, 2)
    keras = {f"{axis}_{split}": array for split, pair in splits.items()
             for axis, array in zip("xy", pair, strict=True)}  # fmt: skip
    assert equal(data.load(npz(tmp_path, **keras)), whole)
    named = data.load(npz(tmp_path, **images, **labels, class_names=["cat", "dog"]))
    assert named.class_names == ("cat", "dog")
    with pytest.raises(
        data.DataError, match="must name the training split, too, .* test_labels. R"
    ):
        data.load(npz(tmp_path, features=TABLE, labels=LABELS, test_labels=LABELS))
    in_bytes = data.load(npz(tmp_path, **images, **labels, class_names=[b"cat", b"\xe9"]))
    assert in_bytes.class_names == ("cat", "\\xe9")
    with pytest.raises(data.DataError, match="has a test split"):
        data.load(npz(tmp_path, **keras), test_fraction=0.5)


WRONG = {
    "one class": ({"labels": np.zeros(20, int)}, "must have at least two classes, got 0"),
    "counts": (
        {"labels": LABELS[:3]},
        "one label for each image, at least one, got 20 images and 3 labels",
    ),
    "fractions": ({"labels": LABELS + 0.5}, "`labels` must be whole numbers, got 0.5"),
    "empty class": (
        {"labels": LABELS, "class_names": ["a", "b", "c"]},
        "each class must have training samples, got none of c",
    ),
    "few names": ({"labels": LABELS, "class_names": ["a"]}, r"must lie in \[0, 1\), got .* max 1"),
    "no array": ({"images": TABLE}, "features and labels, got features, images"),
    "objects": ({"labels": np.array([{}] * 20)}, "cannot be read: Object arrays .* `numpy.savez`"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_one_sentence(tmp_path, case):
    arrays, message = WRONG[case]
    with pytest.raises(data.DataError, match=message):
        data.load(npz(tmp_path, features=TABLE, **arrays))


def test_an_archive_that_cannot_be_read(tmp_path):
    (tmp_path / "data.npz").write_bytes(b"PK\3\4 damaged")
    for name in ("data.npz", "none.npz"):
        with pytest.raises(data.DataError, match=f"{name} cannot be read: .* `numpy.savez`"):
            data.load(f"npz:{tmp_path / name}")
    (tmp_path / "table.csv").write_text("a,kind\n1,x\n")
    with pytest.raises(data.DataError, match=r"table.csv is no NumPy archive. .* `numpy.savez`"):
        data.load(f"npz:{tmp_path / 'table.csv'}")
    with pytest.raises(data.DataError, match="must be no npz:FILE"):
        data.open_on_disk("npz:any")


def test_bad_arguments():
    with pytest.raises(data.DataError, match="test labels must be classes .* got 2"):
        data.from_arrays(TABLE, LABELS, TABLE, LABELS + 1)
    with pytest.raises(ValueError, match="`test_images` must be given with `test_labels`"):
        data.from_arrays(TABLE, LABELS, TABLE)
    for pairs, message in (
        ([], "`pairs` must yield at least one pair, got none"),
        ([(1, 2, 3)], r"must yield pairs \(image, label\), got tuple as element 0"),
        ([{"image": 0}], "got dict as element 0"),
        ([(GRAY, 0), (GRAY / 255, 1)], "yield either uint8 pixels or floats, got both"),
    ):
        with pytest.raises((TypeError, ValueError), match=message):
            data.from_iterable(pairs)
