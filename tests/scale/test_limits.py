"""Cores and memory within the limits of affinity, containers (both versions) and `ulimit`."""

import os
import resource

import psutil
import pytest

from sffa_jax.scale import limits

GIB = 1 << 30


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Eight cores and 64 GiB, of which 48 are free; returns a function that writes files."""
    monkeypatch.setattr(limits, "ROOT", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {*range(8)}, raising=False)
    memory = psutil.virtual_memory()._replace(total=64 * GIB, available=48 * GIB)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    monkeypatch.setattr(
        resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    )

    def write(files):
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{text}\n")

    return write


def test_no_limits(machine):
    assert limits.usable_cores() == 8
    assert limits.host_memory() == (48 * GIB, 64 * GIB)


@pytest.mark.parametrize(
    "files",
    [
        {
            "proc/self/cgroup": "0::/job/step",
            "sys/fs/cgroup/job/cpu.max": "250000 100000",
            "sys/fs/cgroup/job/step/cpu.max": "max 100000",
            "sys/fs/cgroup/job/step/memory.max": "max",
            "sys/fs/cgroup/job/memory.max": 10 * GIB,
            "sys/fs/cgroup/job/memory.current": 6 * GIB,
            "sys/fs/cgroup/job/memory.stat": f"anon 5\ninactive_file {2 * GIB}",
        },
        {
            "proc/self/cgroup": "4:memory:/job\n3:cpu,cpuacct:/absent\n0::/",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "250000",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": 2**63 - 4096,
            "sys/fs/cgroup/memory/memory.usage_in_bytes": 6 * GIB,
            "sys/fs/cgroup/memory/job/memory.limit_in_bytes": 10 * GIB,
            "sys/fs/cgroup/memory/job/memory.usage_in_bytes": 6 * GIB,
            "sys/fs/cgroup/memory/job/memory.stat": f"cache 7\ntotal_inactive_file {2 * GIB}",
        },
    ],
    ids=["version 2", "version 1"],
)
def test_containers(machine, files):
    machine(files)
    assert limits.usable_cores() == 3
    assert limits.host_memory() == (6 * GIB, 10 * GIB)


def test_unlimited_containers(machine):
    machine(
        {
            "proc/self/cgroup": "3:cpu,cpuacct:/\n2:memory:/",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": 2**63 - 4096,
            "sys/fs/cgroup/memory/memory.usage_in_bytes": 6 * GIB,
        }
    )
    test_no_limits(machine)


def test_affinity(machine, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3})
    assert limits.usable_cores() == 1


def test_ulimit(machine, monkeypatch):
    used = psutil.Process().memory_info().vms
    soft = used + 2 * GIB
    monkeypatch.setattr(
        resource,
        "getrlimit",
        lambda kind: (soft if kind == resource.RLIMIT_AS else resource.RLIM_INFINITY, -1),
    )
    free, total = limits.host_memory()
    assert total == soft
    assert free == pytest.approx(2 * GIB, rel=0.1)
