"""The command line: options in groups, one sentence of help each, errors in one line."""

import ast
import contextlib
import dataclasses
import difflib
import functools
import importlib
import inspect
import io
import itertools
import re
import sys
import textwrap
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeVar, get_type_hints

import tyro

from sffa_jax.checks import reject

GROUPS: dict[str, tuple[str, ...]] = {
    "data": (
        *("dataset", "data_dir", "image_size", "color", "test_fraction", "validation"),
        *("held_out", "selection", "scaling", "split"),
    ),
    "architecture": (
        *("hidden", "channels", "kernel", "stride", "padding", "pool", "pooled", "activation"),
        *("bias", "initializer", "precision", "winners", "ffa_winners", "pass_winners_only"),
        *("input_skip", "normalization", "dropout"),
    ),
    "label": (
        *("overlay", "overlay_size", "overlay_density", "overlay_value", "class_units", "wave"),
        *("places", "polarity_rate", "negatives", "synthetic_negatives"),
    ),
    "rule": (
        *("logit_scale", "eps", "measure", "ffa_threshold", "ffa_logit_scale", "ffa_measure"),
        *("normalize", "loss", "label_smoothing", "activity_rate", "clip", "score"),
        *("first_scored", "last_scored", "second_term", "second_weight"),
    ),
    "training": (
        *("epochs", "batch_size", "learning_rate", "lr_schedule", "weight_decay", "optimizer"),
        *("weight_average", "update_order", "adversarial"),
    ),
    "augmentation": (
        *("shift", "edges", "flip", "rotation", "zoom", "cutout", "input_dropout", "mirrored"),
    ),
    "tuning": ("tune", "tune_seeds", "tune_epochs"),
    "output": ("out", "tensorboard", "save_networks", "checkpoint_seconds"),
    "device": (
        *("parallel", "devices_per_run", "shard", "coordinator", "num_processes", "process_id"),
    ),
}
"""Options by their section in `--help`; all others are in the section of the experiment."""


Options = TypeVar("Options")


def parse(options: type[Options], name: str, arguments: Sequence[str] | None) -> Options:
    """Parses the command line into the options' dataclass.

    Args:
      options: a dataclass. The string under a field, or "help" in its metadata, is its help; the
        fields of a field `recipe` are options, too.
      name: the command's name.
      arguments: None: those of this process.

    Raises:
      ValueError: for an unknown option, a value of the wrong type, or an option without effect, in
        one line.
      SystemExit: after `--help`, with status 0.
    """
    given = sys.argv[1:] if arguments is None else list(arguments)
    fields = {field.name: field for field in option_fields(options)}
    default = default_options(options, given)
    by_algorithm = hasattr(default, "by_algorithm")
    shared, own_words = split_by_algorithm(given) if by_algorithm else (given, {})
    check_flags(shared, fields)
    parsed = with_values(default, read_words(options, name, fields, flat_values(default), shared))
    typed = typed_options(shared)
    if by_algorithm:
        own = own_values(options, name, parsed, typed, own_words)
        parsed = with_values(parsed, {"by_algorithm": own})
    if hasattr(parsed, "check_typed"):  # refuses those without effect
        parsed.check_typed(typed, {a: typed_options(words) for a, words in own_words.items()})
    result: Options = parsed
    return result


def default_options(options: type[Any], words: Sequence[str]) -> Any:
    """Returns the options before the command line is read. Their defaults may depend on it (on its
    `--preset`); an option without default must be given."""
    if hasattr(options, "defaults"):
        return options.defaults(words)
    fields, missing = dataclasses.fields(options), dataclasses.MISSING
    required = [f.name for f in fields if f.default is f.default_factory is missing]
    return options(**dict.fromkeys(required, tyro.MISSING))


def own_values(
    options: type[Any],
    name: str,
    parsed: Any,
    typed: Collection[str],
    own_words: Mapping[str, Sequence[str]],
) -> dict[str, dict[str, Any]]:
    """Returns the values of one algorithm that differ from those of all, by algorithm.

    Args:
      options, name: as in `parse`.
      parsed: the options of all algorithms, and the preset's values of one.
      typed: the options that are typed for all: they replace the preset's values of one.
      own_words: the words of one algorithm, by algorithm.
    """
    own = {
        algorithm: {option: v for option, v in values.items() if option not in typed}
        for algorithm, values in parsed.by_algorithm.items()
    }
    fields = {field.name: field for field in option_fields(get_type_hints(options)["recipe"])}
    common = flat_values(parsed)
    for algorithm, words in own_words.items():
        check_flags(words, fields, f"{algorithm}.")
        values = read_words(options, name, fields, common, words)
        typed_here = typed_options(words)
        new = {option: v for option, v in values.items() if option in typed_here}
        own[algorithm] = own.get(algorithm, {}) | new
    differing = {
        algorithm: {option: v for option, v in values.items() if v != common[option]}
        for algorithm, values in own.items()
    }
    return {algorithm: values for algorithm, values in differing.items() if values}


def split_by_algorithm(words: Sequence[str]) -> tuple[list[str], dict[str, list[str]]]:
    """Separates the options of one algorithm (`--bp.epochs 3`) from those of all.

    Returns:
      The words for all, and for each algorithm its words without the prefix.

    >>> split_by_algorithm(["--seeds", "3", "--bp.hidden", "8", "6", "--flip"])
    (['--seeds', '3', '--flip'], {'bp': ['--hidden', '8', '6']})
    """
    shared: list[str] = []
    own: dict[str, list[str]] = {}
    current = shared
    for word in words:
        prefixed = re.match(r"--([a-z]+)\.(.*)", word, re.DOTALL)
        if prefixed:
            current, word = own.setdefault(prefixed[1], []), f"--{prefixed[2]}"
        elif re.match(r"--[a-z]", word):
            current = shared
        current.append(word)
    return shared, own


