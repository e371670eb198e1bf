"""Command-line options of all training experiments."""

from __future__ import annotations

import dataclasses
import re
import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar

import tyro

from experiments.config.by_algorithm import (
    ByAlgorithm,
    check_own_values,
    options_of,
    own_flags,
    recipe_for,
)
from experiments.config.choices import ALGORITHMS, CONTROLS
from experiments.config.cli import flat_values
from experiments.config.effects import check_typed
from experiments.config.presets import OWN_VALUES, PRESETS
from experiments.config.recipe import Recipe
from experiments.config.sizes import MOST_SEEDS
from sffa_jax import scale
from sffa_jax.checks import check_choice, check_integer, check_range, reject

Cell = TypeVar("Cell")

RUNTIME_OPTIONS = (
    *("out", "data_dir", "parallel", "checkpoint_seconds"),
    *("shard", "coordinator", "num_processes", "process_id", "devices_per_run", "tensorboard"),
)
"""Options that set where and how runs are computed; they do not affect results."""

GRID_OPTIONS = ("algorithms", "seeds", "scenarios", "strategies", "cases", "only")
"""Options that list what is run; a later start in the same folder may add to them."""

RESUMABLE_OPTIONS = (*RUNTIME_OPTIONS, *GRID_OPTIONS, "save_networks")
"""Options that may differ when an output folder is continued: they change no run."""

HIDDEN_OPTIONS = {*RUNTIME_OPTIONS} - {"data_dir", "parallel", "devices_per_run"}
"""Options that the command in a report leaves out: they differ from machine to machine."""


def check_names(option: str, values: Collection[str], known: Collection[str]) -> None:
    """Raises ValueError unless at least one name is given and all are known."""
    if not values:
        raise reject("options", option, f"name one of {', '.join(known)}", "none")
    for value in values:
        check_choice("options", option, value, known)


def flags(values: Mapping[str, Any], defaults: Mapping[str, Any]) -> list[str]:
    """Returns the options that differ from their defaults, as command-line words.

    Lists and tuples of equal values count as equal, because JSON has lists only.
    """
    words = []
    for option, value in values.items():
        if option == "by_algorithm":
            for algorithm, own in own_flags(values, defaults).items():
                words += [flag_of(name, own[name], f"{algorithm}.") for name in own]
            continue
        default = defaults[option]
        if _listed(value) != _listed(default):
            words.append(flag_of(option, value))
    return words


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def flag_of(option: str, value: Any, prefix: str = "") -> str:
    """Returns an option with its value, as command-line words.

    >>> flag_of("hidden", (8, 6)), flag_of("learning_rate", 0.003, "bp."), flag_of("flip", False)
    ('--hidden 8 6', '--bp.learning-rate 0.003', '--no-flip')
    """
    flag = option.replace("_", "-")
    if isinstance(value, bool):
        return f"--{prefix}{flag}" if value else f"--{prefix}no-{flag}"
    shown = value if isinstance(value, list | tuple) else [value]
    return f"--{prefix}{flag} {shlex.join(map(str, shown))}".rstrip()


def command_of(name: str, options: Any, recorded: Mapping[str, Any]) -> str:
    """Returns the command that repeats the runs of a command without a recipe.

    Args:
      name: of the command.
      options: its dataclass.
      recorded: the folder's options, whose grid may be larger after an earlier start.
    """
    grid = {n: value for n, value in recorded.items() if n in GRID_OPTIONS}
    shown = dataclasses.asdict(options) | grid
    del shown["out"]
    defaults = dataclasses.asdict(type(options)())
    return " ".join([f"python -m experiments.{name}", *flags(shown, defaults)])


