"""The output folder of an experiment: `config.json`, `results.jsonl` and checkpoints."""

import contextlib
import errno
import functools
import hashlib
import itertools
import json
import math
import os
import platform
import re
import subprocess
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import filelock
import jax

from experiments.harness.outcomes import judged
from experiments.harness.records import (
    TRIALS,
    changed_options,
    check_layout,
    merged_grid,
    read_config,
    read_records,
)
from experiments.harness.schema import VERSION
from sffa_jax.scale.checkpoints import Checkpoints
from sffa_jax.scale.limits import usable_cores
from sffa_jax.scale.placement import Placement
from sffa_jax.scale.processes import broadcast_from_main
from sffa_jax.training.saved import write_file

_FACTS = ("versions", "device")
"""Entries of `config.json` that the starts of a folder may differ in."""

PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "scikit-learn")


def _plain(value: Any) -> Any:
    """The value as JSON; NaN and infinities, which JSON lacks, become null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def file_name(name: str) -> str:
    """A unique file name of lower-case letters, digits and `._-`.

    A name with other characters is changed and ends in a digest of itself.

    >>> file_name("ffa"), file_name("No decay")
    ('ffa', 'no-decay-121a81a8')
    """
    plain = re.sub(r"[^a-z0-9._]+", "-", name.lower()).strip("-.")[:120]
    if plain and plain == name:
        return name
    return f"{plain}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


@functools.cache
def _git_commit() -> str | None:
    """The commit of the code, "-dirty" if it was changed since; None outside a checkout."""
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return described.stdout.strip()


def joined_names(*commits: str | None) -> str | None:
    """Returns the commits (or devices, or versions) of several starts as `config.json` records
    them: in order, each once.

    >>> joined_names("a", "b, a", None), joined_names(None, None)
    ('a, b, unknown', None)
    """
    if not any(commits):
        return None
    names = [name for commit in commits for name in (commit or "unknown").split(", ")]
    return ", ".join(dict.fromkeys(names))


def joined_facts(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the device or the versions of two starts as `config.json` records them: different
    words are joined, different numbers become None.

    >>> joined_facts({"kind": "cpu", "host_cores": 2}, {"kind": "H100", "host_cores": 16})
    {'kind': 'cpu, H100', 'host_cores': None}
    """
    joined: dict[str, Any] = {}
    for name in {**first, **second}:
        values = [facts[name] for facts in (first, second) if name in facts]
        if all(isinstance(value, str) for value in values):
            joined[name] = joined_names(*values)
        else:
            joined[name] = values[0] if values[0] == values[-1] else None
    return joined


def environment() -> dict[str, Any]:
    """Returns the versions, the device, the commit and the time of a start, for `config.json`."""
    return {
        **_versions_and_device(),
        "git_commit": _git_commit(),
        "started": datetime.now().astimezone().isoformat(timespec="seconds"),
    }


@functools.cache
def _versions_and_device() -> dict[str, Any]:
    """The same in a whole process; versions are read from disk."""
    device = jax.devices()[0]
    return {
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in PACKAGES},
        "device": {
            "platform": device.platform,
            "kind": device.device_kind,
            "count": jax.device_count(),
            "host_cores": usable_cores(),  # of this process: its times depend on them
        },
    }


