"""Settings of all figures."""

import pytest

from experiments.reports.html_report import Picture
from experiments.reports.style import log_axis, new_axes, within_percent


@pytest.mark.parametrize("name", ["$x$", "a$_{b", r"\frac $1$ \$"])
def test_names_are_drawn_as_they_are(name):
    """Matplotlib would take text between dollars as a formula, or stop at it."""

    def draw():
        figure, axes = new_axes(name)
        axes.plot([0, 1], [0.5, 200], label=name)
        axes.legend()
        log_axis(axes)
        return figure

    assert Picture(name, "", draw).png().startswith(b"\x89PNG")


def test_an_axis_of_percentages_ends_at_0_and_100():
    _, axes = new_axes("x")
    axes.plot([0, 1], [-0.1, 140])
    within_percent(axes)
    assert axes.get_ylim() == (-0.5, 100.5)
