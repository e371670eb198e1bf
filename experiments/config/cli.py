"""The command line: options in groups, one sentence of help each, errors in one line."""

import ast
import contextlib
import dataclasses
import difflib
import importlib
import inspect
import io
import itertools
import re
import sys
import textwrap
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Protocol, Self, TypeVar, get_type_hints

import tyro

from sffa_jax.checks import reject

GROUPS: dict[str, tuple[str, ...]] = {
    "data": (
        *("dataset", "data_dir", "image_size", "color", "test_fraction", "validation"),
        *("selection", "scaling"),
    ),
    "architecture": (
        *("hidden", "channels", "kernel", "stride", "padding", "pool", "pooled", "activation"),
        *("initializer", "precision", "winners", "ffa_winners", "input_skip"),
        *("normalization", "dropout"),
    ),
    "label": (
        *("overlay", "overlay_size", "overlay_density", "overlay_value", "class_units", "label"),
        *("negatives", "synthetic_negatives"),
    ),
    "rule": (
        *("logit_scale", "eps", "measure", "ffa_threshold", "ffa_logit_scale", "ffa_measure"),
        *("normalize", "loss", "label_smoothing", "activity_rate", "clip", "score"),
        *("first_scored",),
    ),
    "training": (
        *("epochs", "batch_size", "learning_rate", "lr_schedule", "weight_decay", "optimizer"),
        *("update_order", "adversarial"),
    ),
    "augmentation": ("shift", "edges", "flip", "rotation", "zoom", "cutout", "input_dropout"),
    "output": (*("out", "tensorboard", "save_networks", "checkpoint_seconds"),),
    "device": (
        *("parallel", "devices_per_run", "shard", "coordinator", "num_processes", "process_id"),
    ),
}
"""Options by their section in `--help`; all others are in the section of the experiment."""


class HasDefaults(Protocol):
    """Options whose defaults depend on the command line (on its `--preset`)."""

    @classmethod
    def defaults(cls, arguments: Sequence[str]) -> Self:
        """Returns the options before the rest of the command line is read."""


Options = TypeVar("Options", bound=HasDefaults)


def parse(options: type[Options], name: str, arguments: Sequence[str] | None) -> Options:
    """Parses the command line into the options' dataclass.

    Args:
      options: a dataclass. The string under a field, or "help" in its metadata, is its help; the
        fields of a field `recipe` are options, too.
      name: the command's name.
      arguments: None: those of this process.

    Raises:
      ValueError: for an unknown option or a value of the wrong type, in one line.
      SystemExit: after `--help`, with status 0.
    """
    given = sys.argv[1:] if arguments is None else list(arguments)
    fields = {field.name: field for field in option_fields(options)}
    check_flags(given, fields)
    default = options.defaults(given)
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            form = tyro.cli(
                make_form(fields, flat_values(default)),
                prog=f"python -m experiments.{name}",
                description=description_of(options, name),
                args=given,
                config=(tyro.conf.FlagCreatePairsOff, tyro.conf.OmitArgPrefixes),
            )
    except SystemExit as end:
        if end.code in (0, None):
            raise
        # tyro draws a box of several lines; its first paragraph names the error.
        paragraphs = re.split(r"^[│|] [─-]+ [│|]$", complaint.getvalue(), flags=re.MULTILINE)
        inside = re.findall(r"^[│|] (.*) [│|]$", paragraphs[0], flags=re.MULTILINE)
        message = " ".join(" ".join(inside or [complaint.getvalue()]).split())
        raise ValueError(f"{message.rstrip('.')}. See --help.") from None
    values: dict[str, Any] = {}
    for group in dataclasses.fields(form):
        values |= {name: expanded(value) for name, value in vars(getattr(form, group.name)).items()}
    return with_values(default, values)


def expanded(value: Any) -> Any:
    """Returns paths with their `~` replaced by the home directory: a shell leaves --out=~/x alone.

    Raises:
      ValueError: if there is no such directory.
    """
    if isinstance(value, tuple):
        return tuple(map(expanded, value))
    try:
        return value.expanduser() if isinstance(value, Path) else value
    except RuntimeError:
        raise reject("options", "path", "lie in a known home directory", value) from None