def typed_options(words: Sequence[str]) -> set[str]:
    """Returns the names of the options in the words of a command line.

    >>> sorted(typed_options(["--no-flip", "--hidden", "8", "--learning_rate=1"]))
    ['flip', 'hidden', 'learning_rate']
    """
    flags = [word.partition("=")[0] for word in words if re.match(r"--[a-z]", word)]
    return {re.sub(r"^--(no[-_])?", "", flag).replace("-", "_") for flag in flags}


def read_words(
    options: type[Any],
    name: str,
    fields: Mapping[str, "OptionField"],
    defaults: Mapping[str, Any],
    words: Sequence[str],
) -> dict[str, Any]:
    """Returns the value of each option after the words of a command line are read."""
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            form = tyro.cli(
                make_form(fields, defaults),
                prog=f"python -m experiments.{name}",
                description=description_of(options, name),
                args=words,
                config=(tyro.conf.OmitArgPrefixes,),
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
    return values


def answer_usage(options: type[Any], name: str) -> None:
    """Ends the process if its command line asks for help or is invalid; otherwise returns.

    Each command calls this below its options, before it imports JAX and what trains and draws.

    Raises:
      SystemExit: after `--help` with status 0, after an error with status 2.
    """
    try:
        parse(options, name, None)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


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
    """Yields the options of a dataclass; a field `recipe` is replaced by its fields. The values of
    one algorithm are set by the recipe's options (see `split_by_algorithm`)."""
    types, help_texts = get_type_hints(options, include_extras=True), docstrings(options)
    for field in dataclasses.fields(options):
        if field.name == "recipe":
            yield from option_fields(get_type_hints(options)["recipe"])
        elif field.name != "by_algorithm":
            text = field.metadata.get("help") or help_texts[field.name]
            yield OptionField(field.name, types[field.name], text)


def docstrings(options: type[Any]) -> dict[str, str]:
    """Returns the string under each field of a dataclass and of the classes it extends."""
    bases = reversed(options.__mro__[:-1])
    return {name: text for base in bases for name, text in own_docstrings(base).items()}


@functools.cache
def own_docstrings(base: type) -> dict[str, str]:
    """Returns the string under each field that a class itself declares."""
    texts = {}
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
    assert isinstance(tree, ast.ClassDef)
    for statement, following in itertools.pairwise(tree.body):
        if isinstance(statement, ast.AnnAssign) and isinstance(following, ast.Expr):
            text = ast.literal_eval(following.value)
            texts[ast.unparse(statement.target)] = " ".join(text.split())
    return texts


def check_flags(arguments: Sequence[str], known: Collection[str], prefix: str = "") -> None:
    """Raises ValueError for the first unknown option and suggests the closest known one; `prefix`
    is the algorithm's, as in `bp.`."""
    flags = {f"--{word}{name.replace('_', '-')}" for name in known for word in ("", "no-")}
    for argument in arguments:
        flag = argument.partition("=")[0].replace("_", "-")
        if re.match(r"--[a-z]", flag) and flag not in {*flags, "--help"}:
            close = difflib.get_close_matches(flag, sorted(flags), n=1)
            near = [f"--{prefix}{name.removeprefix('--')}" for name in close]
            advice = f" Did you mean {near[0]}?" if near else ""
            unknown = f"--{prefix}{flag.removeprefix('--')}"
            raise ValueError(f"Unknown option {unknown}.{advice} See --help.")


def flat_values(options: Any) -> dict[str, Any]:
    """Returns the value of each option by its name; the fields of a field `recipe` are included."""
    values = {field.name: getattr(options, field.name) for field in dataclasses.fields(options)}
    recipe = values.pop("recipe", None)
    return values if recipe is None else values | vars(recipe)


def with_values(options: Any, values: Mapping[str, Any]) -> Any:
    """Returns the options with new values, by name."""
    of_class = {field.name for field in dataclasses.fields(options)}
    changes = {name: value for name, value in values.items() if name in of_class}
    if "recipe" in of_class:
        others = {name: value for name, value in values.items() if name not in of_class}
        changes["recipe"] = dataclasses.replace(options.recipe, **others)
    return dataclasses.replace(options, **changes)


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
        made = dataclasses.field(default_factory=functools.partial(lambda d: d, default))
        # Without a help of its own, tyro searches the sources of the class for one.
        section: Any = Annotated[group_class, tyro.conf.arg(help="")]
        shown.append((group, section, made))
    return dataclasses.make_dataclass("form", shown)


def description_of(options: type[Any], name: str) -> str:
    """Returns the options' docstring and the first example in the docstring of their command."""
    module = sys.modules["__main__"]
    if getattr(module.__spec__, "name", None) != f"experiments.{name}":
        module = importlib.import_module(f"experiments.{name}")
    example = re.search(r"^ {4}((?:python|make) .*)$", module.__doc__ or "", flags=re.MULTILINE)
    text = inspect.cleandoc(options.__doc__ or "")
    if any(field.name == "by_algorithm" for field in dataclasses.fields(options)):
        text += f"\n\n{docstrings(options)['by_algorithm']}"
    return f"{text}\n\nExample: {example[1]}" if example else text
