"""The gate for records: an output folder is read and checked here, and nowhere else.

`config.json` and every line of `results.jsonl` must fit their schema, and a line must be a run of
the grid that `config.json` names. What does not fit is named in one sentence.
"""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.config.by_algorithm import options_of
from experiments.config.options import GRID_OPTIONS
from experiments.harness.outcomes import DIVERGED, judged
from experiments.harness.schema import CONFIG, OPTIONS, ROWS, VERSION, Pattern, mismatch, shapes

IDENTITY = ("dataset", "scenario", "strategy", "algorithm", "setting", "seed")
"""Fields that identify the run of a record; an experiment has some of them."""

GRID = {"algorithm": "algorithms", "scenario": "scenarios", "strategy": "strategies"}
"""Fields of a record whose values an option lists."""

TRIALS = "tuning.jsonl"
"""File of the trials of `tune`, `compare --tune` and `continual --tune`."""

FILES = (".json", ".jsonl", ".html", ".csv", ".png", ".npz", ".lock")
FOLDERS = ("checkpoints", "networks", "tensorboard")

ACROSS_CELLS = ("layers", "gradient_norms")
"""Fields whose lists have one shape in all records; others only in those of one cell."""


def run_of(record: Mapping[str, Any]) -> tuple[Any, ...]:
    """Returns the fields that identify the run of a record."""
    return tuple(record.get(name) for name in IDENTITY)


def check_layout(folder: Path) -> None:
    """Raises ValueError for a folder in place of a file, a file in place of a folder, or a link
    among the checkpoints: the experiment would stumble over it when its work is done."""
    for path in [*folder.glob("*"), *folder.glob("networks/*")]:
        if path.is_dir() and (path.suffix in FILES or path.name == ".lock"):
            raise ValueError(f"{path} is a folder, not a file. Move it away.")
    saved = [*folder.glob("checkpoints"), *folder.glob("checkpoints/*")]
    saved += folder.glob("checkpoints/*/*")
    for path in [*saved, *(folder / name for name in FOLDERS)]:
        if path.is_symlink() and path in saved:
            raise ValueError(f"{path} is a link, not a folder. Delete the link.")
        if path.exists() and not path.is_dir():
            raise ValueError(f"{path} is a file, not a folder. Move it away.")


