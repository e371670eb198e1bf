"""Image classification data sets by name: embedded, from a folder, from TFDS, or downloaded.

| To | Use |
|---|---|
| load a data set into memory | `load("mnist")` returns a `Dataset`; `NAMES` lists the names |
| hold out validation data | `stratified_split` |
| scale and convert images | `statistics`, `to_uint8`, `to_gray`, `to_rgb`, `resize` |
| read one IDX file | `read_idx` |
| read a data set that does not fit in memory | `open_on_disk`, `batches` |

`DataError` is raised for data that is missing, damaged or inconsistent. tensorflow-datasets, grain
(`pip install "sffa_jax[stream]"`), requests and Pillow are imported when first used. TensorFlow is
imported only to prepare a `tfds:` data set that TFDS has not stored yet.
"""

from sffa_jax.data.batches import AHEAD, Reading, batches
from sffa_jax.data.dataset import DataError, Dataset, statistics, to_uint8
from sffa_jax.data.formats.idx import read_idx
from sffa_jax.data.images import resize, to_gray, to_rgb
from sffa_jax.data.load import NAMES, check_name, load, open_on_disk
from sffa_jax.data.sources.records import OnDisk, Records
from sffa_jax.data.splits import stratified_split

__all__ = [
    "AHEAD",
    "NAMES",
    "DataError",
    "Dataset",
    "OnDisk",
    "Reading",
    "Records",
    "batches",
    "check_name",
    "load",
    "open_on_disk",
    "read_idx",
    "resize",
    "statistics",
    "stratified_split",
    "to_gray",
    "to_rgb",
    "to_uint8",
]
