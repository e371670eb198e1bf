"""What README and docs say: examples run, commands parse, links lead somewhere, and the tables are
those of the committed results."""

import dataclasses
import importlib
import re
import shlex
import subprocess
import tomllib
from pathlib import Path

import jax
import nbclient
import nbformat
import numpy as np
import optax
import pytest
from published_files import Server, idx_files

from experiments.claims import doc_tables
from experiments.harness.experiment import parse
from sffa_jax import Schedule, backprop_learner, data, dense_layers
from sffa_jax.data.sources.registry import PUBLISHED

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
PAGES = (*doc_tables.pages(), ROOT / "CONTRIBUTING.md", ROOT / "experiments/README.md")


def code(path):
    """A page's blocks of Python, one after another."""
    return "\n".join(re.findall(r"```python\n(.*?)```", path.read_text(), re.DOTALL))


def test_the_example_runs():
    example = code(README)
    assert len([line for line in example.splitlines() if line.strip()]) <= 14
    names = {}
    exec(example, names)
    assert np.asarray(names["accuracy"].network) > 0.9


@pytest.mark.parametrize("name", ["how_to", "continual"])
def test_the_code_of_a_page_runs(name):
    exec(f"import jax\n{code(ROOT / f'docs/{name}.md')}", {"__name__": name})


def test_the_code_about_data_on_disk_runs(tmp_path, monkeypatch):
    """With a small set in place of ImageNet's, and a learner, which the page takes for granted."""
    labels = np.tile(np.arange(10), 7)
    images = np.zeros((70, 5, 4), np.uint8)
    opened = data.open_on_disk
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(data, "open_on_disk", lambda name: opened("mnist"))
    learner = backprop_learner(dense_layers([4]), 10, optax.adam(1e-2))
    names = {"learner": learner, "schedule": Schedule(1, 16)}
    with Server(idx_files(images, labels, images, labels)) as server:
        monkeypatch.setitem(PUBLISHED, "mnist", server.published("mnist", (5, 4)))
        exec(code(ROOT / "docs/data.md"), names)
    assert 0 <= float(names["accuracy"].network) <= 1


def test_the_code_about_clusters_runs():
    """On one device a run instead of four."""
    names = {"jax": jax, "samples": np.ones(3), "run": lambda key, x: jax.random.normal(key) + x}
    exec(code(ROOT / "docs/clusters.md").replace(", 4)", ", 1)"), names)
    assert names["results"].shape == (64, 3)


def test_no_page_with_code_is_left_out():
    tried = {README, *(ROOT / f"docs/{n}.md" for n in ("how_to", "continual", "data", "clusters"))}
    assert {path for path in PAGES if code(path)} == tried


def test_the_notebook_runs():
    notebook = nbformat.read(ROOT / "docs/quick_start.ipynb", as_version=4)
    nbclient.NotebookClient(notebook, timeout=120).execute()
    accuracies = notebook.cells[-1].outputs[0]["text"]
    assert float(re.search(r"SFFA ([\d.]+)", accuracies)[1]) > 90


COMMAND = re.compile(
    r"python -m experiments\.(?P<name>[a-z][\w.]*\w)(?P<arguments>(?:[^`\n#\\\"]|\\\n|\"[^\"\n]*\")*)"
)
PLACEHOLDERS = {"$DATA": "data", "$SLURM_ARRAY_TASK_ID": "1", "...": ""}


def understand(name, arguments):
    """Parses and checks a command line as the command itself does."""
    options = parse(importlib.import_module(f"experiments.{name}").Options, name, arguments)
    if name in ("compare", "continual", "latents"):
        options.resolve()
    return options


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
    arguments = shlex.split(said)
    if arguments:
        understand(name, arguments)
    else:  # named in a sentence
        assert callable(importlib.import_module(f"experiments.{name}").main)


def made():
    """Every `make ...` of README and docs."""
    pattern = r"(?:^ {4}|`)(make [a-z]+(?: [A-Z]+=(?:\"[^\"]*\"|\w+))*)"
    return sorted(
        {m for path in PAGES for m in re.findall(pattern, path.read_text(), re.MULTILINE)}
    )


@pytest.mark.parametrize("line", made())
def test_targets_of_make_are_there_and_start_what_is_understood(line):
    words = ["make", "--dry-run", *shlex.split(line)[1:]]
    planned = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for match in COMMAND.finditer(planned.replace("\\\n", " ")):
        arguments = shlex.split(match["arguments"])
        if "--help" not in arguments:
            understand(match["name"], arguments)


OPTION = re.compile(r"(?<![\w-])--([a-z][a-z-]+)")
OTHERS = {
    *("help", "logdir", "array", "nodes", "ntasks-per-node", "gpus-per-node", "time", "signal"),
    *("requeue", "worker", "command", "xla"),
}
"""Options of Slurm, gcloud, TensorBoard and XLA."""


def fields(options):
    """Names of all options, as they are typed."""
    for field in dataclasses.fields(options):
        yield field.name.replace("_", "-")
        value = getattr(options, field.name)
        if dataclasses.is_dataclass(value):
            yield from fields(value)


def test_options_named_in_pages_exist():
    known = set(OTHERS)
    for path in (ROOT / "experiments").glob("*.py"):
        if "sys.exit(execute(" in path.read_text():
            module = importlib.import_module(f"experiments.{path.stem}")
            known.update(fields(module.Options.defaults([])))
    for path in PAGES:
        assert set(OPTION.findall(path.read_text())) <= known, path.name


def test_the_version_is_the_same_everywhere():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest[1] == version


def test_extras_named_in_pages_exist():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for path in PAGES:
        for extra in re.findall(r"pip install '\.\[(\w+)\]'", path.read_text()):
            assert extra in project["optional-dependencies"], extra


@pytest.mark.parametrize("path", doc_tables.pages(), ids=lambda path: path.name)
def test_the_tables_are_those_of_the_results(path):
    text = path.read_text()
    assert doc_tables.filled(text, doc_tables.pages()[path]) == text, (
        "run `python -m experiments.claims.doc_tables`"
    )


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(path):
    for link in re.findall(r"\]\(([^)#]+)\)", path.read_text()):
        if not link.startswith("http"):
            assert (path.parent / link).exists(), link


def test_a_table_is_made_from_raw_values():
    text = "a\n<!-- results: comparison compare/digits -->\nold\n<!-- end -->\nb\n"
    made = doc_tables.filled(text)
    runs = doc_tables.load("compare/digits").records
    values = [100 * r["test_accuracy"] for r in runs if r["algorithm"] == "sffa"]
    assert f"| {np.mean(values):.2f} ± " in made
    assert "old" not in made
    assert made.startswith("a\n<!-- results")
    assert doc_tables.filled(made) == made
