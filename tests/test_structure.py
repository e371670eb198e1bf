"""The layout explains the algorithm: a package imports only from packages before it."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

LIBRARY = ("checks", "data", "core", "training", "scale", "continual", "analysis", "sklearn")
"""The packages of `sffa_jax` in reading order; each imports itself and those before it."""

EXPERIMENTS = ("config", "harness", "reports", "bench", "claims")
"""The packages of `experiments`; the commands beside them import all of these."""

MAX_LINES = 400
MAX_COMMAND_LINES = 200

LIBRARY_FILES = sorted((ROOT / "sffa_jax").rglob("*.py"))
EXPERIMENT_FILES = sorted((ROOT / "experiments").rglob("*.py"))


def imported(path):
    """Dotted names of this project's modules that a file imports, wherever the import stands."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        yield from (name for name in names if name.split(".")[0] in ("sffa_jax", "experiments"))


def module_of(name):
    """The longest prefix of a dotted name that is a module."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        path = ROOT.joinpath(*parts[:length])
        if path.with_suffix(".py").exists():
            return ".".join(parts[:length])
        if (path / "__init__.py").exists():
            return ".".join([*parts[:length], "__init__"])
    raise AssertionError(f"{name} is no module")


def dotted(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def test_every_package_has_its_place():
    parts = {path.stem for path in (ROOT / "sffa_jax").glob("[!_]*") if path.suffix in ("", ".py")}
    assert parts == set(LIBRARY)
    assert {path.parent.name for path in EXPERIMENT_FILES} == {"experiments", *EXPERIMENTS}


@pytest.mark.parametrize("path", LIBRARY_FILES, ids=dotted)
def test_the_library_imports_from_packages_before(path):
    package = path.relative_to(ROOT / "sffa_jax").parts[0].removesuffix(".py")
    if package.startswith("_"):
        return
    allowed = LIBRARY[: LIBRARY.index(package) + 1]
    for name in imported(path):
        top, *rest = name.split(".")
        assert top == "sffa_jax", f"{name}: the library does not know the experiments"
        assert rest[0] in (*allowed, "_lazy"), f"{name} lies above {package}"


def test_the_page_of_the_core_is_in_reading_order():
    """Each file uses only those above it."""
    page = (ROOT / "docs/api/core.md").read_text()
    order = re.findall(r"::: (sffa_jax\.core\.\w+)", page)
    assert set(order) == {dotted(path) for path in (ROOT / "sffa_jax/core").glob("[!_]*.py")}
    for number, module in enumerate(order):
        path = ROOT.joinpath(*module.split(".")).with_suffix(".py")
        used = {module_of(name) for name in imported(path)}
        assert used & set(order) <= set(order[:number]), module


def test_no_module_imports_itself_in_a_circle():
    edges = {dotted(path): {module_of(n) for n in imported(path)} for path in LIBRARY_FILES}
    edges |= {dotted(path): {module_of(n) for n in imported(path)} for path in EXPERIMENT_FILES}
    finished: set[str] = set()

    def visit(module, trail):
        assert module not in trail, " -> ".join([*trail[trail.index(module) :], module])
        if module in finished:
            return
        # A package's own __init__ re-exports what lies in it.
        for other in edges.get(module, ()):
            if not module.endswith("__init__") and not other.endswith("__init__"):
                visit(other, [*trail, module])
        finished.add(module)

    for module in edges:
        visit(module, [])


@pytest.mark.parametrize("path", EXPERIMENT_FILES, ids=dotted)
def test_no_command_imports_another(path):
    """Commands share packages; `paper`, which runs them all, starts them as a user does."""
    commands = {p.stem for p in (ROOT / "experiments").glob("[!_]*.py")}
    for name in imported(path):
        parts = name.split(".")
        assert parts[0] != "experiments" or len(parts) < 2 or parts[1] not in commands, name


@pytest.mark.parametrize("path", [*LIBRARY_FILES, *EXPERIMENT_FILES], ids=dotted)
def test_files_are_short(path):
    is_command = path.parent == ROOT / "experiments"
    lines = len(path.read_text().splitlines())
    assert lines <= (MAX_COMMAND_LINES if is_command else MAX_LINES)


def test_the_package_and_the_help_of_each_command_load_no_library_that_takes_long():
    """And nothing loads another framework; `run_command` refuses TensorBoard's writer unasked."""
    heavy = "jax optax flax numpy matplotlib pandas sklearn tensorflow orbax"
    commands = sorted(p.stem for p in (ROOT / "experiments").glob("[!_]*.py"))
    code = f"""
import contextlib, importlib, io, pkgutil, runpy, sys, experiments.harness, sffa_jax
for command in {commands}:
    sys.argv = [command, "--help"]
    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):
        runpy.run_module(f"experiments.{{command}}", run_name="__main__", alter_sys=True)
    print(command, [name for name in "{heavy}".split() if name in sys.modules])
sffa_jax.fit, sffa_jax.load, sffa_jax.conv_layers
print("fit", [name for name in "{heavy}".split()[4:] if name in sys.modules])
for module in pkgutil.walk_packages(experiments.harness.__path__, "experiments.harness."):
    importlib.import_module(module.name)
foreign = "tensorflow torch tensorboardX"
print("harness", [name for name in foreign.split() if name in sys.modules])
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines() == [f"{name} []" for name in (*commands, "fit", "harness")]