class OptionField(NamedTuple):
    """Name, type and help of an option."""

    name: str
    type: Any
    help: str


def option_fields(options: type[Any]) -> Iterator[OptionField]:
    """Yields the options of a dataclass; a field `recipe` is replaced by its fields."""
    types, help_texts = get_type_hints(options, include_extras=True), docstrings(options)
    for field in dataclasses.fields(options):
        if field.name == "recipe":
            yield from option_fields(get_type_hints(options)["recipe"])
        else:
            text = field.metadata.get("help") or help_texts[field.name]
            yield OptionField(field.name, types[field.name], text)


def docstrings(options: type[Any]) -> dict[str, str]:
    """Returns the string under each field of a dataclass and of the classes it extends."""
    texts = {}
    for base in reversed(options.__mro__[:-1]):
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        assert isinstance(tree, ast.ClassDef)
        for statement, following in itertools.pairwise(tree.body):
            if isinstance(statement, ast.AnnAssign) and isinstance(following, ast.Expr):
                text = ast.literal_eval(following.value)
                texts[ast.unparse(statement.target)] = " ".join(text.split())
    return texts


def check_flags(arguments: Sequence[str], known: Collection[str]) -> None:
    """Raises ValueError for the first unknown option and suggests the closest known one."""
    flags = {f"--{word}{name.replace('_', '-')}" for name in known for word in ("", "no-")}
    for argument in arguments:
        flag = argument.partition("=")[0].replace("_", "-")
        if re.match(r"--[a-z]", flag) and flag not in {*flags, "--help"}:
            close = difflib.get_close_matches(flag, sorted(flags), n=1)
            advice = f" Did you mean {close[0]}?" if close else ""
            raise ValueError(f"Unknown option {flag}.{advice} See --help.")


def flat_values(options: Any) -> dict[str, Any]:
    """Returns the value of each option by its name; the fields of a field `recipe` are included."""
    values = {field.name: getattr(options, field.name) for field in dataclasses.fields(options)}
    recipe = values.pop("recipe", None)
    return values if recipe is None else values | vars(recipe)


def with_values(options: Options, values: Mapping[str, Any]) -> Options:
    """Returns the options with new values, by name."""
    of_class = {field.name for field in dataclasses.fields(options)}  # type: ignore[arg-type]
    changes = {name: value for name, value in values.items() if name in of_class}
    if "recipe" in of_class:
        others = {name: value for name, value in values.items() if name not in of_class}
        changes["recipe"] = dataclasses.replace(options.recipe, **others)  # type: ignore[attr-defined]
    return dataclasses.replace(options, **changes)  # type: ignore[type-var]


def make_form(fields: Mapping[str, OptionField], values: Mapping[str, Any]) -> type[Any]:
    """Returns a dataclass that contains one dataclass per group; tyro shows each as a section."""
    group_of = {name: group for group, names in GROUPS.items() for name in names}
    groups: dict[str, list[OptionField]] = {group: [] for group in ("experiment", *GROUPS)}
    for field in fields.values():
        groups[group_of.get(field.name, "experiment")].append(field)
    shown = []
    for group, members in groups.items():
        if not members:
            continue
        group_class = dataclasses.make_dataclass(
            group,
            [
                (field.name, Annotated[field.type, tyro.conf.arg(help=field.help)])
                for field in members
            ],
        )
        default = group_class(**{field.name: values[field.name] for field in members})
        shown.append(
            (group, group_class, dataclasses.field(default_factory=partial(lambda d: d, default)))
        )
    return dataclasses.make_dataclass("form", shown)


def description_of(options: type[Any], name: str) -> str:
    """Returns the options' docstring and the first example in the docstring of their command."""
    module = sys.modules["__main__"]
    if getattr(module.__spec__, "name", None) != f"experiments.{name}":
        module = importlib.import_module(f"experiments.{name}")
    example = re.search(r"^ {4}((?:python|make) .*)$", module.__doc__ or "", flags=re.MULTILINE)
    text = inspect.cleandoc(options.__doc__ or "")
    return f"{text}\n\nExample: {example[1]}" if example else text
