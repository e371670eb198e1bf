"""Batches of a set on disk, read ahead by threads, in an order that the caller names."""

from typing import Any, NamedTuple

import numpy as np

from sffa_jax.data.dataset import DataError, check_whole
from sffa_jax.data.sources.records import Records


class Reading(NamedTuple):
    """How batches are read ahead.

    Attributes:
      threads: read and decode at the same time.
      buffer: batches that are ready before they are asked for.
    """

    threads: int = 4
    buffer: int = 8


AHEAD = Reading()
"""Enough for images of a few kilobytes on a local disk."""


class _Batches:
    """Random access to batches, as grain asks of a source."""

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
    """The batches of some steps, in their order, as a grain dataset.

    Args:
      records: where they are read from.
      order: [steps, batch] indices into the records.
      start: the step to begin with, so that a stream goes on exactly where another stopped.
      process: of `num_processes`, each of which gets its equal part of every batch.
      num_processes: that share each batch.
      reading: how far ahead.

    Returns:
      A `grain.IterDataset` of (images [part, *image_shape] uint8, labels [part] int32), one for
      each step from `start`.

    Raises:
      DataError: if the processes cannot share a batch evenly, or for a number out of range. A
        damaged record raises it when its batch is reached.
    """
    # Imported here: only streams need it.
    import grain

    check_whole("batches", "start", start, 0)
    check_whole("batches", "process", process)
    check_whole("batches", "num_processes", num_processes, 1)
    check_whole("batches", "threads", reading.threads, 0)
    check_whole("batches", "buffer", reading.buffer, 1)
    num_steps, batch_size = order.shape
    if not 0 <= process < num_processes or batch_size % num_processes:
        raise DataError(
            f"batches: a batch of {batch_size} must be shared evenly, got {num_processes} "
            f"processes (this one: {process}). Choose a multiple as the batch size."
        )
    part = order.reshape(num_steps, num_processes, -1)[start:, process]
    options = grain.ReadOptions(num_threads=reading.threads, prefetch_buffer_size=reading.buffer)
    return grain.MapDataset.source(_Batches(records, part)).to_iter_dataset(options)
