"""Checkpoints: the state of unfinished runs on disk.

A checkpoint is a folder that is written atomically. Orbax writes the arrays; a manifest
contains a digest of every file, which detects damage. A checkpoint contains arrays and JSON, no
code.
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
from sffa_jax.scale.limits import largest_file
from sffa_jax.scale.mesh import device_put_global
from sffa_jax.scale.processes import broadcast_from_main

PyTree = Any

VERSION = 1
"""Version of the layout. Folders of another version are not read."""

ARRAYS, MANIFEST = "arrays", "manifest.json"


class Checkpoint(NamedTuple):
    """Attributes: step: its number; tree: the arrays; info: the JSON saved with them."""

    step: int
    tree: PyTree
    info: dict[str, Any]


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _storable(tree: PyTree) -> dict[str, Any]:
    """Returns the leaves by number; random keys are converted to integers."""
    leaves = [jax.random.key_data(x) if _is_key(x) else x for x in jax.tree.leaves(tree)]
    if jax.process_count() > 1:  # One process writes the arrays that all processes have.
        leaves = [
            np.asarray(x) if isinstance(x, jax.Array) and x.is_fully_addressable else x
            for x in leaves
        ]
    return {f"{i:05d}": leaf for i, leaf in enumerate(leaves)}


def _as_json(info: Mapping[str, Any]) -> str:
    """An `info` as it is written; read back, tuples are lists and keys are strings."""
    return json.dumps(json.loads(json.dumps(info)), sort_keys=True)


def _describe(tree: PyTree) -> list[str]:
    """Path, type and shape of every leaf."""
    return [
        f"{jax.tree_util.keystr(path)} {leaf.dtype}{list(leaf.shape)}"
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    ]


def _file_digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below a folder except its manifest."""
    digests = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path != folder / MANIFEST:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            digests[path.relative_to(folder).as_posix()] = digest
    return digests


def _digest(manifest: Mapping[str, Any]) -> str:
    """SHA-256 of a manifest."""
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def _flush(folder: Path) -> None:
    """Waits until all files below a folder are on disk."""
    for path in [*folder.rglob("*"), folder]:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silences orbax's threads, which log every failure that they also raise."""
    logger = logging.getLogger("absl")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


