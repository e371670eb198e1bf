"""The command line: groups, help and suggestions."""

import dataclasses
import importlib
import re
import shlex
from typing import get_type_hints

import pytest

from experiments.config.cli import GROUPS, description_of, make_form, option_fields, parse
from experiments.harness.records import changed_options, merged_grid

COMMANDS = (
    *(
        "ablation",
        "benchmark",
        "compare",
        "continual",
        "estimators",
        "latents",
        "merge",
        "paper",
        "report",
    ),
    *("records", "robustness", "symmetry", "tune"),
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
        name: {option.name for option in dataclasses.fields(group)}
        for name, group in get_type_hints(form).items()
    }
    assert list(groups) == ["experiment", *GROUPS]
    assert groups["experiment"] == {"algorithms", "seeds", "preset"}
    assert {"hidden", "winners"} <= groups["architecture"]
    assert set().union(*groups.values()) == {*options().flat()} - {"by_algorithm"}


def test_groups_name_options_of_commands():
    known = {field.name for name in COMMANDS for field in option_fields(options_of(name))}
    assert {option for names in GROUPS.values() for option in names} <= known


@pytest.mark.parametrize("words", [["--hidden", "8", "6"], ["--hidden=8", "6"], ["--flip"]])
def test_known_options_are_accepted(words):
    assert parse(options_of("compare"), "compare", words).recipe.hidden in ((8, 6), (400,))


@pytest.mark.parametrize("value", [True, False])
@pytest.mark.parametrize(
    ("name", "option", "words"),
    [
        ("compare", "flip", []),
        ("compare", "flip", ["--preset", "deep_convolution"]),
        ("continual", "reset_optimizer", []),
        ("ablation", "taken_back", []),
    ],
)
def test_each_option_of_yes_or_no_has_both_words(name, option, words, value):
    flag = f"--{'' if value else 'no-'}{option.replace('_', '-')}"
    parsed = parse(options_of(name), name, [*words, flag])
    assert parsed.flat()[option] is value


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


CONVOLUTION = ["--preset", "best_convolution"]


@pytest.mark.parametrize(
    ("words", "by_algorithm"),
    [
        ([], {}),
        (["--bp.learning-rate", "3e-3"], {"bp": {"learning_rate": 3e-3}}),
        (["--bp.learning_rate=3e-3"], {"bp": {"learning_rate": 3e-3}}),
        (["--bp.learning-rate", "1e-3"], {}),  # that of all
        (
            ["--ffa.hidden", "8", "6", "--seeds", "3", "--sffa.flip", "--sffa.adversarial", "None"],
            {"ffa": {"hidden": (8, 6)}, "sffa": {"flip": True}},
        ),
        (
            ["--sffa.winners", "3", "--winners", "4", "--sffa.winners", "5"],
            {"sffa": {"winners": 5}},
        ),
        (CONVOLUTION, {"bp": {"learning_rate": 3e-3}}),
        # What is typed for all is for all.
        ([*CONVOLUTION, "--learning-rate", "1"], {}),
        ([*CONVOLUTION, "--bp.epochs", "2"], {"bp": {"learning_rate": 3e-3, "epochs": 2}}),
    ],
)
def test_values_of_one_algorithm(words, by_algorithm):
    options = parse(options_of("compare"), "compare", words)
    assert options.by_algorithm == by_algorithm
    for algorithm in ("ffa", "sffa", "bp"):
        own = by_algorithm.get(algorithm, {})
        assert options.recipe_of(algorithm) == dataclasses.replace(options.recipe, **own)
    # The printed command says the same.
    again = parse(options_of("compare"), "compare", shlex.split(options.command("compare"))[3:])
    assert (again.recipe, again.by_algorithm) == (options.recipe, options.by_algorithm)


def test_values_of_one_algorithm_have_the_order_of_help():
    """The same options make the same command, however they are typed."""
    names = ["bias", "batch_size", "learning_rate", "weight_decay", "shift", "zoom", "flip"]
    words = ["--bp.zoom=0.1", "--bp.flip", "--bp.batch-size=9", "--bp.shift=1", "--bp.bias"]
    words += ["--bp.weight-decay=1", "--bp.learning-rate=1"]
    own = parse(options_of("compare"), "compare", words).by_algorithm["bp"]
    assert list(own) == names


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--bp.winners", "3"], "`bp.winners` must be left out, because it has no effect on bp"),
        (["--ffa.eps", "3"], "`ffa.eps` must be left out, because it has no effect on ffa"),
        (["--sffa.label-smoothing", "0.1"], "`sffa.label_smoothing` must be left out"),
        (["--bp.scaling", "mnist"], "`bp.scaling` must be the same for all algorithms"),
        (["--bp.learning-rate", "-1"], "`learning_rate` must be a number above 0"),
        (["--bp.learning-rat", "1"], "Unknown option --bp.learning-rat. Did you mean --bp.learn"),
        (["--bp.seeds", "1"], "Unknown option --bp.seeds."),
        (["--pb.epochs", "1"], "`by_algorithm` must be one of bp, ffa, head, sffa, got 'pb'"),
        (["--bp.epochs", "many"], "--epochs"),
    ],
)
def test_bad_values_of_one_algorithm(words, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        parse(options_of("compare"), "compare", words).resolve()


def test_a_new_algorithm_brings_its_own_values():
    rate, slower = {"bp": {"learning_rate": 3e-3}}, {"bp": {"learning_rate": 1e-4}}
    before = {"algorithms": ["sffa"], "seeds": 3}
    now = {"algorithms": ["sffa", "bp"], "seeds": 3, "by_algorithm": rate}
    assert changed_options(before | {"by_algorithm": {}}, now, ["algorithms"]) == []
    merged = merged_grid(before, now)
    assert merged == now
    refused = changed_options(merged, now | {"by_algorithm": slower}, ["algorithms"])
    assert len(refused) == 1
    assert "by_algorithm" in refused[0]
    assert merged_grid(merged, now | {"by_algorithm": slower}) == now
    # A preset's values of an algorithm that the first start did not train are not kept.
    unused, later = before | {"by_algorithm": rate}, {"algorithms": ["bp"], "seeds": 3}
    assert merged_grid(unused, later | {"by_algorithm": {}})["by_algorithm"] == {}
