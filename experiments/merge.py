"""Joins the parts of a grid that ran by themselves (`--shard i/n`) into one folder of results.

    python -m experiments.merge --parts runs/grid --out runs/whole

takes every shard-i-of-n in runs/grid. The parts must have been made by the same options and data,
and every part must be there. The experiment's own command, which is printed, then finds nothing
left to run and writes the report.
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
"""What says which run a record is of, as far as an experiment has it."""


@dataclass(frozen=True)
class Options:
    """Join the parts of a grid."""

    parts: Path
    """Folder that holds shard-1-of-n to shard-n-of-n: the --out of the runs."""
    out: Path
    """Folder for the whole; it must be new, or hold an earlier joining of the same parts."""
    compilation_cache: Path | None = None
    """Nothing is compiled here; as in all experiments."""

    @classmethod
    def defaults(cls, arguments: Sequence[str]) -> Self:
        """The options before the command line is read."""
        del arguments
        return cls(tyro.MISSING, tyro.MISSING)


def find_parts(folder: Path) -> list[Path]:
    """The folders of all parts, in order.

    Raises:
      ValueError: if there is none, or one is missing, or parts of several divisions are mixed.
    """
    found: dict[int, Path] = {}
    totals = set()
    for path in folder.glob("shard-*-of-*") if folder.is_dir() else ():
        if match := re.fullmatch(r"shard-(\d+)-of-(\d+)", path.name):
            found[int(match[1])] = path
            totals.add(int(match[2]))
    if len(totals) != 1:
        got = f"divisions into {sorted(totals)} parts" if totals else "none"
        raise reject("merge", "parts", f"hold the parts of one division: {folder}", got)
    (total,) = totals
    missing = sorted({*range(1, total + 1)} - {*found})
    if missing:
        raise reject(
            "merge",
            "parts",
            f"hold all {total} parts",
            f"no part {missing}",
            "Run what is missing.",
        )
    return [found[i] for i in sorted(found)]


def compared(config: Mapping[str, Any]) -> dict[str, Any]:
    """What all parts must have in common."""
    options = {k: v for k, v in config["options"].items() if k not in RUNTIME_OPTIONS}
    return {"experiment": config["experiment"], "data": config.get("data"), **options}


def main(options: Options) -> None:
    """Joins the parts and says which command writes the report."""
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
                "be made by the same options and data",
                f"{part.path}: other {differ}",
            )
        for record in part.records:
            run = tuple(record.get(name) for name in IDENTITY)
            if run in records:
                raise reject("merge", "parts", "hold each run once", f"{run} again in {part.path}")
            records[run] = record
    given = {**first["options"], **dict.fromkeys(RUNTIME_OPTIONS)}
    extra: dict[str, Any] = {name: first[name] for name in ("data", "command") if name in first}
    with RunFolder(
        options.out, first["experiment"], given, extra=extra, free=RUNTIME_OPTIONS
    ) as folder:
        # In the order of one part alone: by cell, then seed, as the parts share them out.
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
