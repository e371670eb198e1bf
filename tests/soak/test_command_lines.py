"""Random command lines: accepted, or refused in one line before anything is written."""

import importlib
import types
import typing

import pytest
from commands import run_command

from experiments.config.cli import option_fields
from experiments.harness import experiment
from soak.campaign import campaign, check_refusal

pytestmark = pytest.mark.slow
COMMANDS = ("compare", "continual", "ablation", "robustness", "symmetry", "latents")
NUMBERS = ("0", "1", "2", "3", "7", "10", "64", "-1", "100000", "2147483648", "1e400", "0x10", "٣")
FRACTIONS = ("0", "0.1", "0.5", "1", "-0.5", "nan", "inf", "-inf", "1e30", "1e-30", "1e-3", "10")
WORDS = (
    "",
    "x",
    "ffa",
    "sffa bp",
    "none",
    "all",
    "--",
    "-",
    "None",
    "τ",
    "\udcff",
    "[bold]",
    "$x$",
)
OWN = ("digits", "mnist", "folder:/nowhere", "npz:/nowhere", "tfds:", "hard", "map", "devices")


class Accepted(BaseException):
    """Raised in place of opening the folder: nothing is trained."""


def words_of(kind):
    """The words that a literal or an enumeration accepts."""
    if typing.get_origin(kind) is typing.Literal:
        return [str(value) for value in typing.get_args(kind)]
    return [word for part in typing.get_args(kind) for word in words_of(part)]


def value(rng, kind):
    """A word that is right or wrong for an option of that type."""
    text = str(kind)
    pools = [NUMBERS if "int" in text else FRACTIONS if "float" in text else OWN]
    pools += [words_of(kind) or WORDS, pools[0]] + [WORDS] * (rng.random() < 0.2)
    pool = pools[rng.integers(len(pools))]
    return str(pool[rng.integers(len(pool))])


def test_random_command_lines(tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("SFFA_DATA_DIR", str(tmp_path / "data"))  # nothing is downloaded
    monkeypatch.chdir(tmp_path)

    def opened(*_, **__):
        raise Accepted

    monkeypatch.setattr(experiment, "RunFolder", opened)

    def attempt(rng, number):
        name = COMMANDS[number % len(COMMANDS)]
        options = importlib.import_module(f"experiments.{name}").Options
        fields = [field for field in option_fields(options) if field.name != "out"]
        line = []
        for _ in range(rng.integers(1, 6)):
            field = fields[rng.integers(len(fields))]
            flag = f"--{field.name.replace('_', '-')}"
            several = 1 if rng.random() < 0.8 else rng.integers(0, 4)
            if field.type is bool or isinstance(field.type, types.NoneType):
                line += [flag if rng.random() < 0.5 else flag.replace("--", "--no-", 1)]
            else:
                line += [flag, *(value(rng, field.type) for _ in range(several))]
        if rng.random() < 0.1:
            line.insert(rng.integers(len(line) + 1), rng.choice(["--nonsense", "-x", "word", "="]))
        out = tmp_path / "out" / str(number)
        try:
            run = run_command(name, *line, "--out", str(out))
        except Accepted:
            return "accepted"
        except Exception as error:
            raise AssertionError(f"{name} {line}") from error
        assert not out.exists(), line
        try:
            check_refusal(run)
        except AssertionError as error:
            raise AssertionError(f"{name} {line}") from error
        return "refused"

    campaign("command lines", 500, attempt, seconds=60)
