"""Reads the results of an experiment from its output folder."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.harness.records import read_config, read_records


@dataclass(frozen=True)
class Results:
    """Finished runs.

    Attributes:
      path: their folder.
      config, records: the content of `config.json` and `results.jsonl`.
      command: repeats the runs.
    """

    path: Path
    config: dict[str, Any]
    records: list[dict[str, Any]]
    command: str = ""

    @property
    def options(self) -> dict[str, Any]:
        """Every option, as it was recorded."""
        return dict(self.config["options"])

    @property
    def experiment(self) -> str:
        """The command's name."""
        return str(self.config["experiment"])


def load_results(path: Path) -> Results:
    """Reads an output folder; it has no records before its first run has ended.

    Raises:
      ValueError: if the folder holds no results, damaged ones, or runs of another grid.
    """
    config = read_config(path)
    return Results(path, config, read_records(path, config), config.get("command", ""))


def restore_options(options: type[Any], recorded: dict[str, Any]) -> Any:
    """Restores the options object of a recorded run; options added since then have the preset's
    value."""
    preset = [f"--preset={recorded['preset']}"] if "preset" in recorded else []
    default = options.defaults(preset)
    recorded = {"by_algorithm": {}} | recorded
    # JSON has no tuples.
    values = {n: tuple(v) if isinstance(v, list) else v for n, v in recorded.items()}

    def updated(old: Any) -> Any:
        names = {field.name for field in dataclasses.fields(old)}
        return dataclasses.replace(old, **{n: v for n, v in values.items() if n in names})

    recipe = getattr(default, "recipe", None)
    nested = {"recipe": updated(recipe)} if dataclasses.is_dataclass(recipe) else {}
    return dataclasses.replace(updated(default), **nested)
