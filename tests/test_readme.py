"""What the README says: its example runs, its numbers are those of the committed results."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from sffa_jax.report import interval

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_the_example_runs():
    (code,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert len([line for line in code.splitlines() if line.strip()]) <= 14
    names = {}
    exec(code, names)
    assert np.asarray(names["accuracy"].network) > 0.9


@pytest.mark.parametrize("name", ["digits", "mnist", "fashion_mnist", "fashion_mnist_2_layers"])
def test_the_table_is_that_of_the_results(name):
    folder = ROOT / "results" / "compare" / name
    runs = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
    row = next(line for line in README.splitlines() if f"(results/compare/{name})" in line)
    for algorithm in ("ffa", "sffa", "bp"):
        values = [run["test_accuracy"] for run in runs if run["algorithm"] == algorithm]
        found = interval(values)
        assert f"{100 * found.mean:.2f} ± {100 * (found.high - found.mean):.2f}" in row
    assert f"| {len(values)} |" in row
