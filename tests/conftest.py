"""Shared settings: shapes in annotations are checked, and ranks never broadcast silently."""

import os
from pathlib import Path

# Before jax starts, and for the commands that tests start: most of the suite's time is compiling
# programs that run for milliseconds.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")

import hypothesis
import jax
import pytest
from jaxtyping import install_import_hook

# Must come before the first import of the package. A recipe's types are those of the command line,
# while its numbers may be traced.
MODULES = {path.stem for path in (Path(__file__).parent.parent / "sffa_jax").iterdir()}
install_import_hook(
    [f"sffa_jax.{name}" for name in sorted(MODULES - {"recipe", "__init__", "__pycache__"})],
    "typecheck.checker",
)


# The first example of a property compiles; a deadline would time the compiler.
hypothesis.settings.register_profile("suite", deadline=None, max_examples=25)
hypothesis.settings.load_profile("suite")


@pytest.fixture(autouse=True)
def strict_ranks():
    with jax.numpy_rank_promotion("raise"):
        yield
