"""Watching runs that train together: a bar on a terminal, plain lines elsewhere, TensorBoard."""

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
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
"""Time after which what was written for TensorBoard is on disk, at most, while runs go on."""

LINE_SECONDS = 60.0
"""Time between lines, at least, where none is left for good."""

Points = Callable[[int, int], Iterable[tuple[int, Mapping[str, float]]]]
"""(run, number of the piece of work from 0) -> its steps, each with its scalars by tag."""


def by_layer(name: str, values: np.ndarray) -> dict[str, float]:
    """Scalars of the layers, [layers], by the tag each has in TensorBoard."""
    return {f"{name}/layer_{layer}": float(value) for layer, value in enumerate(values, 1)}


def status(losses: np.ndarray, accuracies: np.ndarray | None, scored: str) -> str:
    """Loss and accuracies of runs, their means in words.

    Args:
      losses: [runs, layers] nats. The mean leaves out runs in which one is not finite.
      accuracies: [runs, 1 + layers] fractions, by the network, then by each layer; or None.
      scored: what the accuracies are of.
    """
    # In float64: a loss that is about to diverge overflows in the sum.
    whole = losses[np.isfinite(losses).all(axis=1)].astype(float)
    said = f"loss {whole.mean():.4g}" if len(whole) else "loss nan"
    if len(whole) < len(losses):
        said += f" ({len(losses) - len(whole)} of {len(losses)} diverged)"
    if accuracies is None:
        return said
    network, *layers = 100 * accuracies.astype(float).mean(axis=0)
    said += f", {scored} {network:.2f} %"
    if len(layers) > 1:  # one layer is the network
        said += f", layers {' / '.join(f'{layer:.2f}' for layer in layers)} %"
    return said


class _Bar(Progress):
    """One task's bar, and below it what its `status` says."""

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
        # All there is: of an epoch that takes longer than the usual half a minute, the speed would
        # never be known.
        speed_estimate_period=math.inf,
    )


class _EventFiles:
    """TensorBoard's event files, one a run, each in a folder of its own; they take the place of an
    earlier start's."""

    # tensorboardX's `SummaryWriter` has two threads and three open files a run, and waits for ever
    # for a thread that ended by an error (a full disk). Its `RecordWriter` writes here and now.

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
            # A viewer that is reading the last one finds the next only from there: its name must
            # stay, and sort before the new one.
            for file in old[-1:]:
                file.write_bytes(b"")
            new = folder.resolve() / f"events.out.tfevents.{time.time_ns()}"
            self._writers.append(RecordWriter(str(new)))
            self._write(-1, file_version="brain.Event:2")
            # It then forgets what it had from this step on.
            self._write(-1, step=0, session_log=SessionLog(status=SessionLog.START))

    def _write(self, run: int, **fields: Any) -> None:
        event = self._event(wall_time=time.time(), **fields)
        self._writers[run].write(event.SerializeToString())

    def add(self, run: int, step: int, scalars: Mapping[str, float]) -> None:
        """The scalars of a run at a step."""
        values = [self._summary.Value(tag=t, simple_value=v) for t, v in scalars.items()]
        self._write(run, step=step, summary=self._summary(value=values))

    def flush(self) -> None:
        """Brings what was written on disk, if the last time is a while ago."""
        if time.monotonic() - self._flushed >= FLUSH_SECONDS:
            for writer in self._writers:
                writer.flush()
            self._flushed = time.monotonic()

    def close(self) -> None:
        """Brings all on disk."""
        for writer in self._writers:
            writer.flush()
            writer.close()


class Watcher:
    """Shows how far runs that train together are; a context manager around their training.

    Args:
      console: a bar where it is a terminal, lines elsewhere.
      label: names the runs.
      total: units of work that there are.
      unit: what one is called.
      scored: what accuracies are of.
      events: folder of each run, for its TensorBoard events; None: none are written. Of several
        processes the leading one writes.
      keep: whether what is shown is the runs' own trace: the bar stays when the work is over, and
        lines come after the first, the middle and the last unit. Otherwise the bar goes, and lines
        only say that long work goes on.
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
        self.keep, self._line = keep, time.monotonic()
        self._files: _EventFiles | None = None
        self._bar = _bar(console, unit, keep) if console.is_interactive else None

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.add_task(self.label, total=self.total, status="")
            self._bar.start()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
        if self._files is not None:
            self._files.close()

    def show(self, done: float, losses: np.ndarray, accuracies: np.ndarray | None) -> None:
        """Says how the runs are.

        Args:
          done: units of work done.
          losses, accuracies: as in `status`.
        """
        if self._bar is not None:
            said = status(losses, accuracies, self.scored)
            self._bar.update(self._bar.task_ids[0], completed=done, status=said, refresh=True)
        elif self._line_is_due(done):
            said = status(losses, accuracies, self.scored)
            line = f"{self.label}: {self.unit} {round(done, 2):g}/{self.total}, {said}"
            self.console.print(line, markup=False, highlight=False, soft_wrap=True)
            self._line = time.monotonic()

    def _line_is_due(self, done: float) -> bool:
        if self.keep:
            return done in (1, self.total // 2, self.total)
        return time.monotonic() - self._line >= LINE_SECONDS

    def write(self, number: int, points: Points) -> None:
        """Adds a piece of work to the runs' events, where those are wanted.

        The first piece in this process brings with it all those before: from whatever snapshot
        the runs go on, and whatever was lost with the process that made it, each run's events are
        its history, every point once and in order.

        Args:
          number: of the piece, from 0.
          points: of any piece up to it.
        """
        if not self.events:
            return
        first = number
        if self._files is None:
            self._files, first = _EventFiles(self.events), 0
        for run in range(len(self.events)):
            for piece in range(first, number + 1):
                for step, scalars in points(run, piece):
                    self._files.add(run, step, scalars)
        self._files.flush()
