"""Batches of a data set on disk, read ahead by threads, in the caller's order."""

from typing import Any, NamedTuple

import numpy as np

from sffa_jax.checks import check_integer, reject
from sffa_jax.data.records import Records


class Reading(NamedTuple):
    """How batches are read ahead.

    Attributes:
      threads: number of threads that read and decode in parallel; 0 reads in the caller's thread.
      buffer: number of batches read in advance.
    """

    threads: int = 4
    buffer: int = 8


AHEAD = Reading()
"""The default; enough for images of a few kilobytes on a local disk."""


def import_grain() -> Any:
    """Return the module `grain`.

    Raises:
      ImportError: with the command that installs it.
    """
    try:
        import grain
    except ModuleNotFoundError as error:
        message = 'Reading batches from disk needs grain. Run `pip install "sffa_jax[stream]"`.'
        raise ImportError(message) from error
    return grain


def in_order(number: int, size: int) -> list[np.ndarray]:
    """Return orders [steps, batch] of all rows, for `batches`: whole batches, then the rest.

    >>> [order.tolist() for order in in_order(5, 2)]
    [[[0, 1], [2, 3]], [[4]]]
    """
    rows, end = np.arange(number), number // size * size
    return [order for order in (rows[:end].reshape(-1, size), rows[None, end:]) if order.size]


class _Batches:
    """A source of batches for grain: random access by step."""

    def __init__(self, records: Records, order: np.ndarray) -> None:
        self.records, self.order = records, order

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, step: Any) -> tuple[np.ndarray, np.ndarray]:
        return self.records.read(self.order[step])


def batches(
    records: Records,
    order: np.ndarray,
    *,
    start: int = 0,
    process: int = 0,
    num_processes: int = 1,
    reading: Reading = AHEAD,
) -> Any:
    """Return the batches of the given steps as a grain dataset.

    Args:
      records: the records to read, e.g. `open_on_disk("mnist").train`.
      order: [steps, batch] indices into the records.
      start: the first step to read; a resumed run continues where it stopped.
      process: index of this process, from 0; it reads its equal part of every batch.
      num_processes: number of processes that share each batch.
      reading: number of threads and of batches read in advance.

    Returns:
      A `grain.IterDataset` of (images [batch / num_processes, *image_shape] uint8, labels
      [batch / num_processes] int32), one for each step from `start`.

    Raises:
      ImportError: if grain is not installed.
      TypeError, ValueError: for a number out of range, another order than whole numbers [steps,
        batch], or if the processes cannot share a batch evenly.
      DataError: during iteration, if a record is damaged.
    """
    check_integer("batches", "start", start, 0)
    check_integer("batches", "num_processes", num_processes, 1)
    check_integer("batches", "process", process, 0)
    check_integer("batches", "threads", reading.threads, 0)
    check_integer("batches", "buffer", reading.buffer, 1)
    order = np.asarray(order)
    if order.ndim != 2 or order.dtype.kind not in "iu":
        got = f"{order.dtype} of shape {order.shape}"
        raise reject("batches", "order", "be whole numbers [steps, batch]", got)
    num_steps, batch_size = order.shape
    if process >= num_processes:
        raise reject("batches", "process", f"be below {num_processes} processes", process)
    if batch_size % num_processes:
        rule = f"divide the batch size {batch_size}"
        raise reject("batches", "num_processes", rule, num_processes)
    grain = import_grain()
    part = order.reshape(num_steps, num_processes, -1)[start:, process]
    options = grain.ReadOptions(num_threads=reading.threads, prefetch_buffer_size=reading.buffer)
    return grain.MapDataset.source(_Batches(records, part)).to_iter_dataset(options)
