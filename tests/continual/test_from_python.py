"""The programs of the page on continual learning."""

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs/continual.md"


def test_replay_and_an_own_strategy_from_python():
    # Marked programs are files, which another test runs.
    first, own = re.findall(r"(?<!-->\n)```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    names = {}
    exec(first + own, names)
    # Four of five tasks are forgotten without a buffer; weight decay does not change that.
    assert names["accuracy"] > 0.75
    assert names["shrunk"] < 0.4
    for program in (first, own):
        assert len([line for line in program.splitlines() if line.strip()]) <= 20
