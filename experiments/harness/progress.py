"""Progress of runs that train together: a bar on a terminal, plain lines elsewhere, TensorBoard."""

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column
from rich.text import Text

from sffa_jax.scale.processes import is_main_process

FLUSH_SECONDS = 30.0
"""Maximum time until TensorBoard's events are flushed to disk during training."""

LINE_SECONDS = 60.0
"""A line is due if the last one is older than this."""

Points = Callable[[int, int], Iterable[tuple[int, Mapping[str, float]]]]
"""(run, number of the unit of work from 0) -> (step, scalars by tag) pairs."""


def by_layer(name: str, values: np.ndarray) -> dict[str, float]:
    """Returns the value of each layer, [layers], by its TensorBoard tag."""
    return {f"{name}/layer_{layer}": float(value) for layer, value in enumerate(values, 1)}


def status(losses: np.ndarray, accuracies: np.ndarray | None, scored: str) -> str:
    """Formats the mean loss and mean accuracies of runs.

    Args:
      losses: [runs, layers] nats. The mean excludes diverged runs, which have a loss that is not
        finite.
      accuracies: [runs, 1 + layers] fractions of the network and of each layer; or None.
      scored: name of the split or task that the accuracies belong to.
    """
    # In float64, because the sum of large losses overflows in float32.
    finite = losses[np.isfinite(losses).all(axis=1)].astype(float)
    text = f"loss {finite.mean():.4g}" if len(finite) else "loss nan"
    if len(finite) < len(losses):
        text += f" ({len(losses) - len(finite)} of {len(losses)} diverged)"
    if accuracies is None:
        return text
    network, *layers = 100 * accuracies.astype(float).mean(axis=0)
    text += f", {scored} {network:.2f} %"
    if len(layers) > 1:  # a single layer is the network
        text += f", layers {' / '.join(f'{layer:.2f}' for layer in layers)} %"
    return text


class _Bar(Progress):
    """A progress bar with the field `status` on the line below."""

    def get_renderables(self) -> Iterable[RenderableType]:
        yield self.make_tasks_table(self.tasks)
        yield from (Text(task.fields["status"]) for task in self.tasks if task.fields["status"])


