"""Trains the settings of a grid; settings that differ only in numbers share a program."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from experiments.config.options import Common
from experiments.config.recipe import CONTINUOUS, Recipe, Setting, structure
from experiments.harness.experiment import Cell, Missing, Plan
from experiments.harness.run_folder import RunFolder
from experiments.harness.splits import Splits, data_record
from experiments.harness.trainer import train_runs
from sffa_jax.data import Dataset
from sffa_jax.scale.placement import Placement


def plan_grids(
    grids: Mapping[str, Sequence[Setting]],
    options: Common,
    dataset: Dataset,
    splits_of: Callable[[Recipe], Splits],
    at_once: int,
) -> Plan:
    """Returns the plan of an experiment with one cell for each algorithm and setting.

    Args:
      grids: the settings of each algorithm.
      options: of the command.
      dataset: the data.
      splits_of, at_once: as in `train_settings`.
    """

    def run(folder: RunFolder, missing: Missing) -> Iterator[list[dict[str, Any]]]:
        for algorithm, grid in grids.items():
            yield from train_settings(
                grid,
                [(c.content, seeds) for c, seeds in missing if c.names["algorithm"] == algorithm],
                algorithm,
                splits_of,
                folder,
                options.placement,
                at_once,
                options.checkpoint_seconds,
            )

    cells = [
        Cell({"algorithm": algorithm, "setting": setting.name}, setting)
        for algorithm, grid in grids.items()
        for setting in grid
    ]
    return Plan(cells, run, data_record(dataset))


def train_settings(
    grid: Sequence[Setting],
    missing: Sequence[tuple[Setting, Sequence[int]]],
    algorithm: str,
    splits_of: Callable[[Recipe], Splits],
    folder: RunFolder,
    placement: Placement | None,
    at_once: int,
    every_seconds: float = 60.0,
) -> Iterator[list[dict[str, Any]]]:
    """Trains the settings of a grid on the seeds that they lack.

    Settings that differ only in `CONTINUOUS` numbers are compiled once and run together. The whole
    grid decides which numbers are traced, so that a resumed start compiles the same programs.

    Args:
      grid: all settings of the algorithm.
      missing: those of them to train, each with its seeds.
      algorithm: "ffa", "sffa" or "bp".
      splits_of: recipe -> its data.
      folder: holds checkpoints and events of unfinished runs.
      placement, every_seconds: as in `train_runs`.
      at_once: maximum number of runs in one program.

    Yields:
      For each group that trained together one record per run, with `setting` and `changes`.
    """
    groups: dict[Recipe, list[tuple[Setting, Sequence[int]]]] = {}
    for setting, seeds in missing:
        groups.setdefault(structure(setting.recipe), []).append((setting, seeds))
    for shared, group in groups.items():
        recipe = group[0][0].recipe
        alike = [setting for setting in grid if structure(setting.recipe) == shared]
        traced = [n for n in CONTINUOUS if len({getattr(s.recipe, n) for s in alike}) > 1]
        # Named by the whole grid, so that a resumed start does not measure the placement again.
        choose = partial(folder.placement, f"{algorithm}, {alike[0].name} and alike")
        all_runs = [(setting, seed) for setting, seeds in group for seed in seeds]
        for runs in (all_runs[i : i + at_once] for i in range(0, len(all_runs), at_once)):
            first, others = runs[0][0].name, len({setting.name for setting, _ in runs}) - 1
            remaining = iter(runs)
            for records in train_runs(
                recipe,
                algorithm,
                [seed for _, seed in runs],
                splits_of(recipe),
                placement,
                f"{algorithm}, {first}" + (f" and {others} more" if others else ""),
                {name: [getattr(setting.recipe, name) for setting, _ in runs] for name in traced},
                checkpoints=folder.checkpoints(algorithm),
                every_seconds=every_seconds,
                events=folder.events(
                    (algorithm, setting.name, f"seed-{seed}") for setting, seed in runs
                ),
                choose=choose,
            ):
                for record in records:
                    # Learning curves would make the results of a grid large.
                    del record["history"]
                yield [
                    {
                        "algorithm": algorithm,
                        "setting": setting.name,
                        "changes": dict(setting.changes),
                        **record,
                    }
                    for record, (setting, _) in zip(records, remaining, strict=False)
                ]