def read_config(folder: Path) -> dict[str, Any]:
    """Returns the checked content of `config.json`.

    Raises:
      ValueError: if the file is missing, damaged, or of a later version.
    """
    file = folder / "config.json"
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(
            f"{folder} has no config.json, which names the options of its runs. Restore the file, "
            "or choose another folder."
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(file, f"{type(error).__name__}: {error}") from None
    difference = mismatch(config, CONFIG, "config.json")
    difference = difference or mismatch(config["options"], OPTIONS[config["experiment"]], "options")
    if difference:
        raise _damaged(file, difference)
    if config.get("schema", 1) > VERSION:
        raise ValueError(
            f"{file} has version {config['schema']}, and this program reads up to {VERSION}. "
            "Use the program that wrote it, or a later one."
        )
    return dict(config)


def _damaged(file: Path, reason: str) -> ValueError:
    return ValueError(
        f"{file} is damaged: {reason}. Restore the file, or choose another folder: records without "
        "the options of their runs cannot be used."
    )


def read_lines(file: Path, pattern: Pattern) -> list[dict[str, Any]]:
    """Returns the checked JSON objects of a file, one per line; none if there is no file.

    A last line without a newline counts if it is complete; a truncated one, whose writer was
    killed, does not.

    Raises:
      ValueError: for a line that is no JSON object or does not fit the pattern.
    """
    try:
        *lines, last = file.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ValueError(f"{file} cannot be read: {error}.") from None
    if last.strip() and _is_json(last):
        lines.append(last)
    return [_parse(file, number, line, pattern) for number, line in enumerate(lines, 1)]


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _parse(file: Path, number: int, line: bytes, pattern: Pattern) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise _rejected(file, number, f"{type(error).__name__}: {error}") from None
    if difference := mismatch(value, pattern, "line"):
        raise _rejected(file, number, difference)
    return dict(value)


def _rejected(file: Path, number: int, reason: str) -> ValueError:
    return ValueError(
        f"{file} line {number} is no record of this folder: {reason}. Delete that line; a run "
        "that is then missing is repeated."
    )


def read_records(
    folder: Path, config: Mapping[str, Any], settings: Mapping[str, Collection[str]] | None = None
) -> list[dict[str, Any]]:
    """Returns the checked records of `results.jsonl`, in the order the runs ended.

    Args:
      folder: the output folder.
      config: its checked `config.json`; each record must be a run of the grid that it names.
      settings: by algorithm the settings of the grid; None: any.

    Raises:
      ValueError: for the first line that is no record of the grid, or repeats one.
    """
    file, experiment = folder / "results.jsonl", config["experiment"]
    if experiment == "tune":  # it has only trials
        return read_lines(folder / TRIALS, ROWS["tune"])
    records = read_lines(file, ROWS[experiment])
    if experiment == "benchmark":  # it has no grid of runs
        return records
    first: dict[tuple[Any, ...], int] = {}
    seen: dict[tuple[Any, ...], tuple[int, ...]] = {}
    for number, record in enumerate(records, 1):
        for difference in _differences(record, config["options"], settings or {}):
            raise _rejected(file, number, difference)
        run = run_of(record)
        if first.setdefault(run, number) != number:
            raise _rejected(file, number, f"it repeats the run of line {first[run]}")
        for path, shape in shapes(record).items():
            cell = () if path.split(".")[0] in ACROSS_CELLS else run[:-1]
            if -1 in shape or seen.setdefault((*cell, path), shape) != shape:
                wanted = "rectangular" if -1 in shape else list(seen[*cell, path])
                raise _rejected(file, number, f"`{path}` must be {wanted}, got {list(shape)}")
    return [judged(record, config) for record in records]


def _differences(
    record: Mapping[str, Any],
    options: Mapping[str, Any],
    settings: Mapping[str, Collection[str]],
) -> Iterator[str]:
    """Yields what shows that a record is no run of the grid that the options name."""
    allowed: dict[str, Sequence[Any]] = {"dataset": [options["dataset"]]}
    allowed |= {field: options[name] for field, name in GRID.items() if name in options}
    allowed["seed"] = range(options["seeds"])
    if options.get("epochs") is not None:
        allowed["epochs"] = [options_of(options, record["algorithm"])["epochs"]]
    if record["algorithm"] in settings:
        allowed["setting"] = list(settings[record["algorithm"]])
    for field, values in allowed.items():
        if field in record and record[field] not in values:
            words = f"below {len(values)}" if field == "seed" else _words(values)
            yield f"`{field}` must be {words}, as in config.json, got {record[field]!r}"
    accuracy = record.get("test_accuracy", record.get("probe_accuracy"))
    if (record.get("status") == DIVERGED) != (accuracy is None):
        yield f"`test_accuracy` must be null only if it diverged, got {accuracy}"


def _words(values: Sequence[Any]) -> str:
    shown = [repr(value) for value in values[:6]] + ["..."] * (len(values) > 6)
    return shown[0] if len(shown) == 1 else f"one of {', '.join(shown)}"


def changed_options(
    before: Mapping[str, Any], now: Mapping[str, Any], free: Collection[str]
) -> list[str]:
    """Returns what differs between the options of a folder and those of a later start.

    >>> changed_options({"epochs": 3, "seeds": 1}, {"epochs": 4, "seeds": 2}, ["seeds"])
    ['epochs was 3 and is now 4']
    """
    missing = object()

    def shown(options: Mapping[str, Any], key: str) -> Any:
        if key != "by_algorithm":
            return options.get(key, missing)
        # An algorithm that is new in the grid brings its own values.
        names = before.get("algorithms", ())
        return {name: own for name, own in options.get(key, {}).items() if name in names}

    return [
        f"{key} was {before.get(key)!r} and is now {now.get(key)!r}"
        for key in sorted({*before, *now} - {*free})
        if shown(before, key) != shown(now, key)
    ]


def merged_grid(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the options of a folder that two starts share: the grids of both.

    >>> merged_grid({"seeds": 5, "algorithms": ["ffa"]}, {"seeds": 3, "algorithms": ["bp"]})
    {'seeds': 5, 'algorithms': ['ffa', 'bp']}
    """
    merged = dict(before)
    if before.get("by_algorithm") or now.get("by_algorithm"):
        # A preset may have values of algorithms that the start did not train.
        known = before["algorithms"]
        ran = {k: v for k, v in before.get("by_algorithm", {}).items() if k in known}
        new = {k: v for k, v in now.get("by_algorithm", {}).items() if k not in known}
        merged["by_algorithm"] = ran | new
    for name in (option for option in GRID_OPTIONS if option in before):
        if name == "seeds":
            merged[name] = max(before[name], now[name])
        else:
            merged[name] = list(dict.fromkeys([*before[name], *now[name]]))
    return merged
