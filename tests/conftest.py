"""Shared settings: shapes in annotations are checked, and ranks never broadcast silently."""

import os

# Before jax starts, and for the commands that tests start: most of the suite's time is compiling
# programs that run for milliseconds.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")

import hypothesis
import jax
import pytest
from jaxtyping import install_import_hook

# Must come before the first import of the package.
install_import_hook("sffa_jax", "typecheck.checker")


# The first example of a property compiles; a deadline would time the compiler.
hypothesis.settings.register_profile("suite", deadline=None, max_examples=25)
hypothesis.settings.load_profile("suite")


@pytest.fixture(autouse=True)
def strict_ranks():
    with jax.numpy_rank_promotion("raise"):
        yield
