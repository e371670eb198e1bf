"""What README and docs say: examples run, commands parse, links lead somewhere, and the tables are
those of the committed results."""

import importlib
import re
import shlex
from pathlib import Path

import nbclient
import nbformat
import numpy as np
import pytest

from experiments import docs
from experiments.command import parse

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_the_example_runs():
    (code,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert len([line for line in code.splitlines() if line.strip()]) <= 14
    names = {}
    exec(code, names)
    assert np.asarray(names["accuracy"].network) > 0.9


@pytest.mark.parametrize("name", ["how_to", "continual"])
def test_the_code_of_a_page_runs(name):
    """All of a page's blocks, one after another."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / f"docs/{name}.md").read_text(), re.DOTALL)
    exec("\n".join(["import jax", *blocks]), {"__name__": name})


def test_the_notebook_runs():
    notebook = nbformat.read(ROOT / "docs/quick_start.ipynb", as_version=4)
    nbclient.NotebookClient(notebook, timeout=120).execute()
    accuracies = notebook.cells[-1].outputs[0]["text"]
    assert float(re.search(r"SFFA ([\d.]+)", accuracies)[1]) > 90


COMMAND = re.compile(
    r"python -m experiments\.(?P<name>\w+)(?P<arguments>(?:[^`\n#\\\"]|\\\n|\"[^\"\n]*\")*)"
)
PLACEHOLDERS = {"$DATA": "data", "$SLURM_ARRAY_TASK_ID": "1", "...": ""}


PAGES = (*docs.pages(), ROOT / "CONTRIBUTING.md", ROOT / "experiments/README.md")


def commands():
    """Every experiment's command line in README and docs, by page."""
    for path in PAGES:
        for match in COMMAND.finditer(path.read_text()):
            said = match["arguments"].replace("\\\n", " ")
            for name, value in PLACEHOLDERS.items():
                said = said.replace(name, value)
            yield pytest.param(match["name"], said, id=f"{path.name}: {match['name']}{said[:60]}")


@pytest.mark.parametrize(("name", "said"), list(commands()))
def test_commands_are_understood(name, said):
    module = importlib.import_module(f"experiments.{name}")
    arguments = shlex.split(said)
    if not arguments:  # named in a sentence
        assert callable(module.main)
        return
    options = parse(module.Options, name, arguments)
    if name in ("compare", "continual", "latents"):
        options.resolve()


def test_targets_of_make_are_there():
    makefile = (ROOT / "Makefile").read_text()
    for path in PAGES:
        for target in re.findall(r"^ {4}make (\w+)", path.read_text(), re.MULTILINE):
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


@pytest.mark.parametrize("path", docs.pages(), ids=lambda path: path.name)
def test_the_tables_are_those_of_the_results(path):
    text = path.read_text()
    assert docs.filled(text, docs.pages()[path]) == text, "run `python -m experiments.docs`"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
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