@dataclass(frozen=True)
class Common:
    """Options that every experiment has."""

    dataset: str = "digits"
    """Data set: digits, mnist, fashion_mnist, kmnist, emnist_letters, cifar10, tfds:NAME,
    folder:DIR (pictures: one sub-folder per class, in train/ and test/ or without), or npz:FILE
    (train_images, train_labels, test_images, test_labels; or features, labels)."""
    data_dir: Path | None = None
    """Folder with one sub-folder per set holding the published files; or set SFFA_DATA_DIR. If left
    out, sets are downloaded once, into TFDS's data directory."""
    image_size: tuple[int, ...] = ()
    """Height and width to which all images are stretched, or one number for both."""
    color: str = "auto"
    """Channels of the images: gray, rgb, or auto (as they are)."""
    test_fraction: float | None = None
    """Fraction of each class in the test split, for data without one; None: a fifth."""
    algorithms: tuple[str, ...] = ALGORITHMS
    """Algorithms to compare: ffa, sffa, bp; and a control, head (a local linear classifier)."""
    seeds: int = 10
    """Number of seeds; the seeds are 0 .. N-1."""
    validation: float = 1 / 12
    """Fraction of the training images held out to choose the weights."""
    out: Path | None = None
    """Folder for the results; a second start with the same folder continues it."""
    parallel: str = "auto"
    """Placement of runs: vmap, map, devices, or auto (the fastest, measured)."""
    checkpoint_seconds: float = 60.0
    """Minimum time between checkpoints of unfinished runs, which are stored in --out."""
    shard: str | None = None
    """i/n: run only the i-th of n parts of all runs, into --out/shard-i-of-n, for job arrays;
    experiments.merge merges the parts."""
    coordinator: str | None = None
    """Run as one of several processes: HOST:PORT of the first one, or auto (Slurm, Open MPI,
    Kubernetes, TPU pods)."""
    num_processes: int | None = None
    """Number of processes, if --coordinator is HOST:PORT."""
    process_id: int | None = None
    """Number of this process, from 0."""
    devices_per_run: int = 1
    """Devices that share each batch of a run, with --parallel devices."""
    tensorboard: bool = False
    """Write loss and accuracies for TensorBoard to --out/tensorboard."""

    def check(self, algorithms: Collection[str] = (*ALGORITHMS, *CONTROLS)) -> None:
        """Checks the options of all experiments.

        Args:
          algorithms: algorithms that this experiment supports.

        Raises:
          ValueError: for the first invalid option.
        """
        import jax  # not above: the help needs neither JAX nor data

        from sffa_jax import data

        data.check_name(self.dataset)
        data.check_image_size("options", self.image_size)
        check_choice("options", "color", self.color, data.COLORS)
        data.check_test_fraction("options", self.test_fraction)
        check_choice("options", "parallel", self.parallel, ["auto", *scale.placement.MODES])
        check_names("algorithms", self.algorithms, algorithms)
        check_integer("options", "seeds", self.seeds, 1)
        check_range("options", "seeds", self.seeds, at_most=MOST_SEEDS)
        check_range("options", "validation", self.validation, above=0, at_most=0.9)
        check_range("options", "checkpoint_seconds", self.checkpoint_seconds, at_least=0)
        check_integer("options", "devices_per_run", self.devices_per_run, 1)
        scale.mesh.make_mesh(1, self.devices_per_run)
        if jax.process_count() > 1:
            modes = [placement.mode for placement in scale.placement.available()]
            check_choice("options", "parallel", self.parallel, ["auto", *modes])
        _ = self.placement
        self.part()

    def resolve(self) -> Self:
        """Checks every option and removes repeated algorithms.

        Raises:
          ValueError: for the first invalid option.
        """
        self.check()
        return dataclasses.replace(self, algorithms=tuple(dict.fromkeys(self.algorithms)))

    @property
    def placement(self) -> scale.placement.Placement | None:
        """Placement of the runs on the devices; None: the fastest mode, to be measured.

        Raises:
          ValueError: for several devices per run in a mode other than "devices".
        """
        make = scale.placement.Placement
        if self.parallel == "auto":
            return make("devices", self.devices_per_run) if self.devices_per_run > 1 else None
        return make(self.parallel, self.devices_per_run)

    def part(self) -> tuple[int, int]:
        """Returns (number of this part, number of parts), both from 1; (1, 1) is all runs.

        Raises:
          ValueError: if --shard names no part.
        """
        if self.shard is None:
            return 1, 1
        match = re.fullmatch(r"(\d+)/(\d+)", self.shard)
        i, n = map(int, match.groups()) if match else (0, 0)
        if not 1 <= i <= n:
            raise reject("options", "shard", "be i/n with 1 <= i <= n", repr(self.shard))
        return i, n

    def chosen(self, cells: Sequence[Cell]) -> list[tuple[Cell, list[int]]]:
        """Returns the cells of a grid that this part runs, each with its seeds.

        A part is a contiguous piece of the list of all runs, cell by cell, so that few cells are
        compiled in two parts.
        """
        i, n = self.part()
        total = len(cells) * self.seeds
        part = range((i - 1) * total // n, i * total // n)
        runs = [divmod(run, self.seeds) for run in part]
        return [
            (cell, seeds)
            for number, cell in enumerate(cells)
            if (seeds := [seed for of, seed in runs if of == number])
        ]

    @property
    def folder(self) -> Path | None:
        """Folder of the results: --out, or the folder of this part in it.

        Raises:
          ValueError: for a part without --out.
        """
        if self.shard is None:
            return self.out
        if self.out is None:
            raise reject("options", "out", "be given with --shard", None)
        i, n = self.part()
        return self.out / f"shard-{i}-of-{n}"

    def flat(self) -> dict[str, Any]:
        """Returns every option by its name on the command line."""
        return flat_values(self)

    def usual(self) -> dict[str, Any]:
        """Returns `flat` of the default options."""
        return type(self)().flat()

    def absent(self) -> dict[str, Any]:
        """Returns the value of each option that an earlier version's `config.json` lacks."""
        return self.usual()

    def command(self, name: str, recorded: Mapping[str, Any] | None = None) -> str:
        """Returns the command that repeats the runs, with the grid of a folder's recorded options:
        an earlier start may have had a larger one."""
        grid = {n: value for n, value in (recorded or {}).items() if n in GRID_OPTIONS}
        values = self.flat() | grid
        shown = {option: values[option] for option in values if option not in HIDDEN_OPTIONS}
        return " ".join([f"python -m experiments.{name}", *flags(shown, self.usual())])


SPLITS = ("seed", "shared")
"""Values of `--split`."""


@dataclass(frozen=True)
class Options(Common):
    """Options of the experiments that train by a recipe."""

    preset: str = "default"
    """Recipe that other options change: default, best, paper, released, polar_ffa,
    best_convolution, deep_convolution or released_convolution."""
    recipe: Annotated[Recipe, tyro.conf.arg(name="")] = PRESETS["default"]
    by_algorithm: ByAlgorithm = dataclasses.field(default_factory=dict)
    """Any option of the recipe may be set for one algorithm: --bp.learning-rate 3e-3."""

    @classmethod
    def defaults(cls, arguments: Sequence[str]) -> Self:
        """Returns the options of the `--preset` on the command line.

        Raises:
          ValueError: for an unknown preset.
        """
        preset = cls().preset
        for i, word in enumerate(arguments):
            name, _, value = word.partition("=")
            if name == "--preset":
                preset = value or (arguments[i + 1] if i + 1 < len(arguments) else preset)
        check_choice("options", "preset", preset, PRESETS)
        own = OWN_VALUES.get(preset, {})
        return cls(preset=preset, recipe=PRESETS[preset], by_algorithm=own)

    def resolve(self) -> Self:
        resolved = super().resolve()
        resolved.recipe.check()
        check_own_values(resolved.recipe, resolved.by_algorithm)
        return resolved

    def check_typed(self, typed: Collection[str], own: Mapping[str, Collection[str]]) -> None:
        """Raises ValueError for a typed option that has no effect; arguments as in
        `effects.check_typed`."""
        known = [name for name in self.algorithms if name in (*ALGORITHMS, *CONTROLS)]
        flat = self.flat()
        values = {name: options_of(flat, name) | {"algorithm": name} for name in known}
        check_typed(typed, own, values, {name: self.replaced(name) for name in known})

    def replaced(self, algorithm: str) -> dict[str, str]:
        """Returns the options that the command sets for an algorithm, each with what does so."""
        del algorithm
        return {}

    def recipe_of(self, algorithm: str) -> Recipe:
        """Returns the recipe of one algorithm."""
        return recipe_for(self.recipe, self.by_algorithm.get(algorithm, {}))

    def absent(self) -> dict[str, Any]:
        # Before algorithms had own values, the recipe's were those of all.
        return type(self).defaults(["--preset", self.preset]).flat() | {"by_algorithm": {}}

    def usual(self) -> dict[str, Any]:
        preset = type(self)().preset
        return type(self).defaults([f"--preset={self.preset}"]).flat() | {"preset": preset}
