"""Checkpoints: complete or absent, checked, bit-exact; runs that are interrupted and resume."""

import contextlib
import hashlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from unchecked import no_shape_checks

from sffa_jax.scale.checkpoints import ARRAYS, MANIFEST, Checkpoints
from sffa_jax.scale.resumable import SIGNALS, Interrupted, graceful_interrupts, run_resumable


def tree(value=1.0):
    return {
        "weights": (jnp.full((3, 2), value), jnp.arange(4, dtype=jnp.int32)),
        "key": jax.random.key(7),
        "keys": jax.random.split(jax.random.key(1), 3),
        "empty": (),
        "half": jnp.asarray([1.5, jnp.nan, -jnp.inf], jnp.bfloat16),
        "history": np.arange(3, dtype=np.float32),
    }


def same(found, expected):
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert a.dtype == b.dtype
        if jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
            a, b = jax.random.key_data(a), jax.random.key_data(b)
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


@pytest.fixture
def checkpoints(tmp_path):
    return Checkpoints(tmp_path / "checkpoints")


def test_what_is_saved_comes_back_bit_by_bit(checkpoints):
    assert checkpoints.latest(tree()) is None
    assert checkpoints.info() is None
    checkpoints.save(3, tree(2.5), {"way": "map", "seeds": [1, 2]})
    found = checkpoints.latest(tree())
    assert found.step == 3
    assert found.info == checkpoints.info() == {"way": "map", "seeds": [1, 2]}
    same(found.tree, tree(2.5))
    assert isinstance(found.tree["history"], np.ndarray)
    assert jax.random.key_impl(found.tree["key"]) == jax.random.key_impl(jax.random.key(0))


def test_shapes_alone_say_what_to_restore(checkpoints):
    checkpoints.save(0, tree())
    same(checkpoints.latest(jax.eval_shape(tree)).tree, tree())


def test_the_newest_are_kept(checkpoints):
    for step in (1, 2, 10):
        checkpoints.save(step, tree(float(step)))
    assert checkpoints.steps() == [2, 10]
    same(checkpoints.latest(tree()).tree, tree(10.0))
    checkpoints.save(10, tree(11.0))
    same(checkpoints.latest(tree()).tree, tree(11.0))
    checkpoints.clear()
    assert checkpoints.steps() == []


def test_leaves_return_to_their_devices(checkpoints):
    mesh = Mesh(np.array(jax.devices()[:2]), ("runs",))
    spread = jax.device_put(jnp.arange(8.0), NamedSharding(mesh, PartitionSpec("runs")))
    checkpoints.save(0, {"x": spread})
    found = checkpoints.latest({"x": spread}).tree["x"]
    assert found.sharding == spread.sharding
    np.testing.assert_array_equal(found, spread)


def damage(folder, how):
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.stat().st_size)
    file = files[how % len(files)]
    content = bytearray(file.read_bytes())
    if how % 3 == 0:
        file.unlink()
    elif how % 3 == 1:
        file.write_bytes(content[: len(content) // 2])
    else:
        content[how % len(content)] ^= 1 + how % 255
        file.write_bytes(content)


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    made = Checkpoints(folder)
    made.save(1, tree(1.0))
    made.save(2, tree(2.0))
    return folder


def test_a_renamed_checkpoint_is_not_resumed_from_another_step(two, tmp_path):
    shutil.copytree(two / "1", tmp_path / "1")
    shutil.copytree(two / "2", tmp_path / "5")
    assert Checkpoints(tmp_path).latest(tree()).step == 1


@given(how=st.integers(0, 10_000))
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_damaged_checkpoint_is_skipped(two, tmp_path_factory, how):
    copy = tmp_path_factory.mktemp("copy") / "checkpoints"
    shutil.copytree(two, copy)
    damage(copy / "2", how)
    changed = how % 3 != 2  # a flipped bit may turn a space of the seal into another one
    found = Checkpoints(copy).latest(tree())
    assert found.step == 1 or not changed
    same(found.tree, tree(float(found.step)))
    damage(copy / "1", how)
    found = Checkpoints(copy).latest(tree())
    assert found is None or not changed
    if found is not None:
        same(found.tree, tree(float(found.step)))


def test_a_write_that_failed_leaves_the_earlier_ones(checkpoints, monkeypatch):
    checkpoints.save(1, tree(1.0))

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            checkpoints.save(2, tree(2.0))
    same(checkpoints.latest(tree()).tree, tree(1.0))
    checkpoints.save(2, tree(2.0))
    same(checkpoints.latest(tree()).tree, tree(2.0))
    assert sorted(p.name for p in checkpoints.folder.iterdir()) == ["1", "2"]


def test_another_structure_is_named(checkpoints):
    checkpoints.save(1, {"a": jnp.zeros(3)})
    with pytest.raises(ValueError, match=r"structure of .*'a'\] float32\[3\]"):
        checkpoints.latest({"a": jnp.zeros(4)})
    with pytest.raises(ValueError, match="structure"):
        checkpoints.latest({"b": jnp.zeros(3)})


def test_a_checkpoint_of_another_version_is_not_read(checkpoints):
    checkpoints.save(1, tree())
    seal = checkpoints.folder / "1" / MANIFEST
    other = json.loads(seal.read_text())["manifest"] | {"version": 99}
    digest = hashlib.sha256(json.dumps(other, sort_keys=True).encode()).hexdigest()
    seal.write_text(json.dumps({"digest": digest, "manifest": other}))
    assert checkpoints.latest(tree()) is None


def test_no_file_is_a_pickle(checkpoints):
    checkpoints.save(1, tree())
    for file in (checkpoints.folder / "1" / ARRAYS).rglob("*"):
        if file.is_file():
            assert file.read_bytes()[:1] != b"\x80", file


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda c: Checkpoints(c.folder, keep=0), "`keep` must be at least 1, got 0"),
        (lambda c: c.save(-1, tree()), "`step` must be at least 0, got -1"),
        (
            lambda _: run_resumable(tree, max, 1, every_seconds=-1),
            "`every_seconds` must be a number at least 0, got -1",
        ),
    ],
)
def test_bad_arguments(checkpoints, call, message):
    with pytest.raises(ValueError, match=message):
        call(checkpoints)


