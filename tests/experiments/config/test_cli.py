"""The command line: groups, help and suggestions."""

import dataclasses
import importlib
import re

import pytest

from experiments.config.cli import GROUPS, description_of, make_form, option_fields, parse

COMMANDS = (
    *("ablation", "benchmark", "compare", "continual", "latents", "merge", "paper", "report"),
    *("robustness", "symmetry"),
)


def options_of(name):
    return importlib.import_module(f"experiments.{name}").Options


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_has_one_sentence_of_help(name):
    for field in option_fields(options_of(name)):
        assert field.help.endswith("."), field.name


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_an_example(name):
    assert re.search(
        r"\n\nExample: (python -m experiments\.|make )", description_of(options_of(name), name)
    )


def test_options_stand_in_groups():
    options = options_of("compare")
    fields = {field.name: field for field in option_fields(options)}
    form = make_form(fields, options().flat())
    groups = {
        f.name: {o.name for o in dataclasses.fields(f.type)} for f in dataclasses.fields(form)
    }
    assert list(groups) == ["experiment", *GROUPS]
    assert groups["experiment"] == {"algorithms", "seeds", "preset"}
    assert {"hidden", "winners"} <= groups["architecture"]
    assert set().union(*groups.values()) == {*options().flat()}


@pytest.mark.parametrize("words", [["--hidden", "8", "6"], ["--hidden=8", "6"], ["--flip"]])
def test_known_options_are_accepted(words):
    assert parse(options_of("compare"), "compare", words).recipe.hidden in ((8, 6), (400,))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--sedes", "3"], "Unknown option --sedes. Did you mean --seeds?"),
        (["--learning-rat=1"], "Unknown option --learning-rat. Did you mean --learning-rate?"),
        (["--qqqq"], "Unknown option --qqqq. See --help."),
        (["--seeds", "many"], "--seeds"),
    ],
)
def test_bad_words(words, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        parse(options_of("compare"), "compare", words)


@pytest.mark.parametrize(
    ("name", "arguments", "field", "expected"),
    [
        ("compare", ["--out=~/x"], "out", "/home/a/x"),
        ("compare", ["--data-dir", "~"], "data_dir", "/home/a"),
        ("report", ["~/x", "y", "--out", "z"], "folders", "/home/a/x"),
    ],
)
def test_the_home_directory_is_expanded(monkeypatch, name, arguments, field, expected):
    monkeypatch.setenv("HOME", "/home/a")
    value = getattr(parse(options_of(name), name, arguments), field)
    assert str(value[0] if field == "folders" else value) == expected
