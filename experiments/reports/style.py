"""Colors and axes that all tables and figures share."""

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter, LogLocator

# Okabe and Ito's colors: color-blind readers can tell them apart, on light and on dark ground.
# The markers serve print.
ALGORITHM_STYLES = {
    "ffa": ("#E69F00", "s"),
    "sffa": ("#0072B2", "o"),
    "bp": ("#808080", "^"),
    "head": ("#009E73", "D"),
    "readout": ("#009E73", "D"),
}
"""Color and marker of each algorithm."""

TEXT_COLOR = "#1a1a1a"
"""Color of text, and of lines that are not data."""

# Any: matplotlib types its settings as one literal of all their names.
FIGURE_SETTINGS: Any = {
    **dict.fromkeys(
        ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"),
        TEXT_COLOR,
    ),
    "figure.constrained_layout.use": True,
    "figure.dpi": 150,
    "text.parse_math": False,  # a folder or a class may be called $x$
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 9,
}
"""Matplotlib's settings for all figures."""


def new_axes(title: str, width: float = 6.4) -> tuple[Figure, Axes]:
    """Makes an empty figure with horizontal grid lines; `width` in inches."""
    figure = Figure(figsize=(width, 4.0))
    axes = figure.subplots()
    axes.set_title(title)
    axes.grid(axis="y")
    return figure, axes


class _PlainNumbers(LogFormatter):
    """The labels of a logarithmic axis, as numbers without an exponent if they are not large."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        return f"{x:g}" if super().__call__(x, pos) else ""


def log_axis(axes: Axes) -> None:
    """Makes the vertical axis logarithmic, with plain numbers."""
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(_PlainNumbers())
    axes.yaxis.set_minor_formatter(_PlainNumbers(labelOnlyBase=False, minor_thresholds=(2, 0.5)))


def log_axis_below(axes: Axes) -> None:
    """Makes the horizontal axis of a finished plot logarithmic, with room for its labels."""
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 50 * low else (1,)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("")


def within_percent(axes: Axes) -> None:
    """Keeps a vertical axis of percentages between 0 and 100."""
    bottom, top = axes.get_ylim()
    axes.set_ylim(max(bottom, -0.5), min(top, 100.5))