def test_a_loop_that_could_not_resume_does_not_start(checkpoints):
    for first, got in ((1.0, "float"), (np.ones(2), "ndarray")):
        with pytest.raises(TypeError, match=f"`init` must return JAX arrays, got {got}"):
            run_resumable(lambda first=first: first, max, 1, checkpoints)
    with no_shape_checks(), pytest.raises(TypeError, match="must be `Checkpoints.*, got str"):
        run_resumable(tree, max, 1, str(checkpoints.folder))


def begin():
    return jnp.float32(1), jax.random.key(0)


def advance(number, carry):
    value, key = carry
    return value * 1.1 + jax.random.normal(jax.random.fold_in(key, number)), key


def test_a_driven_run_goes_on_where_it_was_stopped(checkpoints):
    expected = run_resumable(begin, advance, 7)
    done = []

    def until_the_fourth(number, carry):
        if number == 4:
            raise RuntimeError("killed")
        done.append(number)
        return advance(number, carry)

    with pytest.raises(RuntimeError, match="killed"):
        run_resumable(begin, until_the_fourth, 7, checkpoints, every_seconds=0)
    assert checkpoints.steps() == [3, 4]
    shutil.rmtree(checkpoints.folder / "4")  # as if the step after the third had not been saved
    again = []

    def noted(number, carry):
        again.append(number)
        return advance(number, carry)

    same(run_resumable(begin, noted, 7, checkpoints), expected)
    assert again == [3, 4, 5, 6]


def test_a_checkpoint_of_another_run_is_not_used(checkpoints):
    expected = run_resumable(begin, advance, 5)
    checkpoints.save(3, (jnp.float32(9), jax.random.key(9)), {"seeds": [1]})
    assert checkpoints.latest(begin(), {"seeds": [1]}).step == 3
    assert checkpoints.latest(begin(), {"seeds": [2]}) is None
    same(run_resumable(begin, advance, 5, checkpoints, info={"seeds": [2]}), expected)
    assert checkpoints.steps() == []
    checkpoints.save(3, {"of": jnp.zeros(2)}, {"seeds": [1]})
    same(run_resumable(begin, advance, 5, checkpoints, info={"seeds": [2]}), expected)


def test_without_a_step_left_the_checkpoint_is_the_result(checkpoints):
    checkpoints.save(7, (jnp.float32(5), jax.random.key(3)))
    same(run_resumable(begin, advance, 7, checkpoints), (jnp.float32(5), jax.random.key(3)))


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_saves_first(checkpoints, number):
    expected = run_resumable(begin, advance, 5)

    def interrupted(step, carry):
        if step == 2:
            signal.raise_signal(number)
        return advance(step, carry)

    with graceful_interrupts(), pytest.raises(Interrupted) as stopped:
        run_resumable(begin, interrupted, 5, checkpoints)
    assert stopped.value.signal == number
    assert checkpoints.steps() == [3]
    same(run_resumable(begin, advance, 5, checkpoints), expected)


