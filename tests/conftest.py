"""Shared settings: shapes in annotations are checked, and ranks never broadcast silently."""

import gc
import os
import shutil
import signal
from importlib.metadata import version
from pathlib import Path

# Before jax starts, and for the commands that tests start. The suite runs on the CPU, also beside a
# GPU, which compiles each program for about a second; `make check-device` tests what depends on it.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Most of the suite's time is compiling programs that run for milliseconds.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
if version("jaxlib").startswith("0.10."):  # XLA ends a process that has a flag it does not know
    # The older code for fused loops compiles a fit in 0.8 s instead of 2.2: test_update_order, with
    # an empty cache, takes 15.9 s of CPU, and 22.6 without these flags. No setting that XLA
    # documents does as well: 23.1 and 25.0 s with --xla_disable_hlo_passes for its fusion passes.
    flags = "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
    os.environ.setdefault("XLA_FLAGS", flags)
# The workers of the suite share the cores; scikit-learn's threads would wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# On a GPU products are rounded to TF32 otherwise, and tests compare them with exact ones.
os.environ.setdefault("JAX_DEFAULT_MATMUL_PRECISION", "highest")
# What one process compiled, others and the next run of the suite read, in other checkouts too.
os.environ.setdefault(
    "JAX_COMPILATION_CACHE_DIR",
    str(Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sffa_jax" / "tests"),
)
# With a limit in size, JAX would read the age of every entry whenever it adds one.
os.environ.setdefault("JAX_COMPILATION_CACHE_MAX_SIZE", "-1")
# Also the small ones: reading one takes a fifth of compiling it, and each file needs the same ones.
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "0")

import hypothesis
import jax
import pytest
from jaxtyping import install_import_hook
from typecheck import reuse_checks

# Must come before the first import of the package.
reuse_checks()
install_import_hook("sffa_jax", "typecheck.checker")


# Devices of the CPU, so that what lies on several of them is tested in this process.
jax.config.update("jax_num_cpu_devices", 8)

# The first example of a property compiles; a deadline would time the compiler.
hypothesis.settings.register_profile("suite", deadline=None, max_examples=25)
hypothesis.settings.load_profile("suite")


def pytest_configure(config):
    """Empties a large cache of programs; the main process does so, before workers start."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a shell's background job
        signal.signal(signal.SIGINT, signal.default_int_handler)  # tests send it to commands
    folder = Path(os.environ["JAX_COMPILATION_CACHE_DIR"])
    if not hasattr(config, "workerinput") and folder.is_dir():
        size = sum(file.stat().st_size for file in folder.iterdir())
        if size > 10**9:
            shutil.rmtree(folder, ignore_errors=True)


def pytest_collection_finish():
    """Collects garbage less often, and never looks at what was imported."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 10, 10)


@pytest.fixture(autouse=True)
def strict_ranks():
    with jax.numpy_rank_promotion("raise"):
        yield


@pytest.fixture(autouse=True, scope="module")
def forget_programs():
    """JAX keeps each program that it lowered, over 1 MB, and slows down with thousands of them."""
    yield
    jax.clear_caches()
