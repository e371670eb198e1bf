"""Merges the parts of a grid that were run separately (`--shard i/n`) into one results folder.

    python -m experiments.merge --parts runs/grid --out runs/merged

reads every shard-i-of-n in runs/grid. All parts must be present and finished, and must have the
same options and data. It prints the experiment's command, which then writes the report.
"""

import re
import shlex
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

from experiments.config.cli import answer_usage
from experiments.config.options import RUNTIME_OPTIONS
from sffa_jax.checks import reject


@dataclass(frozen=True)
class Options:
    """Merge the parts of a grid."""

    parts: Path
    """Folder that contains shard-1-of-n to shard-n-of-n: the --out of the runs."""
    out: Path
    """Folder for the merged results: a new one, or one of an earlier merge of the same parts."""


if __name__ == "__main__":
    answer_usage(Options, "merge")

from experiments.harness.experiment import execute
from experiments.harness.records import run_of
from experiments.harness.results import Results, load_results
from experiments.harness.run_folder import RunFolder, joined_facts, joined_names


def find_parts(folder: Path) -> list[Path]:
    """Returns the folders of all parts, in order.

    Raises:
      ValueError: if a part is missing, or the folder contains parts of several divisions or none.
    """
    path_of: dict[int, Path] = {}
    totals = set()
    for path in folder.glob("shard-*-of-*") if folder.is_dir() else ():
        if match := re.fullmatch(r"shard-(\d+)-of-(\d+)", path.name):
            path_of[int(match[1])] = path
            totals.add(int(match[2]))
    if len(totals) != 1:
        got = f"divisions into {sorted(totals)} parts" if totals else "none"
        raise reject("merge", "parts", f"contain the parts of one division: {folder}", got)
    (total,) = totals
    missing = sorted({*range(1, total + 1)} - {*path_of})
    if missing:
        raise reject(
            "merge",
            "parts",
            f"contain all {total} parts",
            f"no part {missing}",
            "Run the missing parts.",
        )
    return [path_of[i] for i in sorted(path_of)]


def compared(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the settings that must be equal in all parts."""
    options = {k: v for k, v in config["options"].items() if k not in RUNTIME_OPTIONS}
    return {"experiment": config["experiment"], "data": config.get("data"), **options}


def check_part(part: Results, number: int, total: int, first: Results) -> None:
    """Raises ValueError for another part, other options, or a part that has not finished."""
    entry = part.config.get("part")
    if entry is None:
        wanted = f"name the runs of each part, as this version does: {part.path}"
        raise reject("merge", "parts", wanted, "none", "Start the part's command again.")
    if (entry["number"], entry["of"]) != (number, total):
        got = f"part {entry['number']} of {entry['of']}"
        raise reject("merge", "parts", f"be what they are called: {part.path}", got)
    ours, theirs = compared(first.config), compared(part.config)
    differ = [k for k in {**ours, **theirs} if ours.get(k) != theirs.get(k)]
    if differ:
        got = f"{part.path}: different {differ}"
        raise reject("merge", "parts", "have the same options and data", got)
    if len(part.records) < entry["runs"]:
        got = f"{len(part.records)} of {entry['runs']} runs in {part.path}"
        raise reject("merge", "parts", "be finished", got, "Start that part again.")


def check_cells(records: Mapping[tuple[Any, ...], Mapping[str, Any]]) -> None:
    """Raises ValueError if the parts of one cell, each by its own search, chose other numbers."""
    first: dict[tuple[Any, ...], tuple[int, Mapping[str, Any]]] = {}
    for (*cell, seed), record in records.items():
        chosen = {name: record.get(name) for name in ("strength", "learning_rate")}
        chosen |= record.get("recipe", {})
        first_seed, expected = first.setdefault(tuple(cell), (seed, chosen))
        for name in (name for name in chosen if chosen[name] != expected.get(name, chosen[name])):
            where = ", ".join(str(part) for part in cell if part is not None)
            got = f"{expected[name]} (seed {first_seed}) and {chosen[name]} (seed {seed})"
            advice = "Each part searched by itself: run the grid without --shard, or give all parts"
            advice += " the chosen value in place of the search."
            raise reject("merge", name, f"be the same for all seeds of {where}", got, advice)


def main(options: Options) -> None:
    """Merges the parts and prints the command that writes the report."""
    paths = find_parts(options.parts)
    inside = [path for path in paths if options.out.resolve().is_relative_to(path.resolve())]
    if inside:
        raise reject("merge", "out", "be none of the parts", options.out, "Choose another folder.")
    parts = [load_results(path) for path in paths]
    first = parts[0].config
    records: dict[tuple[Any, ...], dict[str, Any]] = {}
    for number, part in enumerate(parts, 1):
        check_part(part, number, len(parts), parts[0])
        for record in part.records:
            run = run_of(record)
            if run in records:
                got = f"{run} again in {part.path}"
                raise reject("merge", "parts", "contain each run once", got)
            records[run] = record
    check_cells(records)
    given = {k: v for k, v in first["options"].items() if k not in RUNTIME_OPTIONS}
    kept = ("data", "command", "started")
    extra = {name: first[name] for name in kept if name in first}
    made = [part.config for part in parts if part.records]
    commits = joined_names(*(config.get("git_commit") for config in made))
    facts = {
        name: reduce(joined_facts, [config.get(name, {}) for config in made])
        for name in ("versions", "device")
        if name in first
    }
    with RunFolder(
        options.out, first["experiment"], given, extra=extra, free=RUNTIME_OPTIONS
    ) as folder:
        # In the order of an undivided grid: by cell, then by seed.
        merged = set(map(run_of, folder.records))
        new = [record for run, record in records.items() if run not in merged]
        for part in parts:
            networks = part.path / "networks"
            if networks.is_dir():
                shutil.copytree(networks, options.out / "networks", dirs_exist_ok=True)
        folder.append(*new)
        # Of the code and the devices that made the runs, not of this start.
        folder.keep(git_commit=commits, **facts)
    print(f"{len(parts)} parts, {len(records)} runs: {options.out / 'results.jsonl'}")
    command = first.get("command", f"python -m experiments.{first['experiment']}")
    print(f"The report: {command} --out {shlex.quote(str(options.out))}")


if __name__ == "__main__":
    sys.exit(execute(main, Options, "merge"))
