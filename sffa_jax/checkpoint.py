"""Snapshots of a run under way: written whole or not at all, checked when read, kept to a number.

Orbax writes the arrays; each snapshot also holds a digest of every file, so that a damaged one is
noticed and the one before it is taken. Nothing in a snapshot is code: arrays, and JSON.
"""

import hashlib
import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from sffa_jax.checks import check_integer, check_range, reject

PyTree = Any
Carry = TypeVar("Carry")

VERSION = 1
"""Of the layout below; another one is not read."""

ARRAYS, SEAL = "arrays", "seal.json"


class Snapshot(NamedTuple):
    """Attributes: step: its number; tree: the arrays; info: what was said of them."""

    step: int
    tree: PyTree
    info: dict[str, Any]


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _plain(tree: PyTree) -> dict[str, Any]:
    """The leaves by number, random keys as the integers they are made of."""
    leaves = [jax.random.key_data(x) if _is_key(x) else x for x in jax.tree.leaves(tree)]
    return {f"{i:05d}": leaf for i, leaf in enumerate(leaves)}


def _describe(tree: PyTree) -> list[str]:
    """Place, type and shape of every leaf: what a snapshot must fit."""
    return [
        f"{jax.tree_util.keystr(path)} {leaf.dtype}{list(leaf.shape)}"
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    ]


def _digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below a folder but the seal."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path != folder / SEAL:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            found[path.relative_to(folder).as_posix()] = digest
    return found


def _flush(folder: Path) -> None:
    """Files below a folder are on disk when this returns, not only on their way there."""
    for path in [*folder.rglob("*"), folder]:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


class Checkpoints:
    """The snapshots in one folder, newest last.

    Args:
      folder: is made when the first snapshot is saved.
      keep: how many are kept; the older ones serve where the newest is damaged.

    Raises:
      ValueError: if none is to be kept.
    """

    def __init__(self, folder: Path | str, *, keep: int = 2) -> None:
        check_integer("Checkpoints", "keep", keep, 1)
        self.folder, self.keep = Path(folder).resolve(), keep

    def steps(self) -> list[int]:
        """Numbers of the snapshots that are there, damaged ones too."""
        if not self.folder.is_dir():
            return []
        return sorted(int(path.name) for path in self.folder.iterdir() if path.name.isdigit())

    def save(self, step: int, tree: PyTree, info: Mapping[str, Any] | None = None) -> None:
        """Saves arrays under a number; one that is there already under it is replaced.

        Args:
          step: the number, from 0; the highest is the newest.
          tree: any pytree of arrays and random keys.
          info: JSON that goes with them.

        Raises:
          ValueError: for a negative number.
          OSError: if the disk is full or cannot be written; earlier snapshots are untouched.
        """
        # Imported here: most programs that use the library save nothing.
        import orbax.checkpoint as ocp

        check_integer("Checkpoints.save", "step", step, 0)
        self.folder.mkdir(parents=True, exist_ok=True)
        for leftover in self.folder.glob(".*.new"):
            shutil.rmtree(leftover)
        new, final = self.folder / f".{step}.new", self.folder / str(step)
        with ocp.PyTreeCheckpointer() as checkpointer:
            checkpointer.save(new / ARRAYS, _plain(tree))
        seal = {"version": VERSION, "leaves": _describe(tree), "info": dict(info or {})}
        seal["files"] = _digests(new)
        (new / SEAL).write_text(json.dumps(seal, indent=1))
        _flush(new)
        if final.exists():
            shutil.rmtree(final)
        os.replace(new, final)
        _flush(self.folder)
        for old in self.steps()[: -self.keep]:
            shutil.rmtree(self.folder / str(old))

    def info(self) -> dict[str, Any] | None:
        """What was said of the newest snapshot that is whole; None if there is none."""
        for step in reversed(self.steps()):
            seal = self._seal(step)
            if seal is not None:
                return dict(seal["info"])
        return None

    def latest(self, like: PyTree) -> Snapshot | None:
        """The newest snapshot that is whole; None if there is none.

        Args:
          like: a pytree of the same structure, of arrays or `jax.ShapeDtypeStruct`s. Leaves that
            have a sharding are restored onto it, NumPy's arrays as such, the others to the default
            device.

        Raises:
          ValueError: if the snapshot was made of another structure, shape or type.
        """
        for step in reversed(self.steps()):
            seal = self._seal(step)
            if seal is None:
                continue
            expected = _describe(like)
            if seal["leaves"] != expected:
                differ = sorted({*seal["leaves"]} ^ {*expected})
                raise reject(
                    "Checkpoints.latest",
                    "like",
                    f"have the structure of {self.folder / str(step)}",
                    f"differences in {'; '.join(differ[:4])}",
                    "Use the options that made it, or delete the folder.",
                )
            return Snapshot(step, self._arrays(step, like), dict(seal["info"]))
        return None

    def clear(self) -> None:
        """Removes all snapshots and the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _seal(self, step: int) -> dict[str, Any] | None:
        """A snapshot's seal, or None if it is damaged or of another version."""
        folder = self.folder / str(step)
        try:
            seal: dict[str, Any] = json.loads((folder / SEAL).read_text())
            whole = seal["version"] == VERSION and seal["files"] == _digests(folder)
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return seal if whole else None

    def _arrays(self, step: int, like: PyTree) -> PyTree:
        import orbax.checkpoint as ocp

        leaves, structure = jax.tree.flatten(like)
        wanted = {f"{i:05d}": _stored(leaf) for i, leaf in enumerate(leaves)}
        with ocp.PyTreeCheckpointer() as checkpointer:
            stored = checkpointer.restore(
                self.folder / str(step) / ARRAYS,
                item=wanted,
                restore_args=ocp.checkpoint_utils.construct_restore_args(wanted),
            )

        def place(leaf: Any, values: Any) -> Any:
            if isinstance(leaf, np.ndarray):
                return np.asarray(values)
            if _is_key(leaf):
                impl = jax.random.key_impl(jnp.empty((), leaf.dtype))
                values = jax.random.wrap_key_data(values, impl=impl)
            return jax.device_put(values, getattr(leaf, "sharding", None))

        values = [stored[name] for name in sorted(stored)]
        return jax.tree.unflatten(structure, list(map(place, leaves, values)))


