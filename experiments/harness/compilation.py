"""Compiled programs and measured placements: kept in the user's cache folder, and timed."""

import contextlib
import hashlib
import json
import os
import time
import warnings
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax

CACHE_BYTES = 2 * 2**30
"""Size of the cache at which a command deletes the oldest programs."""

COMPILED = "/jax/core/compile/backend_compile_duration"
FROM_CACHE = "/jax/compilation_cache/cache_hits"


def use_cache() -> None:
    """Keeps compiled programs, so that a second start of a command compiles nothing.

    The folder is `sffa_jax/programs` in XDG_CACHE_HOME or ~/.cache. JAX_COMPILATION_CACHE_DIR names
    another one, and JAX_ENABLE_COMPILATION_CACHE=false switches the cache off. A machine that
    offers no folder to write to has no cache.
    """
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        try:
            base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
            folder = base / "sffa_jax" / "programs"
            folder.mkdir(parents=True, exist_ok=True)
            delete_oldest(folder, CACHE_BYTES)
        except (OSError, RuntimeError):  # RuntimeError: there is no home
            return
        jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    # Another process may delete an entry at the same time, and the disk may be full.
    failed = "Error (reading|writing) persistent compilation cache"
    warnings.filterwarnings("ignore", failed, UserWarning)


def delete_oldest(folder: Path, limit: int) -> None:
    """Deletes the oldest files of a folder until the others have at most `limit` bytes.

    JAX's own limit would make it read the age of every program whenever it adds one: 0.3 s for each
    program at 3000 programs.
    """
    files = []
    for file in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):  # another process has deleted it
            status = file.stat()
            files.append((status.st_mtime, status.st_size, file))
    excess = sum(size for _, size, _ in files) - limit
    for _, size, file in sorted(files):
        if excess <= 0:
            break
        file.unlink(missing_ok=True)
        excess -= size


def fastest_known(
    work: Mapping[str, Any], modes: Collection[str], measure: Callable[[], str]
) -> tuple[str, bool]:
    """Returns the mode that was the fastest on an earlier start, or measures it and keeps it.

    The result is a file among the compiled programs, so that it is deleted together with them.

    Args:
      work: JSON that identifies the work and the device.
      modes: the possible results.
      measure: returns the fastest mode.

    Returns:
      The mode, and whether it is of an earlier start.
    """
    config: Any = jax.config  # JAX 0.10 declares no types for its values
    folder = config.jax_compilation_cache_dir
    if folder is None or not config.jax_enable_compilation_cache:
        return measure(), False
    text = json.dumps(work, sort_keys=True)
    file = Path(folder) / f"placement-{hashlib.sha256(text.encode()).hexdigest()}.json"
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        mode = json.loads(file.read_text())["fastest"]
        if mode in modes:
            return mode, True
    mode = measure()
    with contextlib.suppress(OSError):
        file.write_text(json.dumps({"fastest": mode, "work": work}, indent=2))
    return mode, False


@dataclass
class Clock:
    """Times a command and the compilation in it; use `with`.

    Attributes:
      programs: number of programs that were compiled or read from the cache.
      from_cache: number of programs read from the cache.
      compiling: seconds that compiling and reading took.
    """

    programs: int = 0
    from_cache: int = 0
    compiling: float = 0.0
    started: float = field(default_factory=time.perf_counter)

    def __enter__(self) -> "Clock":
        jax.monitoring.register_event_duration_secs_listener(self._on_duration)
        jax.monitoring.register_event_listener(self._on_event)
        return self

    def __exit__(self, *_: object) -> None:
        jax.monitoring.unregister_event_duration_listener(self._on_duration)
        jax.monitoring.unregister_event_listener(self._on_event)

    def _on_duration(self, event: str, duration_secs: float, **_: str | int) -> None:
        if event == COMPILED:
            self.programs += 1
            self.compiling += duration_secs

    def _on_event(self, event: str, **_: str | int) -> None:
        self.from_cache += event == FROM_CACHE

    def summary(self) -> str:
        """Returns one line: the time so far, and the part of it that compiling took."""
        total = time.perf_counter() - self.started
        return (
            f"Time: {total:.1f} s; compiling took {self.compiling:.1f} s of it "
            f"({self.programs} programs, {self.from_cache} from the cache)."
        )
