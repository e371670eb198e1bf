"""What README and docs say: the example runs, the tables are those of the committed results."""

import re
from pathlib import Path

import numpy as np
import pytest

from experiments import docs

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_the_example_runs():
    (code,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert len([line for line in code.splitlines() if line.strip()]) <= 14
    names = {}
    exec(code, names)
    assert np.asarray(names["accuracy"].network) > 0.9


@pytest.mark.parametrize("path", docs.pages(), ids=lambda path: path.name)
def test_the_tables_are_those_of_the_results(path):
    text = path.read_text()
    assert docs.filled(text, docs.pages()[path]) == text, "run `python -m experiments.docs`"


@pytest.mark.parametrize("path", docs.pages(), ids=lambda path: path.name)
def test_links_lead_somewhere(path):
    for link in re.findall(r"\]\(([^)#]+)\)", path.read_text()):
        if not link.startswith("http"):
            assert (path.parent / link).exists(), link


def test_a_table_is_made_from_raw_values():
    text = "a\n<!-- results: comparison compare/digits -->\nold\n<!-- end -->\nb\n"
    made = docs.filled(text)
    runs = docs.load("compare/digits").records
    values = [100 * r["test_accuracy"] for r in runs if r["algorithm"] == "sffa"]
    assert f"| {np.mean(values):.2f} ± " in made
    assert "old" not in made
    assert made.startswith("a\n<!-- results")
    assert docs.filled(made) == made