class RunFolder:
    """An output folder, locked by this process; use it as a context manager.

    Of several processes that run one program, only the main process reads and writes the folder; it
    broadcasts the content to the others.

    Attributes:
      path: the folder.
      config: content of `config.json`.
      records: the runs in `results.jsonl`, in the order they ended.
    """

    def __init__(
        self,
        path: Path | None,
        name: str,
        options: Mapping[str, Any],
        *,
        extra: Mapping[str, Any] | None = None,
        free: Collection[str] = (),
        absent: Mapping[str, Any] | None = None,
        settings: Mapping[str, Collection[str]] | None = None,
        tensorboard: bool = False,
    ) -> None:
        """Creates the folder, or opens an existing one to resume it.

        Args:
          path: the folder; None: runs/NAME/<date-time>.
          name: name of the experiment.
          options: every option, as `config.json` records them.
          extra: further entries for `config.json`.
          free: options that may differ on a second start, because they do not affect a run.
          absent: value of each option that the `config.json` of an earlier version lacks.
          settings: by algorithm the settings of the grid; None: any.
          tensorboard: whether `events` returns folders.

        Raises:
          ValueError: if the folder cannot be used, contains results of other options, is in use
            by another process, or contains a record that is damaged or of no run of the grid.
        """
        new = _plain({"experiment": name, "schema": VERSION, "options": options, **(extra or {})})
        self._lock: filelock.FileLock | None = None
        self._created = False
        self._tensorboard = tensorboard

        def open_all() -> tuple[str, dict[str, Any], list[dict[str, Any]]]:
            self._acquire(path, name)
            try:
                check_layout(self.path)
                config = self._open_config(new, free, absent or {})
                return str(self.path), config, read_records(self.path, config, settings)
            except BaseException as error:
                self.__exit__(type(error))
                raise

        opened, self.config, self.records = broadcast_from_main(open_all)
        self.path = Path(opened)

    def __enter__(self) -> "RunFolder":
        return self

    def __exit__(self, error: type[BaseException] | None = None, *_: object) -> None:
        with contextlib.suppress(OSError):  # missing or still in use
            (self.path / "checkpoints").rmdir()
        refused = error is not None and issubclass(error, Exception)
        if self._created and refused and not self._has_work():
            for name in ("config.json", ".lock"):
                (self.path / name).unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # not empty
                self.path.rmdir()
        if self._lock is not None:
            self._lock.release()

    def _acquire(self, path: Path | None, name: str) -> None:
        """Creates the folder and locks it until the end of the context."""
        dated = Path("runs") / name / datetime.now().strftime("%Y%m%d-%H%M%S")
        self.path = path or dated
        try:
            self._created = not self.path.exists()
            self.path.parent.mkdir(parents=True, exist_ok=True)
            for number in itertools.count(2):
                with contextlib.suppress(FileExistsError):
                    self.path.mkdir()
                    break
                if path is not None and path.is_dir():
                    break
                if path is not None:
                    raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
                # Another start in the same second.
                self.path = dated.with_name(f"{dated.name}-{number}")
            self._lock = filelock.FileLock(self.path / ".lock")
            self._lock.acquire(timeout=0)
        except filelock.Timeout:
            self._lock = None
            raise ValueError(
                f"--out {self.path} is in use by another process. Wait for it, or choose another."
            ) from None
        except OSError as error:
            raise ValueError(f"--out {self.path} cannot be written: {error}.") from None

    def _has_work(self) -> bool:
        """Whether the folder holds runs, or parts of them, that a start could continue."""
        patterns = ("results.jsonl", TRIALS, "checkpoints/*/*", "networks/*")
        return any(path.stat().st_size for p in patterns for path in self.path.glob(p))

    def _open_config(
        self, new: dict[str, Any], free: Collection[str], absent: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Returns the folder's `config.json`; writes it, or the larger grid of two starts."""
        work = self._has_work()
        exists = work or os.path.lexists(self.path / "config.json")
        old = read_config(self.path) if exists else {}
        if work:
            self._check_same(old, new, free, absent)
            config = old | {"options": merged_grid(old["options"], new["options"])}
        else:
            same = all(old.get(part) == new[part] for part in new)
            config = (old if same else {}) | environment() | new
        if config != old:
            self._write("config.json", json.dumps(config, indent=2) + "\n")
        return config

    def _check_same(
        self,
        old: Mapping[str, Any],
        new: Mapping[str, Any],
        free: Collection[str],
        absent: Mapping[str, Any],
    ) -> None:
        """Raises ValueError if the folder holds runs of another experiment, options or data."""
        # By content, because the same pixels may have several sources, and a file may move.
        before, after = ((config.get("data") or {}).get("sha256") for config in (old, new))
        free = {*free, "dataset"} if before == after is not None else free
        differ = changed_options(_plain(absent) | old["options"], new["options"], free)
        if new["experiment"] != old["experiment"]:
            differ.insert(0, f"experiment was {old['experiment']}")
        if before != after:
            differ.append("the data's content changed")
        if differ:
            raise ValueError(
                f"--out {self.path} contains results of other options: {'; '.join(differ)}. "
                "Choose another --out, or the same options."
            )

    def keep(self, **entries: Any) -> None:
        """Adds entries to `config.json`, unless it has them."""
        config = self.config | _plain(entries)
        if config != self.config:
            self.config = config
            text = json.dumps(config, indent=2) + "\n"
            broadcast_from_main(lambda: self._write("config.json", text))

    def placement(self, label: str, runs: int, measure: Callable[[], Placement]) -> Placement:
        """Returns the placement of runs; the first measured one is kept for later starts.

        Placements differ in rounding, so a start that resumes before the first checkpoint must not
        measure again.
        """
        device = f"{jax.device_count()} x {jax.devices()[0].device_kind}"
        kept = self.config.get("placements", {})
        mode = kept.get(f"{label}, {device}")
        if mode is not None:
            return Placement(mode)
        placement = measure()
        if runs > 1:  # one run is not measured
            self.keep(placements=kept | {f"{label}, {device}": placement.mode})
        return placement

    def _write(self, name: str, text: str) -> None:
        """Writes a file of the main process atomically; it is on disk when this returns.

        Raises:
          OSError: if the folder was deleted or moved, or cannot be written.
        """
        if name != "config.json":
            (self.path / "config.json").stat()  # without it, the other files could not be read
        write_file(self.path / name, lambda file: file.write(text.encode()))

    def append(self, *records: Mapping[str, Any]) -> None:
        """Adds finished runs to `results.jsonl`, all or none; on disk when this returns."""
        self.records += [judged(_plain(record), self.config) for record in records]
        self.write_rows("results.jsonl", self.records)

    def write_rows(self, name: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Writes rows as JSON, one a line, as `_write` does; `config.json` names all commits,
        versions and devices that made them."""

        def made_by() -> dict[str, Any]:
            now = environment()
            commits = joined_names(self.config.get("git_commit"), now["git_commit"])
            facts = {f: joined_facts(self.config.get(f, now[f]), now[f]) for f in _FACTS}
            return {"git_commit": commits, **facts}

        self.keep(**broadcast_from_main(made_by))
        text = "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows)
        broadcast_from_main(lambda: self._write(name, text))

    def checkpoints(self, name: str) -> Checkpoints:
        """The checkpoints of unfinished runs; deleted once their records are written."""
        return Checkpoints(self.path / "checkpoints" / name)

    def events(self, runs: Iterable[Sequence[str]]) -> list[Path] | None:
        """Folder of TensorBoard events for each run, named by words; None without events."""
        if not self._tensorboard:
            return None
        return [self.path / "tensorboard" / "-".join(map(file_name, words)) for words in runs]

    def clear_finished(self, algorithm: str, seeds: Collection[int]) -> None:
        """Deletes the checkpoints of an algorithm whose runs with these seeds all have records: a
        kill can come after the records and before the end of the checkpoints."""
        checkpoints = self.checkpoints(algorithm)
        saved = checkpoints.info()  # the main process's answer, in every process
        if saved is not None and {*saved.get("seeds", [None])} <= {*seeds}:
            checkpoints.clear()
