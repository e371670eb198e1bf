"""The examples in docstrings run, and every function that a user calls has one."""

import doctest
import importlib
import inspect
from pathlib import Path

import pytest
from unchecked import no_shape_checks

import sffa_jax

ROOT = Path(__file__).parent.parent
MODULES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for package in ("sffa_jax", "experiments")
    for path in sorted((ROOT / package).rglob("*.py"))
    if ">>>" in path.read_text()
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name):
    module = importlib.import_module(name)
    with no_shape_checks():
        failed, attempted = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert attempted > 0
    assert failed == 0


def test_public_functions_have_examples():
    functions = {
        name: getattr(sffa_jax, name)
        for name in sffa_jax.__all__
        if inspect.isfunction(getattr(sffa_jax, name))
    }
    lacking = [name for name, function in functions.items() if ">>>" not in function.__doc__]
    assert lacking == []


def test_public_names():
    assert set(sffa_jax.__all__) <= set(dir(sffa_jax))
    for name in sffa_jax.__all__:
        assert getattr(sffa_jax, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = sffa_jax.nonsense
