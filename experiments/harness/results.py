"""Reads the results of an experiment from its output folder."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.config.cli import with_values
from experiments.config.options import Options
from experiments.harness.records import read_config, read_records


@dataclass(frozen=True)
class Results:
    """Finished runs.

    Attributes:
      path: their folder.
      config, records: the content of `config.json` and `results.jsonl`.
    """

    path: Path
    config: dict[str, Any]
    records: list[dict[str, Any]]

    @property
    def options(self) -> dict[str, Any]:
        """Every option, as it was recorded."""
        return dict(self.config["options"])

    @property
    def experiment(self) -> str:
        """The command's name."""
        return str(self.config["experiment"])

    @property
    def command(self) -> str:
        """The command that repeats the runs; folders of earlier versions may lack it."""
        return str(self.config.get("command", ""))


def load_results(path: Path) -> Results:
    """Reads an output folder; it has no records before its first run has ended.

    Raises:
      ValueError: if the folder holds no results, damaged ones, or runs of another grid.
    """
    config = read_config(path)
    return Results(path, config, read_records(path, config))


def restore_options(recorded: Mapping[str, Any]) -> Options:
    """Restores the options of recorded runs that train by a recipe; options added since then have
    the preset's value."""
    default = Options.defaults([f"--preset={recorded['preset']}"])
    known = {"by_algorithm": {}} | {n: v for n, v in recorded.items() if n in default.flat()}
    # JSON has no tuples.
    values = {n: tuple(v) if isinstance(v, list) else v for n, v in known.items()}
    restored: Options = with_values(default, values)
    return restored