def _stored(leaf: Any) -> jax.ShapeDtypeStruct:
    """What a leaf is on disk, and where it shall be: integers instead of random keys."""
    if _is_key(leaf):
        return jax.eval_shape(jax.random.key_data, jax.ShapeDtypeStruct(leaf.shape, leaf.dtype))
    sharding = getattr(leaf, "sharding", None)
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)


class Stopped(KeyboardInterrupt):
    """A run was asked to stop, and stopped where it can go on from.

    Attributes: signal: that asked for it.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.signal = number


class _Request:
    """What the handlers and the loops below tell each other."""

    loops = 0
    signal: int | None = None


def _handle(number: int, _: FrameType | None) -> None:
    if _Request.loops and _Request.signal is None:
        _Request.signal = number
        return
    raise Stopped(number)


@contextmanager
def graceful_stop() -> Iterator[None]:
    """Inside, SIGTERM and SIGINT let a `drive` save first; a second one stops at once.

    Outside of a `drive` they raise `Stopped` at once. For the main thread only: elsewhere it
    changes nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, _handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        _Request.signal = None
        for number, handler in before.items():
            signal.signal(number, handler)


def drive(
    begin: Callable[[], Carry],
    advance: Callable[[int, Carry], Carry],
    length: int,
    checkpoints: Checkpoints | None = None,
    *,
    info: Mapping[str, Any] | None = None,
    every_seconds: float = 60.0,
    every_steps: int | None = None,
    like: PyTree | None = None,
) -> Carry:
    """Goes through all steps from wherever the last start was stopped.

    Args:
      begin: makes the carry that the first step takes. Not called if a snapshot is there.
      advance: (number of the step from 0, carry) -> carry. It must depend on nothing else that
        differs from start to start; a resumed run then ends bit-identical to an undisturbed one.
      length: number of steps.
      checkpoints: where snapshots are kept; None keeps none.
      info: JSON that goes with each snapshot.
      every_seconds: time between snapshots, at least.
      every_steps: steps between snapshots, whatever the time; None: time alone counts.
      like: structure of the carry, see `Checkpoints.latest`; None: that of `begin`.

    Returns:
      The carry after the last step. It is not saved: who called keeps what matters and clears
      the snapshots.

    Raises:
      Stopped: if SIGTERM or SIGINT came, see `graceful_stop`; the carry is then on disk.
      ValueError: for an interval that is negative or no step, or snapshots of another structure.
    """
    check_range("drive", "every_seconds", every_seconds, at_least=0)
    if every_steps is not None:
        check_integer("drive", "every_steps", every_steps, 1)
    number, carry = 0, None
    if checkpoints is not None:
        found = checkpoints.latest(jax.eval_shape(begin) if like is None else like)
        if found is not None:
            number, carry = found.step, found.tree
    carry = begin() if carry is None else carry
    saved = time.monotonic()
    _Request.loops += 1
    try:
        while number < length:
            carry = advance(number, carry)
            number += 1
            asked = _Request.signal
            due = asked is not None or time.monotonic() - saved >= every_seconds
            due = due or (every_steps is not None and number % every_steps == 0)
            if checkpoints is not None and due and number < length:
                checkpoints.save(number, carry, info)
                saved = time.monotonic()
            if asked is not None and number < length:
                raise Stopped(asked)
    finally:
        _Request.loops -= 1
    return carry
