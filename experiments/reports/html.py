"""One page for every experiment: a file by itself, to be read, printed and sent.

A `Section` is what an experiment has to say: tables, pictures, the raw runs and how to repeat them.
Each picture is drawn twice, for light and for dark screens.
"""

import base64
import gzip
import io
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from matplotlib import rc_context
from matplotlib.figure import Figure

from experiments.reports.style import THEMES

Table = Sequence[Sequence[str]]
"""Rows of cells; the first row is the header."""


@dataclass(frozen=True)
class Picture:
    """A figure and the sentence under it.

    Attributes:
      file: name of its PNG in the run's folder.
      caption: what is to be seen.
      draw: makes the figure, of the colors that are in force when it is called.
    """

    file: str
    caption: str
    draw: Callable[[], Figure]

    def png(self, theme: str) -> bytes:
        """The figure as drawn in one of the `THEMES`."""
        with rc_context(THEMES[theme]):
            buffer = io.BytesIO()
            self.draw().savefig(buffer, format="png")
        return buffer.getvalue()


@dataclass(frozen=True)
class Section:
    """What is said of one folder of results, or of several.

    Attributes:
      title, lead: heading and the paragraph under it.
      tables: by heading. The pictures stand after the first.
      pictures: in order.
      records: of every run, as in `results.jsonl`; shown value by value and kept in the page.
      summary: the tables for programs, written as `summary.csv`.
      config: as in `config.json`.
      command: repeats the runs.
    """

    title: str
    lead: str
    tables: Mapping[str, Table] = field(default_factory=dict)
    pictures: Sequence[Picture] = ()
    records: Sequence[Mapping[str, Any]] = ()
    summary: pd.DataFrame | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    command: str = ""

    def text(self) -> str:
        """The tables as plain text, each under its heading."""
        return "\n\n".join(f"{title}\n{as_text(table)}" for title, table in self.tables.items())


def as_text(table: Table) -> str:
    """A table as aligned plain text."""
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) for row in table]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(line.rstrip() for line in lines)


def facts(config: Mapping[str, Any]) -> dict[str, str]:
    """What was run and on what, in a few words each."""
    options, device = config.get("options", {}), config.get("device", {})
    versions = config.get("versions", {})

    def joined(name: str) -> str:
        value = options.get(name)
        return ", ".join(map(str, value)) if isinstance(value, list) else str(value or "")

    found = {
        "Experiment": config.get("experiment", ""),
        "Data": joined("dataset"),
        "Preset": joined("preset"),
        "Algorithms": joined("algorithms"),
        "Hidden layers": joined("hidden"),
        "Seeds": joined("seeds"),
        "Started": str(config.get("started", ""))[:16].replace("T", " "),
        "Device": f"{device['count']} x {device['kind']}, {device['host_cores']} cores on the host"
        if device
        else "",
        "Versions": ", ".join(f"{name} {versions[name]}" for name in versions),
        "Code": config.get("git_commit") or "",
    }
    return {name: value for name, value in found.items() if value}


def raw_table(records: Sequence[Mapping[str, Any]]) -> Table:
    """Every run's own values, a row a run: words, numbers and short lists of numbers."""
    names = list(dict.fromkeys(name for record in records for name in record))

    def short(value: Any) -> bool:
        if isinstance(value, list):
            return len(value) <= 10 and all(isinstance(item, int | float) for item in value)
        return isinstance(value, str | int | float | None)

    def cell(value: Any) -> str:
        if value is None:
            return "-"
        if isinstance(value, list):
            return ", ".join(map(cell, value))
        return f"{value:.6g}" if isinstance(value, float) else str(value)

    shown = [n for n in names if all(short(r.get(n)) for r in records)]
    shown = [n for n in shown if any(r.get(n) is not None for r in records)]
    return [
        [name.replace("_", " ") for name in shown],
        *([cell(record.get(name)) for name in shown] for record in records),
    ]


def numeric(table: Table) -> list[bool]:
    """Which columns hold numbers, or a dash for none: they are set to the right."""
    number = re.compile(r"[-+]?\d[\d.e+-]*( ?(%|±.*|\[.*\]|\(.*\)))?|-|")
    columns = zip(*table, strict=True)
    return [all(number.fullmatch(cell) for cell in rest) and bool(rest) for _, *rest in columns]


def _download(records: Sequence[Mapping[str, Any]]) -> str:
    """`results.jsonl`, packed, as a link that needs no other file."""
    lines = "".join(json.dumps(record) + "\n" for record in records)
    # Without the time, so that the same results make the same page.
    return base64.b64encode(gzip.compress(lines.encode(), mtime=0)).decode()


def write(
    folder: Path,
    sections: Sequence[Section],
    *,
    title: str | None = None,
    lead: str = "",
    keep_parts: bool = True,
) -> Path:
    """Writes `report.html`: one file that needs no network, light or dark, narrow or wide.

    Args:
      folder: where the page goes.
      sections: one, or several under a common heading with a list of contents.
      title, lead: of the whole; the first section's if left out.
      keep_parts: write pictures and summary there as files, too.

    Returns:
      The page's path. All text is escaped.
    """
    drawn = []
    for section in sections:
        pictures = []
        for picture in section.pictures:
            light, dark = (picture.png(theme) for theme in THEMES)
            if keep_parts:
                (folder / picture.file).write_bytes(light)
            encoded = [base64.b64encode(png).decode() for png in (light, dark)]
            pictures.append((*encoded, picture.caption))
        if keep_parts and section.summary is not None:
            section.summary.to_csv(folder / "summary.csv", index=False)
        raw = raw_table(section.records) if section.records else None
        drawn.append(
            {
                "section": section,
                "facts": facts(section.config),
                "tables": [(name, t, numeric(t)) for name, t in section.tables.items()],
                "pictures": pictures,
                "raw": raw,
                "raw_numeric": raw and numeric(raw),
                "download": raw and _download(section.records),
                "config": json.dumps(section.config, indent=2, ensure_ascii=False)
                if section.config
                else None,
            }
        )
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("experiments.reports", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    html = environment.get_template("page.html.j2").render(
        title=title or sections[0].title, lead=lead, sections=drawn, alone=len(sections) == 1
    )
    path = folder / "report.html"
    path.write_text(html, encoding="utf-8")
    return path
