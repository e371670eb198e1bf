"""A `Dataset` from what a Python program holds: arrays, pairs, tables, other libraries' data sets.

Each function also makes the test split if none is given.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from sffa_jax.checks import check_choice, reject, reject_type
from sffa_jax.data.arrays import check_counts, to_array, to_images, to_labels
from sffa_jax.data.dataset import DataError, Dataset
from sffa_jax.data.formats.pictures import COLORS, check_image_size, picture_pixels, unify
from sffa_jax.data.splits import check_test_fraction, held_out_test


def from_arrays(
    images: Any,
    labels: Any,
    test_images: Any = None,
    test_labels: Any = None,
    *,
    class_names: Sequence[str] | None = None,
    test_fraction: float | None = None,
    name: str = "arrays",
    source: str = "arrays",
) -> Dataset:
    """Return a data set of arrays.

    Args:
      images: pictures or a table of features, [samples, ...]; see `to_images`.
      labels: [samples] classes: integers or text. The classes are the sorted distinct labels of
        the training split, unless `class_names` is given.
      test_images, test_labels: the test split; None: a fraction of each class of the others.
      class_names: one for each class; labels are then integers from 0.
      test_fraction: fraction of each class in the test split, if it is not given; None: a fifth.
      name, source: of the data set, for reports.

    Raises:
      TypeError, ValueError: for images and labels that are rejected by `to_images` and
        `to_labels`, different counts, or a bad fraction.
      DataError: for fewer than two classes, a class without training samples, a test label that is
        no training label, or a fraction for data that has a test split.

    >>> dataset = from_arrays(np.zeros((10, 3)), ["no", "yes"] * 5)
    >>> dataset.class_names, dataset.train_images.shape, dataset.test_images.shape
    (('no', 'yes'), (8, 3), (2, 3))
    """
    check_test_fraction("from_arrays", test_fraction)
    images = to_images(images, where="from_arrays")
    labels = _class_labels(labels, class_names)
    check_counts(images, labels, where="from_arrays")
    if (test_images is None) != (test_labels is None):
        given = "only one of them"
        raise reject("from_arrays", "test_images", "be given with `test_labels`", given)
    if test_images is None:
        rows, test_rows = held_out_test(labels, test_fraction)
        images, test_images, labels, test_labels = (
            images[rows], images[test_rows], labels[rows], labels[test_rows],
        )  # fmt: skip
    elif test_fraction is not None:
        raise DataError(f"from_arrays: {name} has a test split. Leave the test fraction out.")
    else:
        test_labels = _class_labels(test_labels, class_names)
    classes, numbers = _numbered(name, labels, test_labels, class_names)
    return Dataset(name, images, numbers[0], test_images, numbers[1], classes, source)


def from_iterable(
    pairs: Iterable[Any],
    test_pairs: Iterable[Any] | None = None,
    *,
    image_size: Sequence[int] = (),
    color: str = "auto",
    name: str = "pairs",
    **options: Any,
) -> Dataset:
    """Return a data set of pairs (image, label), for example of a generator.

    Args:
      pairs: images are arrays, or Pillow images of any mode; labels as in `from_arrays`.
      test_pairs: the test split; None: a fraction of each class of the others.
      image_size, color: of all images, as in `load`; "auto" converts gray images to RGB if either
        split has colored ones.
      name: of the data set, for reports.
      options: `class_names`, `test_fraction` and `source` of `from_arrays`.

    Raises:
      TypeError, ValueError, DataError: as in `from_arrays`, or for an element that is no pair.

    >>> pairs = ((np.full((2, 2), i, np.uint8), i % 2) for i in range(10))
    >>> from_iterable(pairs).train_images.shape
    (8, 2, 2)
    """
    check_choice("from_iterable", "color", color, COLORS)
    check_image_size("from_iterable", image_size)
    given = {"pairs": pairs} if test_pairs is None else {"pairs": pairs, "test_pairs": test_pairs}
    splits = {key: _collect(key, part, image_size, color) for key, part in given.items()}
    dimensions = {image.ndim for images, _ in splits.values() for image in images}
    arrays: list[Any] = []
    for argument, (images, labels) in splits.items():
        if dimensions == {2, 3}:  # gray pictures among colored ones, of either split
            images = [unify(image[None], (), "rgb")[0] for image in images]
        arrays += [_stack(argument, images), labels]
    return from_arrays(*arrays, name=name, **{"source": "pairs", **options})


def from_pandas(table: Any, label: str, test_table: Any = None, **options: Any) -> Dataset:
    """Return a data set of a table: one column holds the labels, all others are features.

    Args:
      table: a pandas DataFrame.
      label: name of the labels' column.
      test_table: the test split, with the same columns; None: a fraction of each class.
      options: `class_names`, `test_fraction`, `name` and `source` of `from_arrays`.

    Raises:
      TypeError, ValueError, DataError: as in `from_arrays`, if a column is missing, or if a
        feature is not a number.
    """
    features, labels = _columns("table", table, label, None)
    test: tuple[Any, Any] = (None, None)
    if test_table is not None:
        test = _columns("test_table", test_table, label, [c for c in table.columns if c != label])
    options = {"name": "table", "source": "a DataFrame", **options}
    return from_arrays(features, labels, *test, **options)


def from_torch(dataset: Any, test_dataset: Any = None, **options: Any) -> Dataset:
    """Return a data set of a torch data set of (image, label).

    Args:
      dataset: a `torch.utils.data.Dataset`; images are tensors (channels first), arrays or Pillow
        images. An attribute `classes`, as in torchvision, gives the names of the classes.
      test_dataset: the test split; None: a fraction of each class.
      options: as in `from_iterable`.

    Raises:
      TypeError, ValueError, DataError: as in `from_iterable`.
    """
    options = {"name": "torch", "source": "a torch data set", **options}
    options.setdefault("class_names", getattr(dataset, "classes", None))
    test = None if test_dataset is None else _torch_pairs(test_dataset)
    return from_iterable(_torch_pairs(dataset), test, **options)


def from_hugging_face(
    dataset: Any,
    test_dataset: Any = None,
    *,
    image: str = "image",
    label: str = "label",
    **options: Any,
) -> Dataset:
    """Return a data set of a Hugging Face data set.

    Args:
      dataset: a `datasets.Dataset`, or a `DatasetDict` with a split `train` and perhaps `test` or
        `validation`.
      test_dataset: the test split; None: that of the `DatasetDict`, or a fraction of each class.
      image, label: names of the columns. The names of a `ClassLabel` are those of the classes.
      options: as in `from_iterable`.

    Raises:
      TypeError, ValueError, DataError: as in `from_iterable`, or if a split or a column is missing.
    """
    if isinstance(dataset, Mapping):
        if "train" not in dataset:
            got = ", ".join(map(str, dataset)) or "none"
            raise reject("from_hugging_face", "dataset", "have a split `train`", got)
        if test_dataset is None:
            test_dataset = dataset.get("test", dataset.get("validation"))
        dataset = dataset["train"]
    for column in (image, label):
        if column not in dataset.column_names:
            names = ", ".join(dataset.column_names)
            rule, advice = f"have the column {column!r}", "Pass `image=...` and `label=...`."
            raise reject("from_hugging_face", "dataset", rule, names, advice)
    options = {"name": "hugging_face", "source": "a Hugging Face data set", **options}
    options.setdefault("class_names", getattr(dataset.features[label], "names", None))
    pairs, test = (
        None if part is None else ((row[image], row[label]) for row in part)
        for part in (dataset, test_dataset)
    )
    assert pairs is not None
    return from_iterable(pairs, test, **options)


def _class_labels(labels: Any, class_names: Sequence[str] | None) -> np.ndarray:
    """Return labels as whole numbers or text, one-dimensional."""
    array = to_array(labels, where="from_arrays", argument="labels")
    if class_names is not None or array.dtype.kind == "f" or array.ndim != 1:
        number = None if class_names is None else len(class_names)
        return to_labels(array, number, where="from_arrays")
    if array.dtype.kind not in "biuUS":
        raise reject_type("from_arrays", "labels", "be integers or text", array.dtype)
    return array


def as_text(value: Any) -> str:
    """Return a label or a name as text; bytes are UTF-8, others than that are escaped."""
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)


def _numbered(
    name: str, labels: np.ndarray, test_labels: np.ndarray, class_names: Sequence[str] | None
) -> tuple[tuple[str, ...], tuple[np.ndarray, np.ndarray]]:
    """Return the names of the classes, and both splits' labels as numbers from 0."""
    classes = np.unique(labels)
    if class_names is not None:
        empty = [class_names[i] for i in range(len(class_names)) if i not in classes]
        if empty:
            shown = ", ".join(map(str, empty[:5]))
            raise DataError(f"{name}: each class must have training samples, got none of {shown}.")
    names = tuple(map(as_text, classes if class_names is None else class_names))
    if len(classes) < 2:
        got = names[0] if names else "none"
        raise DataError(f"{name}: labels must have at least two classes, got {got}.")
    unknown = test_labels[~np.isin(test_labels, classes)]
    if unknown.size:
        raise DataError(
            f"{name}: test labels must be classes of the training split, got {unknown[0]}. Add "
            "training samples of it, or leave its test samples out."
        )
    train, test = (np.searchsorted(classes, part) for part in (labels, test_labels))
    return names, (train.astype(np.int32), test.astype(np.int32))


