"""Settings of all figures."""

import pytest

from experiments.reports.html_report import Picture
from experiments.reports.style import log_axis, log_axis_below, new_axes, within_percent


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


@pytest.mark.parametrize("ends", [(120, 480), (0.3, 0.9), (1, 1e6)])
@pytest.mark.parametrize("below", [False, True])
def test_a_logarithmic_axis_has_plain_labels(ends, below):
    figure, axes = new_axes("x")
    axes.plot(*((ends, [1, 1]) if below else ([1, 1], ends)))
    (log_axis_below if below else log_axis)(axes)
    figure.canvas.draw()
    labels = (axes.get_xticklabels if below else axes.get_yticklabels)(which="both")
    shown = [label.get_text() for label in labels if label.get_text()]
    assert 2 <= len(shown) <= 9
    assert all(f"{float(text):g}" == text for text in shown)


def test_an_axis_of_percentages_ends_at_0_and_100():
    _, axes = new_axes("x")
    axes.plot([0, 1], [-0.1, 140])
    within_percent(axes)
    assert axes.get_ylim() == (-0.5, 100.5)
