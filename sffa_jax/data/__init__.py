"""Data sets: by name (embedded, from a folder, from TFDS, downloaded) or a user's own.

| To | Use |
|---|---|
| load a data set into memory | `load("mnist")` returns a `Dataset`; `NAMES` lists the names |
| load a folder of pictures | `load("folder:DIR")`, `read_picture` |
| load arrays or a table from a file | `load("npz:FILE")` |
| make a `Dataset` of a program's data | `from_arrays`, `from_iterable`, `from_pandas`, ... |
| convert images and labels of any kind to arrays | `to_images`, `to_labels` |
| hold out validation data | `stratified_split` |
| scale and convert images | `statistics`, `to_uint8`, `to_gray`, `to_rgb`, `resize`, `unify` |
| read one IDX file | `read_idx` |
| read a data set that does not fit in memory | `open_on_disk`, `batches` |

`DataError` is raised for data that is missing, damaged or inconsistent. tensorflow-datasets, grain
(`pip install "sffa_jax[stream]"`), requests and Pillow are imported when first used. TensorFlow is
imported only to prepare a `tfds:` data set that TFDS has not stored yet.
"""

from sffa_jax.data.arrays import to_images, to_labels
from sffa_jax.data.batches import AHEAD, Reading, batches
from sffa_jax.data.dataset import DataError, Dataset, statistics, to_uint8
from sffa_jax.data.formats.idx import read_idx
from sffa_jax.data.formats.pictures import (
    COLORS,
    SUFFIXES,
    check_image_size,
    read_picture,
    unify,
)
from sffa_jax.data.images import resize, to_gray, to_rgb
from sffa_jax.data.load import NAMES, check_name, load, open_on_disk
from sffa_jax.data.own import (
    from_arrays,
    from_hugging_face,
    from_iterable,
    from_pandas,
    from_torch,
)
from sffa_jax.data.records import OnDisk, Records
from sffa_jax.data.splits import check_test_fraction, stratified_split

__all__ = [
    "AHEAD",
    "COLORS",
    "NAMES",
    "SUFFIXES",
    "DataError",
    "Dataset",
    "OnDisk",
    "Reading",
    "Records",
    "batches",
    "check_image_size",
    "check_name",
    "check_test_fraction",
    "from_arrays",
    "from_hugging_face",
    "from_iterable",
    "from_pandas",
    "from_torch",
    "load",
    "open_on_disk",
    "read_idx",
    "read_picture",
    "resize",
    "statistics",
    "stratified_split",
    "to_gray",
    "to_images",
    "to_labels",
    "to_rgb",
    "to_uint8",
    "unify",
]
