"""What is kept on disk: snapshots of a run under way, and trained networks.

Each is a folder, written whole or not at all: Orbax writes the arrays, and a seal holds a digest of
every file, so that a damaged one is noticed. Nothing in it is code: arrays, and JSON.
"""

import contextlib
import errno
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sffa_jax.checks import check_integer, reject
from sffa_jax.scale.mesh import put
from sffa_jax.scale.processes import agree

PyTree = Any
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
    if jax.process_count() > 1:  # what each process holds whole, one of them writes
        local = [isinstance(x, jax.Array) and x.is_fully_addressable for x in leaves]
        leaves = [np.asarray(x) if own else x for x, own in zip(leaves, local, strict=True)]
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


def _digest(seal: Mapping[str, Any]) -> str:
    """SHA-256 of the seal itself."""
    return hashlib.sha256(json.dumps(seal, sort_keys=True).encode()).hexdigest()


def _flush(folder: Path) -> None:
    """Files below a folder are on disk when this returns, not only on their way there."""
    for path in [*folder.rglob("*"), folder]:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _stored(leaf: Any) -> jax.ShapeDtypeStruct:
    """What a leaf is on disk, and where it shall be: integers instead of random keys."""
    if _is_key(leaf):
        return jax.eval_shape(jax.random.key_data, jax.ShapeDtypeStruct(leaf.shape, leaf.dtype))
    sharding = getattr(leaf, "sharding", None)
    if jax.process_count() > 1 and sharding is not None and sharding.is_fully_addressable:
        sharding = None
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)


def _write(final: Path, tree: PyTree, info: Mapping[str, Any]) -> None:
    """A sealed folder, there whole or not at all, on disk when this returns."""
    # Imported here: most programs that use the library save nothing.
    import orbax.checkpoint as ocp

    new, plain = final.with_name(f".{final.name}.new"), _plain(tree)
    full_disk = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(final))

    def clean() -> None:
        final.parent.mkdir(parents=True, exist_ok=True)
        if new.exists():
            shutil.rmtree(new)
        # Asked first: where the disk fills up under way, Orbax's threads each print a trace.
        needed = sum(np.size(leaf) * leaf.dtype.itemsize for leaf in jax.tree.leaves(plain))
        if shutil.disk_usage(final.parent).free < needed:
            raise full_disk

    def close() -> None:
        seal = {"version": VERSION, "leaves": _describe(tree), "info": dict(info)}
        seal["files"] = _digests(new)
        (new / SEAL).write_text(json.dumps({"digest": _digest(seal), "seal": seal}, indent=1))
        _flush(new)
        if final.exists():
            shutil.rmtree(final)
        os.replace(new, final)
        _flush(final.parent)

    agree(clean)
    with _quiet(), ocp.PyTreeCheckpointer() as checkpointer:
        try:
            checkpointer.save(new / ARRAYS, plain)
        except ValueError as error:
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise
            raise full_disk from error
    agree(close)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """orbax's threads log each failure with its trace, beside the error that it raises."""
    logger = logging.getLogger("absl")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


def _read_seal(folder: Path) -> dict[str, Any] | None:
    """A sealed folder's seal, or None if it is damaged or of another version."""
    try:
        read = json.loads((folder / SEAL).read_text())
        seal: dict[str, Any] = read["seal"]
        whole = read["digest"] == _digest(seal) and seal["version"] == VERSION
        whole = whole and seal["files"] == _digests(folder)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return seal if whole else None


def _read_arrays(folder: Path, seal: Mapping[str, Any], like: PyTree) -> PyTree:
    """The arrays of a sealed folder, placed as `like` has them."""
    import orbax.checkpoint as ocp

    expected = _describe(like)
    if seal["leaves"] != expected:
        differ = sorted({*seal["leaves"]} ^ {*expected})
        raise reject(
            "checkpoint",
            "like",
            f"have the structure of {folder}",
            f"differences in {'; '.join(differ[:4])}",
            "Use the options that made it, or delete the folder.",
        )
    leaves, structure = jax.tree.flatten(like)
    wanted = {f"{i:05d}": _stored(leaf) for i, leaf in enumerate(leaves)}
    with ocp.PyTreeCheckpointer() as checkpointer:
        stored = checkpointer.restore(
            folder / ARRAYS,
            item=wanted,
            restore_args=ocp.checkpoint_utils.construct_restore_args(wanted),
        )

    def place(leaf: Any, values: Any) -> Any:
        if isinstance(leaf, np.ndarray):
            return np.asarray(values)
        if _is_key(leaf):
            impl = jax.random.key_impl(jnp.empty((), leaf.dtype))
            values = jax.random.wrap_key_data(values, impl=impl)
        sharding = getattr(leaf, "sharding", None)
        if sharding is None or sharding.is_fully_addressable:
            return jax.device_put(values, sharding)
        # What spans processes was read where it belongs; keys were read whole by all.
        return put(values, sharding) if values.is_fully_addressable else values

    values = [stored[name] for name in sorted(stored)]
    return jax.tree.unflatten(structure, list(map(place, leaves, values)))


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
        check_integer("Checkpoints.save", "step", step, 0)
        _write(self.folder / str(step), tree, info or {})

        def forget() -> None:
            for leftover in self.folder.glob(".*.new"):
                shutil.rmtree(leftover)
            for old in self.steps()[: -self.keep]:
                shutil.rmtree(self.folder / str(old))

        agree(forget)

    def newest(self, info: Mapping[str, Any] | None = None) -> tuple[int, dict[str, Any]] | None:
        """Number and seal of the newest whole snapshot, of those of which `info` was said."""

        def find() -> tuple[int, dict[str, Any]] | None:
            for step in reversed(self.steps()):
                seal = _read_seal(self.folder / str(step))
                if seal is not None and info in (None, seal["info"]):
                    return step, seal
            return None

        return agree(find)

    def info(self) -> dict[str, Any] | None:
        """What was said of the newest snapshot that is whole; None if there is none."""
        found = self.newest()
        return None if found is None else dict(found[1]["info"])

    def latest(self, like: PyTree, info: Mapping[str, Any] | None = None) -> Snapshot | None:
        """The newest snapshot that is whole; None if there is none.

        Args:
          like: a pytree of the same structure, of arrays or `jax.ShapeDtypeStruct`s. Leaves that
            have a sharding are restored onto it, NumPy's arrays as such, the others to the default
            device.
          info: a snapshot of which something else was said is passed over; None: any will do.

        Raises:
          ValueError: if the snapshot was made of another structure, shape or type.
        """
        found = self.newest(info)
        if found is None:
            return None
        step, seal = found
        arrays = _read_arrays(self.folder / str(step), seal, like)
        return Snapshot(step, arrays, dict(seal["info"]))

    def clear(self) -> None:
        """Removes all snapshots and the folder."""
        agree(lambda: shutil.rmtree(self.folder, ignore_errors=True))
