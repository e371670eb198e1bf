"""Cores and memory that this process may use, within the limits of its container and shell."""

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psutil

ROOT = Path("/")

_MEMORY_FILES = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)
"""Limit, usage and the entry of `memory.stat` that can be reclaimed, in cgroup versions 2 and 1."""


class Memory(NamedTuple):
    """Attributes: free: bytes that can be allocated now; total: bytes that exist."""

    free: int
    total: int


def usable_cores() -> int:
    """Returns the number of cores: CPU affinity (`taskset`, Slurm) and container quota, at least 1.

    >>> 1 <= usable_cores() <= os.cpu_count()
    True
    """
    has_affinity = hasattr(os, "sched_getaffinity")  # not on macOS
    cores = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1
    for group in _control_groups("cpu"):
        # Quota and period in microseconds, in cgroup versions 2 and 1.
        words = _words(group / "cpu.max")
        words = words or _words(group / "cpu.cfs_quota_us") + _words(group / "cpu.cfs_period_us")
        if len(words) == 2 and words[0].isdigit():  # not "max" or -1
            cores = min(cores, math.ceil(int(words[0]) / int(words[1])))
    return max(cores, 1)


def host_memory() -> Memory:
    """Returns the host's memory within the limits of control groups and of `ulimit -v` and `-d`.

    >>> 0 < host_memory().free <= host_memory().total
    True
    """
    machine = psutil.virtual_memory()
    limits = [Memory(machine.available, machine.total), *_process_limits()]
    for group in _control_groups("memory"):
        for limit, usage, cache in _MEMORY_FILES:
            total, used = _words(group / limit), _words(group / usage)
            if total and used and total[0].isdigit():
                stat = _words(group / "memory.stat")
                reclaimable = int(stat[stat.index(cache) + 1]) if cache in stat else 0
                limits.append(Memory(int(total[0]) - int(used[0]) + reclaimable, int(total[0])))
    return Memory(max(1, min(m.free for m in limits)), max(1, min(m.total for m in limits)))


def largest_file() -> float:
    """Returns the bytes that a file may have (`ulimit -f`); infinity without a limit.

    >>> largest_file() > 0
    True
    """
    limit = _ulimit("RLIMIT_FSIZE")
    return math.inf if limit is None else limit


def _process_limits() -> Iterator[Memory]:
    used = psutil.Process().memory_info()
    sizes = {"RLIMIT_AS": used.vms, "RLIMIT_DATA": getattr(used, "data", 0)}
    for kind, size in sizes.items():
        if (limit := _ulimit(kind)) is not None:
            yield Memory(limit - size, limit)


def _ulimit(kind: str) -> int | None:
    """Returns a soft limit of this process; None if there is none."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    soft, _ = resource.getrlimit(getattr(resource, kind))
    return None if soft == resource.RLIM_INFINITY else soft


def _control_groups(controller: str) -> Iterator[Path]:
    """Yields the folders of this process's control group and of its parents."""
    for line in _lines(ROOT / "proc/self/cgroup"):
        _, names, path = line.split(":", 2)
        base = ROOT / "sys/fs/cgroup"
        if names:  # version 1
            if controller not in names.split(","):
                continue
            base /= controller
        group = base / path.lstrip("/")
        yield from (folder for folder in (group, *group.parents) if folder.is_relative_to(base))


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except OSError:  # another system, another version, or a folder of the host
        return []


def _words(path: Path) -> list[str]:
    return " ".join(_lines(path)).split()
