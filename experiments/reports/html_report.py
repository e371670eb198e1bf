"""Writes the report page: one HTML file that needs no other file and no network.

A `Section` holds an experiment's tables, figures, raw records and the command that repeats it.
On dark screens, the page inverts the lightness of its figures.
"""

import base64
import gzip
import io
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import pandas as pd
from matplotlib import rc_context
from matplotlib.figure import Figure

from experiments.reports.style import FIGURE_SETTINGS

# Names of files may hold bytes that are no text, which the strings of Arrow refuse.
pd.set_option("mode.string_storage", "python")

Table = Sequence[Sequence[str]]
"""Rows of cells; the first row is the header."""


@dataclass(frozen=True)
class Picture:
    """A figure with its caption.

    Attributes:
      file: name of its PNG file in the run's folder.
      caption: the sentence under it.
      draw: makes the figure.
    """

    file: str
    caption: str
    draw: Callable[[], Figure]

    def png(self) -> bytes:
        """Draws the figure and returns it as PNG."""
        with rc_context(FIGURE_SETTINGS):
            buffer = io.BytesIO()
            self.draw().savefig(buffer, format="png")
        return buffer.getvalue()


class Matrix(NamedTuple):
    """A confusion matrix, shaded by the size of its percentages.

    Attributes:
      names: of the classes.
      percent: [true class][predicted class].
    """

    names: Sequence[str]
    percent: Sequence[Sequence[float]]


class Thumbnail(NamedTuple):
    """A small image. Attributes: png: PNG in base64; caption: the text under it."""

    png: str
    caption: str


@dataclass(frozen=True)
class Section:
    """The report of one folder of results.

    Attributes:
      title, lead: heading, and the paragraph under it.
      conclusion: the main result in one sentence, above the lead.
      tables: by heading. The pictures follow the first table.
      pictures: in order.
      details: further tables by heading; `text` leaves them out.
      matrices, images: by heading, below the tables.
      records: one per run, as in `results.jsonl`; shown as a table and embedded in the page.
      summary: the table for programs, written as `summary.csv`.
      config: as in `config.json`.
      command: repeats the runs.
    """

    title: str
    lead: str
    tables: Mapping[str, Table] = field(default_factory=dict)
    pictures: Sequence[Picture] = ()
    details: Mapping[str, Table] = field(default_factory=dict)
    matrices: Mapping[str, Matrix] = field(default_factory=dict)
    images: Mapping[str, Sequence[Thumbnail]] = field(default_factory=dict)
    records: Sequence[Mapping[str, Any]] = ()
    summary: pd.DataFrame | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    command: str = ""
    conclusion: str = ""

    def text(self) -> str:
        """Returns the tables as plain text, each under its heading, and the conclusion."""
        tables = [f"{title}\n{as_text(table)}" for title, table in self.tables.items()]
        return "\n\n".join([*tables, *([self.conclusion] if self.conclusion else [])])


def as_text(table: Table) -> str:
    """Formats a table as aligned plain text."""
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) for row in table]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(line.rstrip() for line in lines)


def device_fact(device: Mapping[str, Any]) -> str:
    """Returns the device of a run; the kinds alone if its starts had several.

    >>> device_fact({"kind": "cpu, H100", "count": 1, "host_cores": None})
    'several: cpu, H100'
    """
    if not device:
        return ""
    if None in device.values():
        return f"several: {device['kind']}"
    return f"{device['count']} x {device['kind']}, {device['host_cores']} cores of the host"


def run_facts(config: Mapping[str, Any]) -> dict[str, str]:
    """Returns the main options, the device and the versions of a run, without empty entries."""
    options, device = config.get("options", {}), config.get("device", {})
    versions = config.get("versions", {})

    def option(name: str) -> str:
        value = options.get(name)
        return ", ".join(map(str, value)) if isinstance(value, list) else str(value or "")

    facts = {
        "Experiment": config.get("experiment", ""),
        "Data": option("dataset"),
        "Preset": option("preset"),
        "Algorithms": option("algorithms"),
        "Hidden layers": "" if "widths" in options else option("hidden"),  # a grid of widths
        "Seeds": option("seeds"),
        "Started": str(config.get("started", ""))[:16].replace("T", " "),
        "Device": device_fact(device),
        "Versions": ", ".join(f"{name} {versions[name]}" for name in versions),
        "Code": config.get("git_commit") or "",
    }
    return {name: value for name, value in facts.items() if value}


def records_table(records: Sequence[Mapping[str, Any]]) -> Table:
    """Makes a row for each run, with a column for each field that holds words, numbers or short
    lists of numbers."""
    names = list(dict.fromkeys(name for record in records for name in record))

    def is_short(value: Any) -> bool:
        if isinstance(value, list):
            return len(value) <= 10 and all(isinstance(item, int | float) for item in value)
        return isinstance(value, str | int | float | None)

    def cell(value: Any) -> str:
        if value is None:
            return "-"
        if isinstance(value, list):
            return ", ".join(map(cell, value))
        return f"{value:.6g}" if isinstance(value, float) else str(value)

    columns = [
        name
        for name in names
        if name != "correct"  # bits
        and all(is_short(record.get(name)) for record in records)
        and any(record.get(name) is not None for record in records)
    ]
    return [
        [name.replace("_", " ") for name in columns],
        *([cell(record.get(name)) for name in columns] for record in records),
    ]


def numeric_columns(table: Table) -> list[bool]:
    """Tells which columns hold only numbers and dashes; the page aligns these to the right."""
    number = re.compile(r"[-+]?\d[\d.e+-]*( ?(%|±.*|\[.*\]|\(.*\)))?|-|")
    columns = zip(*table, strict=True)
    return [all(number.fullmatch(cell) for cell in cells) and bool(cells) for _, *cells in columns]


def packed_records(records: Sequence[Mapping[str, Any]]) -> str:
    """Returns `results.jsonl`, compressed, in base64."""
    lines = "".join(json.dumps(record) + "\n" for record in records)
    # Without a time stamp, so that the same results make the same page.
    return base64.b64encode(gzip.compress(lines.encode(), mtime=0)).decode()


def html_report(
    folder: Path,
    sections: Sequence[Section],
    *,
    title: str | None = None,
    lead: str = "",
    keep_parts: bool = True,
) -> Path:
    """Writes `report.html`. The page follows the screen's theme and width; all text is escaped.

    Args:
      folder: receives the page.
      sections: one; or several under a common heading with a list of contents.
      title, lead: of the page; the first section's title if left out.
      keep_parts: also write pictures and summary as files.

    Returns:
      The page's path.
    """
    rendered = []
    for section in sections:
        pictures = []
        for picture in section.pictures:
            png = picture.png()
            if keep_parts:
                (folder / picture.file).write_bytes(png)
            pictures.append((base64.b64encode(png).decode(), picture.caption))
        if keep_parts and section.summary is not None:
            section.summary.to_csv(folder / "summary.csv", index=False, errors="backslashreplace")
        config = json.dumps(section.config, indent=2, ensure_ascii=False)
        rendered.append({"section": section, "pictures": pictures, "config": config})
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("experiments.reports", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    used = (numeric_columns, run_facts, records_table, packed_records)
    environment.globals |= {function.__name__: function for function in used}
    html = environment.get_template("html_report.html.j2").render(
        title=title or sections[0].title,
        lead=lead,
        sections=rendered,
        single=len(sections) == 1,
    )
    path = folder / "report.html"
    # A path of undecodable bytes is text with lone surrogates, which UTF-8 does not have.
    path.write_text(html, encoding="utf-8", errors="backslashreplace")
    return path
