"""Errors of input, system and memory become one sentence; bugs keep their traceback."""

import errno
import os
import threading
from pathlib import Path

import jax
import numpy as np
import pytest

from experiments.harness import failures
from experiments.reports import intervals
from sffa_jax import data
from sffa_jax.checks import reject
from sffa_jax.data.sources.cache import tfds_folder

OUT_OF_MEMORY = "RESOURCE_EXHAUSTED: Out of memory allocating 25600000000 bytes.\nMore\nlines"


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        *((OSError(code, os.strerror(code), "runs/x"), os.strerror(code))
          for code in (errno.ENOSPC, errno.EFBIG, errno.EMFILE, errno.ENOMEM, errno.EISDIR)),
        (MemoryError(), "memory is exhausted. Choose a smaller --hidden"),
        (MemoryError("a single run needs 9 GiB"), "memory is exhausted: a single run needs 9 GiB."),
        (jax.errors.JaxRuntimeError(OUT_OF_MEMORY), "exhausted: 23.8 GiB could not be allocated."),
        (RuntimeError("can't start new thread"), "the system allows no further thread"),
    ],
)  # fmt: skip
def test_the_system_and_memory_end_with_status_1(error, sentence):
    failure = failures.describe(error)
    assert failure.status == 1
    assert sentence in failure.sentence
    assert "\n" not in failure.sentence
    assert failure.sentence.endswith("with the same --out resumes.")


def raised(function, *arguments):
    with pytest.raises(Exception) as failed:  # noqa: PT011
        function(*arguments)
    return failed.value


def fail(error):
    raise error


def test_only_input_that_this_project_refuses_ends_with_status_2():
    with pytest.raises(ValueError) as failed:  # noqa: PT011
        jax.vmap(lambda x: x)(np.zeros(()))  # JAX's own error
    assert failures.describe(failed.value) is None
    for error in (RuntimeError("INTERNAL"), KeyError("x"), AssertionError(), ValueError("x")):
        assert failures.describe(raised(fail, error)) is None
    # A function in C has no frame of its own: a bug of this project.
    assert failures.describe(raised(intervals.band, np.array(None))) is None
    from sffa_jax.checks import check_integer

    failure = failures.describe(raised(check_integer, "f", "n", -1, 0))
    assert failure == (2, str(reject("f", "n", "be at least 0", -1)))


def test_memory_that_ends_in_a_thread_ends_the_process(monkeypatch, capsys):
    statuses = []
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    monkeypatch.setattr(failures.os, "_exit", statuses.append)
    failures.end_on_thread_failure()
    thread = threading.Thread(target=fail, args=(MemoryError(),))
    thread.start()
    thread.join()
    assert statuses == [1]
    error = capsys.readouterr().err
    assert error.startswith("error: memory is exhausted.")
    assert error.count("\n") == 1


def test_without_a_home_directory(monkeypatch):
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    monkeypatch.delenv("TFDS_DATA_DIR", raising=False)
    assert failures.describe(raised(Path("~/x").expanduser)).status == 2
    with pytest.raises(data.DataError, match="home directory, and there is none"):
        tfds_folder()
