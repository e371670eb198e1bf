"""The examples in docstrings run, and every function that a user calls has one."""

import doctest
import importlib
import inspect
import pkgutil

import pytest
from unchecked import no_shape_checks

import sffa_jax
from sffa_jax import core, training

MODULES = ["sffa_jax.checks"] + [
    f"{package.__name__}.{module.name}"
    for package in (core, training)
    for module in pkgutil.iter_modules(package.__path__)
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name):
    module = importlib.import_module(name)
    with no_shape_checks():
        failed, _ = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE)
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
