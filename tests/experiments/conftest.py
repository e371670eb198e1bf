"""Shared settings of the tests of commands and reports."""

import pytest

from experiments.reports.html_report import Picture

render, rendered = Picture.png, {}


def png(self):
    """Draws the figure, and renders the first of each file name: rendering takes 0.3 s."""
    if self.file in rendered:
        self.draw()
    else:
        rendered[self.file] = render(self)
    return rendered[self.file]


@pytest.fixture(autouse=True, scope="session")
def few_renderings():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Picture, "png", png)
        yield
