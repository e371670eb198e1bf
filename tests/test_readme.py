"""Checks README and docs: examples run, commands parse, links resolve, tables match the results."""

import dataclasses
import importlib
import json
import re
import shlex
import subprocess
import textwrap
import tomllib
from pathlib import Path
from unittest import mock

import jax
import numpy as np
import optax
import pytest
from commands import read
from published_files import Server, idx_files
from unchecked import no_shape_checks

from experiments.claims import doc_tables
from experiments.config.cli import default_options, parse
from experiments.config.continual_methods import METHODS
from experiments.config.options import RESUMABLE_OPTIONS
from sffa_jax import Schedule, backprop_learner, data, dense_layers
from sffa_jax.data.sources.registry import PUBLISHED
from sffa_jax.sklearn import SFFAClassifier

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
PAGES = (*doc_tables.pages(), ROOT / "CONTRIBUTING.md", ROOT / "experiments/README.md")


PROGRAMS = sorted((ROOT / "docs/programs").glob("*.py"))


def blocks(path):
    """A page's blocks of Python."""
    return re.findall(r"```python\n(.*?)```", path.read_text(), re.DOTALL)


def code(path):
    """A page's blocks of Python, one after another."""
    return "\n".join(blocks(path))


@pytest.fixture
def few_digits(monkeypatch):
    """Lets `data.load` return 256 of the training images."""
    digits = data.load("digits")
    few = dataclasses.replace(
        digits, train_images=digits.train_images[:256], train_labels=digits.train_labels[:256]
    )
    monkeypatch.setattr(data, "load", lambda name, folder=None: few)


def shortened(text):
    """A program with three epochs where it has more, or whose command trains a small network."""
    text = text.replace("--seeds 1", "--seeds 1 --hidden 16 --epochs 1")
    return re.sub(r"\b(epochs|partial_iter|max_iter)=\d+", r"\1=3", text)


def test_the_first_lines_show_an_example_and_its_output(capsys):
    """What, why, how to install, and six lines of code with their output."""
    lines = README.read_text().splitlines()
    assert len(lines) <= 90
    first = blocks(README)[0]
    assert sum(bool(line.strip()) for line in first.splitlines()) == 6
    assert first.splitlines() == lines[11:18]
    for word in ("make compare", "EXTRA=cuda", "pip install"):
        assert word in "".join(lines[:15])
    exec(first, {})
    printed = re.search(r"# ([\d.]+)", first)[1]
    assert float(capsys.readouterr().out) == pytest.approx(float(printed), abs=0.02)


def test_the_example_of_the_layers_runs():
    names = {}
    exec(blocks(README)[1], names)
    assert sum(bool(line.strip()) for line in blocks(README)[1].splitlines()) <= 14
    assert names["test"].labels.size == 359
    accuracy = names["sf"].evaluate(names["learner"], names["result"].state, names["test"])
    assert accuracy.network > 0.9


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_programs_are_short_and_run(path, request, monkeypatch, tmp_path, capsys):
    if path.stem != "own_strategy":  # a command reads the whole set
        request.getfixturevalue("few_digits")
    text = path.read_text()
    assert sum(bool(line.strip()) for line in text.splitlines()) <= 20
    monkeypatch.chdir(tmp_path)
    names = {"__name__": path.stem}
    # One program is a command, and adds an entry to the table of methods.
    with no_shape_checks(), mock.patch.dict(METHODS):
        exec(shortened(text), names)
    assert names.get("status", 0) == 0
    if path.stem == "own_strategy":
        none, shrunk = read(tmp_path / "runs/shrink")
        assert none["task_losses"] != shrunk["task_losses"]
        assert "Weight decay" in capsys.readouterr().out
    if "accuracy" in names:
        assert np.max(names["accuracy"]) > 0.2


def test_pages_show_the_programs_as_they_are():
    shown = {}
    for path in PAGES:
        pattern = r"<!-- program: (\w+) -->\n```python\n(.*?)```\n<!-- end -->"
        shown |= dict(re.findall(pattern, path.read_text(), re.DOTALL))
    assert shown == {path.stem: path.read_text() for path in PROGRAMS}


def test_the_code_about_layers_prints_its_table(capsys):
    exec(code(ROOT / "docs/layers.md"), {})
    table = textwrap.indent(capsys.readouterr().out, "    ")
    assert table in (ROOT / "docs/layers.md").read_text()


def test_the_code_about_estimators_runs():
    """With fewer passes."""
    first, second = blocks(ROOT / "docs/sklearn.md")
    exec(shortened(first.replace("random_state=0).fit", "random_state=0, max_iter=9).fit")), {})
    names = {"SFFAClassifier": SFFAClassifier}
    exec(shortened(second), names)
    assert len(names["incremental"].classes_) == 10