def write_folder(path: Path, tree: PyTree, info: Mapping[str, Any]) -> None:
    """Writes arrays and JSON to a folder; replaces an existing folder.

    When this returns, the folder is on disk. With several processes, all must call it.

    Raises:
      OSError: if the disk is full or cannot be written; the old folder is then unchanged.
    """
    # Imported here because most programs that use the library save nothing.
    import orbax.checkpoint as ocp

    new, arrays = path.with_name(f".{path.name}.new"), _storable(tree)
    full_disk = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    def prepare() -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        if new.exists():
            shutil.rmtree(new)
        # Checked first: if the disk fills up later, each of Orbax's threads prints a traceback.
        needed = sum(np.size(leaf) * leaf.dtype.itemsize for leaf in jax.tree.leaves(arrays))
        if shutil.disk_usage(path.parent).free < needed:
            raise full_disk
        if needed > largest_file():
            raise OSError(errno.EFBIG, f"{os.strerror(errno.EFBIG)} (ulimit -f)", str(path))

    def finish() -> None:
        manifest = {"version": VERSION, "leaves": _describe(tree), "info": dict(info)}
        manifest |= {"name": path.name, "files": _file_digests(new)}
        signed = {"digest": _digest(manifest), "manifest": manifest}
        (new / MANIFEST).write_text(json.dumps(signed, indent=1), encoding="utf-8")
        _flush(new)
        old = path.with_name(f".{path.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        if path.exists():
            os.replace(path, old)  # at once: to delete a large folder takes time
        try:
            os.replace(new, path)
        except OSError:
            if old.exists():
                os.replace(old, path)
            raise
        _flush(path.parent)
        shutil.rmtree(old, ignore_errors=True)

    broadcast_from_main(prepare)
    with _quiet(), ocp.PyTreeCheckpointer() as checkpointer:
        try:
            checkpointer.save(new / ARRAYS, arrays)
        except ValueError as error:
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise
            if "Too many open files" in str(error):
                code = errno.EMFILE
                raise OSError(code, f"{os.strerror(code)} (ulimit -n)", str(path)) from error
            raise full_disk from error
    broadcast_from_main(finish)


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest of a folder; None if the folder is damaged, renamed or of another version."""
    try:
        signed = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        manifest: dict[str, Any] = signed["manifest"]
        intact = (
            signed["digest"] == _digest(manifest)
            and manifest["version"] == VERSION
            # A checkpoint under another number would be resumed from another step.
            and manifest["name"] == folder.name
            and manifest["files"] == _file_digests(folder)
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return manifest if intact else None


def _stored_shape(leaf: Any) -> jax.ShapeDtypeStruct:
    """Shape, type and sharding of a leaf on disk; integers for random keys."""
    if _is_key(leaf):
        return jax.eval_shape(jax.random.key_data, jax.ShapeDtypeStruct(leaf.shape, leaf.dtype))
    sharding = getattr(leaf, "sharding", None)
    if jax.process_count() > 1 and sharding is not None and sharding.is_fully_addressable:
        sharding = None
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)


def read_arrays(folder: Path, manifest: Mapping[str, Any], like: PyTree) -> PyTree:
    """The arrays of a folder, with the structure and the shardings of `like`.

    Raises:
      ValueError: if structure, shapes or types differ.
    """
    import orbax.checkpoint as ocp

    expected = _describe(like)
    if manifest["leaves"] != expected:
        differ = sorted({*manifest["leaves"]} ^ {*expected})
        raise reject(
            "checkpoint",
            "like",
            f"have the structure of {folder}",
            f"differences in {'; '.join(differ[:4])}",
            "Use the options of that checkpoint, or delete the folder.",
        )
    leaves, structure = jax.tree.flatten(like)
    wanted = {f"{i:05d}": _stored_shape(leaf) for i, leaf in enumerate(leaves)}
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
        # Orbax restores arrays that span processes in place; each process reads all of the keys.
        return device_put_global(values, sharding) if values.is_fully_addressable else values

    values = [stored[name] for name in sorted(stored)]
    return jax.tree.unflatten(structure, list(map(place, leaves, values)))


class Checkpoints:
    """The checkpoints of one folder.

    Args:
      folder: created by the first `save`.
      keep: how many to keep; the older ones are used if the newest is damaged.

    Raises:
      ValueError: for `keep` below 1.

    >>> import tempfile
    >>> checkpoints = Checkpoints(tempfile.mkdtemp())
    >>> checkpoints.save(3, {"weights": jnp.arange(2.0)}, {"seed": 0})
    >>> checkpoint = checkpoints.latest({"weights": jnp.zeros(2)})
    >>> checkpoint.step, checkpoint.info, checkpoint.tree["weights"].tolist()
    (3, {'seed': 0}, [0.0, 1.0])
    """

    def __init__(self, folder: Path | str, *, keep: int = 2) -> None:
        check_integer("Checkpoints", "keep", keep, 1)
        self.folder, self.keep = Path(folder).resolve(), keep

    def steps(self) -> list[int]:
        """Numbers of the checkpoints in the folder, damaged ones included, in rising order."""
        if not self.folder.is_dir():
            return []
        return sorted(int(path.name) for path in self.folder.iterdir() if path.name.isdigit())

    def save(self, step: int, tree: PyTree, info: Mapping[str, Any] | None = None) -> None:
        """Saves a checkpoint and deletes the oldest beyond `keep`.

        Args:
          step: its number, from 0; the highest is the newest. A checkpoint of the same number is
            replaced.
          tree: any pytree of arrays and random keys, at least one; none may have zero elements.
          info: JSON that is saved with it.

        Raises:
          ValueError: for a negative number, no array, or one of zero elements.
          OSError: if the disk is full or cannot be written; earlier checkpoints are unchanged.
        """
        check_integer("Checkpoints.save", "step", step, 0)
        write_folder(self.folder / str(step), tree, info or {})

        def delete_old() -> None:
            for leftover in (*self.folder.glob(".*.new"), *self.folder.glob(".*.old")):
                shutil.rmtree(leftover)
            for old in self.steps()[: -self.keep]:
                shutil.rmtree(self.folder / str(old))

        broadcast_from_main(delete_old)

    def _newest(self, info: Mapping[str, Any] | None) -> tuple[int, dict[str, Any]] | None:
        """Number and manifest of the newest intact checkpoint that was saved with `info`."""

        wanted = None if info is None else _as_json(info)

        def find() -> tuple[int, dict[str, Any]] | None:
            for step in reversed(self.steps()):
                manifest = read_manifest(self.folder / str(step))
                if manifest is not None and wanted in (None, _as_json(manifest["info"])):
                    return step, manifest
            return None

        return broadcast_from_main(find)

    def info(self) -> dict[str, Any] | None:
        """The `info` of the newest intact checkpoint; None if there is none."""
        newest = self._newest(None)
        return None if newest is None else dict(newest[1]["info"])

    def latest(self, like: PyTree, info: Mapping[str, Any] | None = None) -> Checkpoint | None:
        """The newest intact checkpoint; None if there is none.

        Args:
          like: a pytree of the same structure, of arrays or `jax.ShapeDtypeStruct`s. Leaves with a
            sharding are restored onto it, NumPy arrays as NumPy arrays, the others to the default
            device.
          info: only checkpoints that were saved with an equal `info` count; None: all count.

        Raises:
          ValueError: if the checkpoint has another structure, shape or type.
        """
        newest = self._newest(info)
        if newest is None:
            return None
        step, manifest = newest
        arrays = read_arrays(self.folder / str(step), manifest, like)
        return Checkpoint(step, arrays, dict(manifest["info"]))

    def clear(self) -> None:
        """Deletes all checkpoints and the folder."""
        broadcast_from_main(lambda: shutil.rmtree(self.folder, ignore_errors=True))