def _collect(
    argument: str, pairs: Iterable[Any], image_size: Sequence[int], color: str
) -> tuple[list[np.ndarray], list[Any]]:
    """Return the images and the labels of pairs."""
    images, labels = [], []
    for i, pair in enumerate(pairs):
        if isinstance(pair, Mapping | str) or not hasattr(pair, "__len__") or len(pair) != 2:
            rule = "yield pairs (image, label)"
            got = f"{type(pair).__name__} as element {i}"
            raise reject_type("from_iterable", argument, rule, got)
        image, label = pair
        if hasattr(image, "getbands"):
            image = picture_pixels(image, f"image {i}")
        image = to_array(image, where="from_iterable", argument=argument)
        if len(image_size) or color != "auto":
            image = unify(image[None], image_size, color)[0]
        images.append(image)
        # A tensor or an array of one label.
        labels.append(label.item() if getattr(label, "shape", None) == () else label)
    if not images:
        raise reject("from_iterable", argument, "yield at least one pair", "none")
    return images, labels


def _stack(argument: str, images: Sequence[np.ndarray]) -> np.ndarray:
    """Return images of one shape as one array.

    Raises:
      TypeError: if only some are floats: their scale would differ from that of pixels.
      ValueError: for different shapes.
    """
    floats = any(image.dtype.kind == "f" for image in images)
    if floats and any(image.dtype == np.uint8 for image in images):
        rule, got = "yield either uint8 pixels or floats", "both"
        raise reject_type("from_iterable", argument, rule, got, "Convert all images alike.")
    shapes = sorted({image.shape for image in images})
    if len(shapes) > 1:
        raise reject(
            "from_iterable",
            argument,
            "yield images of one shape",
            f"{shapes[0]} and {shapes[1]}",
            "`image_size=...` resizes them; `color=...` gives all the same channels.",
        )
    return np.stack(images)


