"""The layout explains the algorithm: a file imports only from files above it."""

import ast
import subprocess
import sys
from pathlib import Path

ORDER = [
    *(
        "checks",
        "cluster",
        "mesh",
        "goodness",
        "losses",
        "ownership",
        "rules",
        "overlays",
        "negatives",
        "winners",
        "convolution",
        "layers",
    ),
    *("network", "learner", "adversarial", "local", "greedy", "backprop", "augment", "train"),
    *("estimator", "pipeline"),
    *("recipe", "stream", "sweep", "checkpoint", "drive", "page", "report"),
]
PACKAGE = Path(__file__).parent.parent / "sffa_jax"


def imported(path):
    """Names of this package's modules that a file imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "sffa_jax":
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("sffa_jax."):
            yield node.module.split(".")[1]


def test_every_module_has_its_place():
    assert sorted(path.stem for path in PACKAGE.glob("[!_]*.py")) == sorted(ORDER)


def test_imports_point_upwards():
    for place, name in enumerate(ORDER):
        allowed = {"data", *ORDER[:place]}
        assert set(imported(PACKAGE / f"{name}.py")) <= allowed, name


def test_analysis_is_used_by_nothing_below_it():
    for path in (PACKAGE / "analysis").glob("*.py"):
        assert set(imported(path)) <= {*ORDER, "analysis"} - {"page", "report"}, path.name


def test_continual_learning_is_used_by_nothing_below_it():
    for path in (PACKAGE / "continual").rglob("*.py"):
        assert set(imported(path)) <= {*ORDER, "continual"} - {"page", "report"}, path.name


def test_data_stands_alone():
    for path in (PACKAGE / "data").glob("*.py"):
        assert set(imported(path)) <= {"data"}, path.name


def test_importing_the_library_loads_no_plotting_and_no_tensorflow():
    heavy = "matplotlib pandas sklearn tensorflow"
    code = f"import sys, sffa_jax; print([m for m in '{heavy}'.split() if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
