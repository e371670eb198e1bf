"""Results on disk: what a folder holds when its runs are over."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.harness.run_folder import RunFolder
from experiments.reports import html
from experiments.reports.html import Section


@dataclass(frozen=True)
class Results:
    """Finished runs.

    Attributes:
      path: of their folder.
      config, records: what `config.json` and `results.jsonl` say.
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


def read(path: Path) -> Results:
    """Reads a folder; one whose first run has not ended holds none.

    Raises:
      ValueError: if it is no folder of results, or damaged.
    """
    try:
        config = json.loads((path / "config.json").read_text())
        file = path / "results.jsonl"
        lines = file.read_text().splitlines() if file.exists() else []
        records = [json.loads(line) for line in lines]
        if not isinstance(config, dict) or not {"experiment", "options"} <= config.keys():
            raise ValueError("config.json names no experiment with its options")
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{path} holds no results that can be read: {type(error).__name__}: {error}. Name the "
            "--out of an experiment."
        ) from None
    return Results(path, config, records, config.get("command", ""))


def held(folder: RunFolder, command: str) -> Results:
    """The results in a folder that is being written."""
    return Results(folder.path, folder.config, folder.records, command)


def publish(folder: RunFolder, section: Section) -> None:
    """Writes a folder's report and says what is in it."""
    path = html.write(folder.path, [section])
    print(f"\n{section.text()}\n\nReport: {path}")


def as_given(value: Any) -> Any:
    """An option's value as the command line gives it: JSON has no tuples."""
    return tuple(value) if isinstance(value, list) else value


def restored(options: type[Any], given: dict[str, Any]) -> Any:
    """The options object of a recorded run; what later versions added has the preset's value."""
    preset = [f"--preset={given['preset']}"] if "preset" in given else []
    start = options.defaults(preset)
    values = {name: as_given(value) for name, value in given.items()}

    def changed(old: Any) -> Any:
        known = {f.name for f in dataclasses.fields(old)}
        return dataclasses.replace(old, **{n: v for n, v in values.items() if n in known})

    recipe = {"recipe": changed(start.recipe)} if hasattr(start, "recipe") else {}
    return dataclasses.replace(changed(start), **recipe)
