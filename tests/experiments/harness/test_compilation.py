"""The cache of compiled programs, and the time that compiling takes."""

import os
import re

import jax
import jax.numpy as jnp
import pytest
from commands import read, run_program

from experiments.harness.compilation import Clock, delete_oldest, fastest_known, use_cache


@pytest.fixture
def cache_settings(monkeypatch):
    """The settings of the cache, restored afterwards."""
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    names = [name for name in jax.config.values if "compilation_cache" in name]
    before = {name: jax.config.values[name] for name in [*names, PERSISTENT]}
    yield
    for name, value in before.items():
        jax.config.update(name, value)


PERSISTENT = "jax_persistent_cache_min_compile_time_secs"


def test_programs_are_kept_in_the_users_cache_folder(cache_settings, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    use_cache()
    assert jax.config.jax_compilation_cache_dir == str(tmp_path / "sffa_jax" / "programs")


def test_a_folder_that_the_user_names_is_used(cache_settings, monkeypatch):
    before = jax.config.jax_compilation_cache_dir
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "elsewhere")
    use_cache()
    assert jax.config.jax_compilation_cache_dir == before


def test_no_folder_means_no_cache(cache_settings, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    before = jax.config.jax_compilation_cache_dir
    use_cache()
    assert jax.config.jax_compilation_cache_dir == before


def test_the_oldest_programs_are_deleted(tmp_path):
    for age in range(4):
        file = tmp_path / f"program-{age}"
        file.write_bytes(bytes(10))
        os.utime(file, (1000 - age, 1000 - age))
    delete_oldest(tmp_path, 25)
    assert sorted(os.listdir(tmp_path)) == ["program-0", "program-1"]
    delete_oldest(tmp_path, 25)
    assert len(os.listdir(tmp_path)) == 2


def test_another_process_deletes_a_program_at_the_same_time(tmp_path):
    (tmp_path / "listed").symlink_to("deleted")
    (tmp_path / "program").write_bytes(bytes(10))
    delete_oldest(tmp_path, 5)
    assert os.listdir(tmp_path) == ["listed"]


def test_the_clock_counts_what_is_compiled_within_it():
    with Clock() as clock:
        jax.jit(lambda x: x + 1)(jnp.ones(3)).block_until_ready()
    compiled, seconds = clock.programs, clock.compiling
    jax.jit(lambda x: x + 2)(jnp.ones(3)).block_until_ready()
    assert (clock.programs, clock.compiling) == (compiled, seconds)
    assert compiled >= 1
    assert seconds > 0
    assert f"compiling took {seconds:.1f} s of it ({compiled} programs" in clock.summary()


PROGRAM = """
    import sys
    sys.stderr = sys.stdout
    from experiments import compare
    from experiments.harness.experiment import execute
    sys.exit(execute(compare.main, compare.Options, "compare"))
"""


@pytest.mark.slow
def test_a_second_start_compiles_nothing(tmp_path, monkeypatch):
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
    monkeypatch.delenv("JAX_COMPILATION_CACHE_MAX_SIZE")
    programs, accuracies = [], []
    for name in ("first", "second"):
        words = [
            "--algorithms",
            "sffa",
            "--hidden",
            "8",
            "--epochs",
            "1",
            "--seeds",
            "2",
            "--parallel",
            "devices",
        ]
        out = run_program(
            PROGRAM, *words, "--out", tmp_path / name, XDG_CACHE_HOME=str(tmp_path / "cache")
        )
        accuracies.append([record["test_accuracy"] for record in read(tmp_path / name)])
        programs.append(sorted(os.listdir(tmp_path / "cache/sffa_jax/programs")))
        assert re.search(r"compiling took [\d.]+ s of it \(\d+ programs", out)
    assert accuracies[0] == accuracies[1]
    assert programs[0]
    assert {name for name in programs[0] if name.endswith("-cache")} == {
        name for name in programs[1] if name.endswith("-cache")
    }


def test_the_fastest_mode_is_measured_once(cache_settings, tmp_path):
    jax.config.update("jax_compilation_cache_dir", str(tmp_path))
    modes, work = ("map", "vmap"), {"width": 8}
    assert fastest_known(work, modes, lambda: "vmap") == ("vmap", False)
    assert fastest_known(work, modes, lambda: "map") == ("vmap", True)
    assert fastest_known({"width": 9}, modes, lambda: "map") == ("map", False)
    for path in tmp_path.iterdir():
        path.write_text("{")
    assert fastest_known(work, modes, lambda: "map") == ("map", False)
    assert fastest_known(work, ("vmap",), lambda: "vmap") == ("vmap", False)
    jax.config.update("jax_compilation_cache_dir", str(tmp_path / "missing"))
    assert fastest_known(work, modes, lambda: "map") == ("map", False)
