import importlib
from pathlib import Path

import pytest

from experiments import check_device
from experiments.config import cli


@pytest.mark.parametrize("quick", [True, False])
@pytest.mark.parametrize("step", check_device.COMMANDS)
def test_the_commands_exist(step, quick):
    _, module, *arguments = check_device.Options(quick=quick, out=Path("x")).steps()[step]
    options = cli.parse(importlib.import_module(module).Options, step, arguments)
    assert options.out == Path("x") / step


def test_the_tests_exist():
    root = Path(__file__).parents[2]
    for test in check_device.TESTS:
        file, _, name = test.partition("::")
        assert f"def {name or 'test_'}" in (root / file).read_text()


def test_failing_steps_are_named(monkeypatch, capsys):
    monkeypatch.setattr(check_device, "run_python", lambda *_: 1)
    with pytest.raises(SystemExit):
        check_device.main(check_device.Options(quick=True))
    assert "benchmark, compare" in capsys.readouterr().out


def test_a_cpu_is_no_accelerator(monkeypatch):
    monkeypatch.setattr(check_device.jax, "default_backend", lambda: "cpu")
    with pytest.raises(ValueError, match="`device` must be an accelerator, got a CPU. For an NVID"):
        check_device.main(check_device.Options())