def test_further_signals_do_not_cut_the_checkpoint_short(checkpoints, monkeypatch):
    """In the step, while the checkpoint is written, and while the program unwinds."""
    signals = itertools.cycle(SIGNALS)
    save = Checkpoints.save

    def burst():
        for _ in range(3):
            signal.raise_signal(next(signals))

    def stubborn(step, carry):
        burst()
        return advance(step, carry)

    def slow_save(self, *given):
        burst()
        save(self, *given)
        burst()

    before = [signal.getsignal(number) for number in SIGNALS]
    with monkeypatch.context() as patch, graceful_interrupts():
        patch.setattr(Checkpoints, "save", slow_save)
        with pytest.raises(Interrupted) as stopped:
            run_resumable(begin, stubborn, 5, checkpoints)
        burst()
    assert stopped.value.signal == signal.SIGINT
    assert checkpoints.steps() == [1]
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_a_signal_outside_of_loops_ends_at_once():
    with graceful_interrupts(), pytest.raises(Interrupted) as stopped:
        signal.raise_signal(signal.SIGHUP)
    assert stopped.value.signal == signal.SIGHUP


def test_handlers_of_the_program_are_respected():
    received = []
    before = signal.signal(signal.SIGUSR1, lambda number, _: received.append(number))
    ignored = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        with graceful_interrupts():
            signal.raise_signal(signal.SIGUSR1)
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGUSR1, before)
        signal.signal(signal.SIGHUP, ignored)
    assert received == [signal.SIGUSR1]


KILLED = """
    import sys, jax, jax.numpy as jnp
    from sffa_jax.scale.checkpoints import Checkpoints
    from sffa_jax.scale.resumable import run_resumable

    def begin():
        return jnp.ones(50_000), jax.random.key(0)

    @jax.jit
    def advance(number, carry):
        x, key = carry
        return jnp.sin(x * 3) + jax.random.normal(jax.random.fold_in(key, number), x.shape), key

    print("begun", flush=True)
    x, _ = run_resumable(begin, advance, 60, Checkpoints(sys.argv[1]), every_seconds=0)
    print(float(x.sum()).hex())
"""


def copy_while_written(folder, to):
    """What is left of a folder if the power goes now: some files, some of them in part."""
    # Unlike `rglob`, `os.walk` passes over folders that are renamed or removed meanwhile.
    for parent, _, names in os.walk(folder):
        target = to / Path(parent).relative_to(folder)
        target.mkdir(parents=True, exist_ok=True)
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                shutil.copyfile(Path(parent) / name, target / name)


@pytest.mark.slow
def test_killed_and_copied_at_random_moments_it_ends_the_same(tmp_path):
    def start(folder):
        return subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(KILLED), str(folder)],
            stdout=subprocess.PIPE,
            text=True,
        )

    with start(tmp_path / "undisturbed") as process:
        undisturbed = process.communicate()[0]
    assert undisturbed.count("\n") == 2
    random = np.random.default_rng(0)
    folder = tmp_path / "killed"
    for kill in range(2):
        with start(folder) as process:
            process.stdout.readline()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=random.uniform(0.3, 1.2))
            copy = tmp_path / f"copy{kill}"
            copy_while_written(folder, copy)
            process.kill()
        folder = copy
    with start(folder) as process:
        assert "begun\n" + process.communicate()[0].removeprefix("begun\n") == undisturbed


def test_a_save_that_fails_leaves_earlier_checkpoints(monkeypatch, tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, {"a": jnp.arange(3)})

    def stuck(source, target, replace=os.replace):
        if source.name == ".1.new":
            raise OSError("stuck")
        replace(source, target)

    with mock.patch("os.replace", stuck), pytest.raises(OSError, match="stuck"):
        checkpoints.save(1, {"a": jnp.zeros(3, int)})
    assert checkpoints.latest({"a": jnp.zeros(3, int)}).tree["a"].tolist() == [0, 1, 2]
    usage = shutil.disk_usage(tmp_path)._replace(free=10)
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    with pytest.raises(OSError, match="No space left on device"):
        checkpoints.save(2, {"a": jnp.arange(3)})
    assert {path.name for path in tmp_path.iterdir()} == {"1", ".1.new"}


def test_info_is_compared_as_it_is_written(checkpoints):
    """JSON turns tuples into lists and numbers as keys into strings."""
    info = {"hidden": (4, 4), "names": {0: "a"}, "rate": float("nan")}
    checkpoints.save(3, tree(), info)
    assert checkpoints.latest(tree(), info).step == 3
    assert checkpoints.latest(tree(), info | {"hidden": (4,)}) is None


def test_a_checkpoint_beyond_the_last_step_is_refused(checkpoints):
    checkpoints.save(3, begin())
    with pytest.raises(ValueError, match="`num_steps` must be at least 3, the steps of the check"):
        run_resumable(begin, advance, 2, checkpoints)