def _bar(console: Console, unit: str, keep: bool) -> _Bar:
    label = Column(max_width=console.width // 2, no_wrap=True, overflow="ellipsis")
    plain = Column(no_wrap=True)
    return _Bar(
        TextColumn("{task.description}", markup=False, table_column=label),
        BarColumn(bar_width=None, table_column=Column(ratio=1)),
        TextColumn(unit, table_column=plain),
        MofNCompleteColumn(table_column=plain),
        TimeElapsedColumn(table_column=plain),
        TimeRemainingColumn(table_column=plain),
        TextColumn("left", table_column=plain),
        console=console,
        expand=True,
        transient=not keep,
        refresh_per_second=2,
        # The default of 30 s would show no speed for epochs that take longer.
        speed_estimate_period=math.inf,
    )


class _EventFiles:
    """TensorBoard's event files, one folder per run; they replace the files of an earlier start."""

    # tensorboardX's `SummaryWriter` uses two threads and three open files per run, and waits
    # forever for a thread that failed (disk full). Its `RecordWriter` writes in the calling thread.

    def __init__(self, folders: Sequence[Path]) -> None:
        from tensorboardX import RecordWriter
        from tensorboardX.proto.event_pb2 import Event, SessionLog
        from tensorboardX.proto.summary_pb2 import Summary

        self._event, self._summary = Event, Summary
        self._writers = []
        self._flushed = time.monotonic()
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
            old = sorted(folder.glob("events.out.tfevents.*"))
            for file in old[:-1]:
                file.unlink()
            # TensorBoard moves on from the file that it reads to later names only, so the last old
            # file stays, empty, under a name that sorts before the new one.
            for file in old[-1:]:
                file.write_bytes(b"")
            new = folder.resolve() / f"events.out.tfevents.{time.time_ns()}"
            self._writers.append(RecordWriter(str(new)))
            self._write(-1, file_version="brain.Event:2")
            # TensorBoard then discards earlier points from this step on.
            self._write(-1, step=0, session_log=SessionLog(status=SessionLog.START))

    def _write(self, run: int, **fields: Any) -> None:
        event = self._event(wall_time=time.time(), **fields)
        self._writers[run].write(event.SerializeToString())

    def add(self, run: int, step: int, scalars: Mapping[str, float]) -> None:
        """Adds the scalars of a run at a step."""
        values = [self._summary.Value(tag=t, simple_value=v) for t, v in scalars.items()]
        self._write(run, step=step, summary=self._summary(value=values))

    def flush(self) -> None:
        """Flushes all files to disk if the last flush was `FLUSH_SECONDS` ago."""
        if time.monotonic() - self._flushed >= FLUSH_SECONDS:
            for writer in self._writers:
                writer.flush()
            self._flushed = time.monotonic()

    def close(self) -> None:
        """Flushes and closes all files."""
        for writer in self._writers:
            writer.flush()
            writer.close()


class Watcher:
    """Shows the progress of runs that train together; a context manager around their training.

    Args:
      console: shows a bar if it is a terminal, lines otherwise.
      label: name of the runs.
      total: number of units of work.
      unit: name of a unit of work, such as "epoch".
      scored: name of the split or task that the accuracies belong to.
      events: folder of each run for its TensorBoard events; None: no events. Only the main process
        writes them.
      keep: True: the bar stays at the end, and lines are also printed after the first unit of this
        start, the middle and the last one. False: the bar disappears at the end, and lines are
        printed only at intervals of at least `LINE_SECONDS`.
    """

    def __init__(
        self,
        console: Console,
        label: str,
        total: int,
        unit: str,
        scored: str,
        events: Sequence[Path] | None = None,
        *,
        keep: bool = True,
    ) -> None:
        self.console, self.label, self.total, self.unit = console, label, total, unit
        self.scored = scored
        self.events = events if events and is_main_process() else ()
        self.keep, self._line = keep, -math.inf if keep else time.monotonic()
        self._files: _EventFiles | None = None
        self._bar = _bar(console, unit, keep) if console.is_interactive else None

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.add_task(self.label, total=self.total, status="")
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()
        if self._files is not None:
            self._files.close()

    def show(self, done: float, losses: np.ndarray, accuracies: np.ndarray | None) -> None:
        """Updates the bar or prints a line if one is due.

        Args:
          done: completed units of work.
          losses, accuracies: as in `status`.
        """
        if self._bar is not None:
            text = status(losses, accuracies, self.scored)
            self._bar.update(self._bar.task_ids[0], completed=done, status=text, refresh=True)
        elif self._line_is_due(done):
            text = status(losses, accuracies, self.scored)
            line = f"{self.label}: {self.unit} {round(done, 2):g}/{self.total}, {text}"
            self.console.print(line, markup=False, highlight=False, soft_wrap=True)
            self._line = time.monotonic()

    def _line_is_due(self, done: float) -> bool:
        if self.keep and done in (self.total // 2, self.total):
            return True
        return time.monotonic() - self._line >= LINE_SECONDS

    def write(self, number: int, points: Points) -> None:
        """Adds a unit of work to the runs' events; does nothing if `events` is None.

        The first call in a process also writes all earlier units. The events of a resumed run are
        therefore its complete history, each point once and in order.

        Args:
          number: number of the unit, from 0.
          points: returns the scalars of a run and of any unit up to `number`.
        """
        if not self.events:
            return
        first = number
        if self._files is None:
            self._files, first = _EventFiles(self.events), 0
        for run in range(len(self.events)):
            for unit in range(first, number + 1):
                for step, scalars in points(run, unit):
                    self._files.add(run, step, scalars)
        self._files.flush()


def scalars(
    history: Mapping[str, np.ndarray], scored: str, run: int, epoch: int
) -> list[tuple[int, dict[str, float]]]:
    """Returns a run's TensorBoard scalars after an epoch, counted from 0.

    Their tags name the split that was scored: "validation", or "test" if test images choose the
    epoch.
    """
    points = by_layer("loss", history["loss"][epoch, run])
    if "validation_accuracy" in history:
        tag = f"{scored}_accuracy"
        points[f"{tag}/network"] = float(history["validation_accuracy"][epoch, run])
        points |= by_layer(tag, history["validation_layer_accuracies"][epoch, run])
    return [(epoch + 1, points)]
