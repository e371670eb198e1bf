"""Starting an experiment as a user does, and reading what it wrote."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def start(name, *arguments):
    """Runs `python -m experiments.NAME` in a process of its own, to its end."""
    return subprocess.run(
        [sys.executable, "-m", f"experiments.{name}", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def read(folder):
    """The records of an output folder."""
    return [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
