"""Merges the parts of a grid that were run separately (`--shard i/n`) into one results folder.

    python -m experiments.merge --parts runs/grid --out runs/merged

reads every shard-i-of-n in runs/grid. All parts must be present and must have the same options and
data. It prints the experiment's command, which then writes the report.
"""

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import tyro

from experiments.config.options import RUNTIME_OPTIONS
from experiments.harness.experiment import execute
from experiments.harness.results import load_results
from experiments.harness.run_folder import RunFolder
from sffa_jax.checks import reject

IDENTITY = ("dataset", "scenario", "strategy", "algorithm", "setting", "seed")
"""Fields that identify the run of a record; an experiment has some of them."""


@dataclass(frozen=True)
class Options:
    """Merge the parts of a grid."""

    parts: Path
    """Folder that contains shard-1-of-n to shard-n-of-n: the --out of the runs."""
    out: Path
    """Folder for the merged results: a new one, or one of an earlier merge of the same parts."""

    @classmethod
    def defaults(cls, arguments: Sequence[str]) -> Self:
        """The options before the command line is read."""
        del arguments
        return cls(tyro.MISSING, tyro.MISSING)


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


def main(options: Options) -> None:
    """Merges the parts and prints the command that writes the report."""
    parts = [load_results(path) for path in find_parts(options.parts)]
    first = parts[0].config
    records: dict[tuple[Any, ...], dict[str, Any]] = {}
    for part in parts:
        ours, theirs = compared(first), compared(part.config)
        differ = [k for k in {**ours, **theirs} if ours.get(k) != theirs.get(k)]
        if differ:
            raise reject(
                "merge",
                "parts",
                "have the same options and data",
                f"{part.path}: different {differ}",
            )
        for record in part.records:
            run = tuple(record.get(name) for name in IDENTITY)
            if run in records:
                raise reject(
                    "merge", "parts", "contain each run once", f"{run} again in {part.path}"
                )
            records[run] = record
    given = {**first["options"], **dict.fromkeys(RUNTIME_OPTIONS)}
    extra: dict[str, Any] = {name: first[name] for name in ("data", "command") if name in first}
    with RunFolder(
        options.out, first["experiment"], given, extra=extra, free=RUNTIME_OPTIONS
    ) as folder:
        # In the order of an undivided grid: by cell, then by seed.
        new = [
            record
            for run, record in records.items()
            if not folder.is_done(**dict(zip(IDENTITY, run, strict=True)))
        ]
        folder.append(*new)
    print(f"{len(parts)} parts, {len(records)} runs: {options.out / 'results.jsonl'}")
    print(f"The report: {first['command']} --out {options.out}")


if __name__ == "__main__":
    sys.exit(execute(main, Options, "merge"))