def test_the_code_about_training_runs(few_digits, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    text = re.sub(
        r"<!-- program.*?<!-- end -->", "", (ROOT / "docs/training.md").read_text(), flags=re.DOTALL
    )
    names = {}
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(shortened(block), names)
    assert names["result"].history.validation_accuracy.shape == (3,)


def test_the_code_about_data_on_disk_runs(tmp_path, monkeypatch):
    """With a small set in place of ImageNet's, a learner, which the page takes for granted, and a
    table, which it converts."""
    labels = np.tile(np.arange(10), 7)
    images = np.zeros((70, 5, 4), np.uint8)
    opened = data.open_on_disk
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(data, "open_on_disk", lambda name: opened("mnist"))
    learner = backprop_learner(dense_layers([4]), 10, optax.adam(1e-2))
    names = {"learner": learner, "schedule": Schedule(1, 16)}
    monkeypatch.chdir(tmp_path)
    Path("table.csv").write_text("a,kind\n" + "0.5,x\n1,y\n" * 5)
    with Server(idx_files(images, labels, images, labels)) as server:
        monkeypatch.setitem(PUBLISHED, "mnist", server.published("mnist", (5, 4)))
        exec(code(ROOT / "docs/data.md"), names)
    assert 0 <= float(names["accuracy"].network) <= 1
    assert data.load("npz:table.npz").class_names == ("x", "y")


def test_the_code_about_clusters_runs():
    """On one device a run instead of four."""
    names = {"jax": jax, "samples": np.ones(3), "run": lambda key, x: jax.random.normal(key) + x}
    exec(code(ROOT / "docs/clusters.md").replace(", 4)", ", 1)"), names)
    assert names["results"].shape == (64, 3)


def test_no_page_with_code_is_left_out():
    # tests/continual/test_from_python.py runs the page on continual learning.
    names = ("how_to", "layers", "continual", "data", "clusters", "sklearn", "training", "predict")
    tested = {README, *(ROOT / f"docs/{name}.md" for name in names)}
    assert {path for path in PAGES if code(path)} <= tested


def test_the_notebook_has_its_outputs():
    """As printed by its last cell, and drawn by the one before."""
    notebook = json.loads((ROOT / "docs/quick_start.ipynb").read_text())
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert "image/png" in cells[-2]["outputs"][-1]["data"]
    printed = "".join(cells[-1]["outputs"][0]["text"])
    assert float(re.search(r"SFFA ([\d.]+)", printed)[1]) > 90


def test_the_notebook_runs(few_digits):
    """With fewer epochs and seeds, in this process."""
    notebook = json.loads((ROOT / "docs/quick_start.ipynb").read_text())
    names = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            exec(shortened("".join(cell["source"])).replace("seeds=10", "seeds=2"), names)
    assert set(names["accuracy"]) == {"FFA", "SFFA"}


COMMAND = re.compile(
    r"python -m experiments\.(?P<name>[a-z][\w.]*\w)"
    r"(?P<arguments>(?:[^`\n#\\\"]|\\\n|\"[^\"\n]*\")*)"
)
PLACEHOLDERS = {"$DATA": "data", "$SLURM_ARRAY_TASK_ID": "1", "...": ""}


def understand(name, arguments):
    """Parses and checks a command line as the command itself does."""
    options = parse(importlib.import_module(f"experiments.{name}").Options, name, arguments)
    return options.resolve() if name in ("compare", "continual", "latents") else options


def commands():
    """Every different command line of the experiments in README and docs, with its page."""
    pages = {}
    for path in PAGES:
        for match in COMMAND.finditer(path.read_text()):
            arguments = match["arguments"].replace("\\\n", " ")
            for name, value in PLACEHOLDERS.items():
                arguments = arguments.replace(name, value)
            pages.setdefault((match["name"], arguments.strip()), path.name)
    return pages


@pytest.mark.parametrize(("name", "arguments"), list(commands()))
def test_commands_are_understood(name, arguments):
    if arguments:
        understand(name, shlex.split(arguments))
    else:  # named in a sentence
        assert callable(importlib.import_module(f"experiments.{name}").main)


def test_commands_of_the_first_page_make_their_rows():
    """They resolve to the options that the folder of the row recorded."""
    rows = re.findall(r"\]\((results/\w+/\w+)\) \|.*`python -m ([^`]*)`", README.read_text())
    assert len(rows) == 5
    for folder, command in rows:
        (module, *arguments) = shlex.split(command)
        recorded = json.loads((ROOT / folder / "config.json").read_text())["options"]
        options = plain(understand(module.removeprefix("experiments."), arguments))
        ignored = {*RESUMABLE_OPTIONS} - {"seeds"}
        for option in recorded.keys() & options.keys() - ignored:
            assert options[option] == recorded[option], (folder, option)


def plain(options):
    """Options as they are recorded."""
    return json.loads(json.dumps(flat(options), default=str))


def flat(options):
    """Options with those of their parts, by name."""
    values = {}
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        values |= flat(value) if dataclasses.is_dataclass(value) else {field.name: value}
    return values


def made():
    """Every `make ...` of README and docs."""
    pattern = r"(?:^ {4}|`)(make [a-z-]+(?: [A-Z]+=(?:\"[^\"]*\"|\w+))*)"
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


OPTION = re.compile(r"(?<![\w-])--(?:(?:ffa|sffa|bp)\.)?([a-z][a-z-]+)")
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
        if isinstance(value, bool):
            yield f"no-{field.name.replace('_', '-')}"
        if dataclasses.is_dataclass(value):
            yield from fields(value)


def test_options_named_in_pages_exist():
    known = set(OTHERS)
    for path in (ROOT / "experiments").glob("*.py"):
        if "sys.exit(execute(" in path.read_text():
            module = importlib.import_module(f"experiments.{path.stem}")
            known.update(fields(default_options(module.Options, [])))
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