def _columns(
    argument: str, table: Any, label: str, expected: Sequence[Any] | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return features [samples, columns] float32 and labels of a DataFrame."""
    if not hasattr(table, "columns"):
        raise reject_type("from_pandas", argument, "be a DataFrame", type(table).__name__)
    if label not in table.columns:
        names = ", ".join(map(str, table.columns))
        raise reject("from_pandas", "label", f"be a column of `{argument}` ({names})", repr(label))
    features = table.drop(columns=[label])
    if expected is not None:
        missing = [column for column in expected if column not in features]
        if missing:
            rule = "have the columns of `table`"
            raise reject("from_pandas", argument, rule, f"no {missing[0]!r}")
        features = features[list(expected)]
    other = [c for c, kind in features.dtypes.items() if kind.kind not in "biuf"]
    if other or not features.shape[1]:
        got = f"{features.dtypes[other[0]]} in {other[0]!r}" if other else "no feature"
        advice = "`pandas.get_dummies` encodes categories; drop what is no feature."
        raise reject_type("from_pandas", argument, "hold numbers as features", got, advice)
    with np.errstate(over="ignore"):
        return features.to_numpy(np.float32), table[label].to_numpy()


def _torch_pairs(dataset: Any) -> Iterable[Any]:
    """Yield the pairs of a torch data set, with channels last."""
    # By index: not every data set with a length signals its end to an iterator.
    length = len(dataset) if hasattr(dataset, "__len__") else None
    pairs = dataset if length is None else (dataset[i] for i in range(length))
    for pair in pairs:
        image = pair[0]
        if hasattr(image, "permute") and image.ndim == 3:
            image = image.permute(1, 2, 0)
        yield (image, *pair[1:])
