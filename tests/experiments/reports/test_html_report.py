"""The page as text, and as headless Chromium shows it."""

import gzip
import json
import shutil
from base64 import b64decode

import pytest
from html_pages import parse
from matplotlib import rcParams
from matplotlib.figure import Figure

from experiments.reports.html_report import (
    Picture,
    Section,
    html_report,
    numeric_columns,
    records_table,
    run_facts,
)

EVIL = "<script>alert(1)</script>"
RECORDS = [
    {"algorithm": "sffa", "seed": 0, "test_accuracy": 0.91234567, "history": {"loss": [1, 2]}}
    | {"layers": [0.5, 0.25], "long": [0] * 11},
    {"algorithm": EVIL, "seed": 1, "test_accuracy": None, "status": "diverged"},
]
CONFIG = {
    "experiment": "compare",
    "options": {"dataset": EVIL, "hidden": [1400, 700], "seeds": 2},
    "versions": {"jax": "1.2.3"},
    "device": {"kind": "cpu", "count": 2, "host_cores": 2},
    "started": "2026-01-02T03:04:05+00:00",
}


UNDECODED = "a\udcff"  # as Python reads a file name with the byte 255


def line():
    figure = Figure(figsize=(4, 3))
    figure.subplots().plot([0, 1], [1, 0], color=rcParams["text.color"])
    return figure


def section(title="Results", name="line.png"):
    wide = [["Name", *(f"Column {i}" for i in range(30))], ["x", *["1.5 [1, 2]"] * 30]]
    return Section(
        title=title,
        lead=f"What {EVIL} is",
        tables={"Numbers": [["Name", "Value"], [UNDECODED, "1.5"], [EVIL, "-"]], "Wide": wide},
        pictures=[Picture(name, "A line", line), Picture(f"2{name}", "The same", line)],
        records=RECORDS,
        config=CONFIG,
        command="python -m experiments.compare",
    )


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    sections = [section(), section("More", "more.png")]
    return html_report(folder, sections, title="Two", lead="Both")


def test_text_is_escaped_and_nothing_is_fetched(written):
    html = written.read_text()
    assert EVIL not in html
    assert r"a\udcff" in html
    page = parse(written)
    assert page.tags.count("script") == 1  # the page's own
    # In a table, a run's name and the option of either section, as typed.
    assert page.tables[0] == [["Name", "Value"], [r"a\udcff", "1.5"], [EVIL, "-"]]
    assert sum(EVIL in row for table in page.tables for row in table) == 4
    assert page.facts.count(EVIL) == 2
    assert sum(EVIL in text for text in page.preformatted) == 2
    assert page.links
    assert all(link.startswith(("data:", "#")) for link in page.links)
    assert "default-src 'none'" in html


def test_the_page_has_every_section_with_its_tables_and_figures(written):
    page = parse(written)
    assert [text for tag, text in page.headings if tag != "h3"] == ["Two", "Results", "More"]
    parts = ["Numbers", "Figures", "Wide", "Repeat these runs"]
    assert [text for tag, text in page.headings if tag == "h3"] == parts * 2
    assert [link for link in page.links if link.startswith("#")] == ["#section-1", "#section-2"]
    assert page.sections == ["section-1", "section-2"]
    assert [image["class"] for image in page.images] == ["chart"] * 4
    assert [image["alt"] for image in page.images] == ["A line", "The same"] * 2
    # Columns of numbers are aligned to the right; those of names are not.
    assert page.numeric[0] == [False, True]
    assert page.numeric[1] == [False] + [True] * 30


def test_raw_results_are_in_the_page(written):
    page = parse(written)
    packed = [link for link in page.links if link.startswith("data:application/gzip")]
    assert len(packed) == 2
    lines = gzip.decompress(b64decode(packed[0].partition("base64,")[2])).decode().splitlines()
    assert [json.loads(line) for line in lines] == RECORDS
    expected = [
        ["algorithm", "seed", "test accuracy", "layers", "status"],
        ["sffa", "0", "0.912346", "0.5, 0.25", "-"],
        [EVIL, "1", "-", "-", "diverged"],
    ]
    assert records_table(RECORDS) == expected
    assert page.tables[2] == expected


def test_numbers_stand_to_the_right():
    table = [["a", "b", "c", "d"], ["x", "1.5", "-2.1 [-3, 1]", "1, 2"], ["1", "-", "3e-5", ""]]
    assert numeric_columns(table) == [False, True, True, False]
    assert numeric_columns([["only a header"]]) == [False]


def test_facts_come_from_the_configuration(written):
    facts = run_facts(CONFIG)
    assert facts["Hidden layers"] == "1400, 700"
    assert facts["Device"] == "2 x cpu, 2 cores of the host"
    assert facts["Started"] == "2026-01-02 03:04"
    assert "Preset" not in facts
    assert run_facts({}) == {}
    pairs = [text for pair in facts.items() for text in pair]
    assert parse(written).facts == pairs * 2


def test_the_same_results_make_the_same_page(written, tmp_path):
    sections = [section(), section("More", "more.png")]
    again = html_report(tmp_path, sections, title="Two", lead="Both")
    assert again.read_bytes() == written.read_bytes()
    assert (tmp_path / "line.png").read_bytes().startswith(b"\x89PNG")


def test_parts_can_be_left_out(tmp_path):
    html_report(tmp_path, [section()], keep_parts=False)
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_a_single_section_has_the_pages_heading_alone(tmp_path):
    page = parse(html_report(tmp_path, [section()]))
    assert [text for tag, text in page.headings if tag != "h3"] == ["Results"]
    assert "nav" not in page.tags


BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)


@pytest.fixture(scope="module")
def browser():
    if BROWSER is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Without its sandbox, which root may not use; the page is our own.
        opened = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def open_page(browser, written):
    contexts = []

    def opened(**settings):
        contexts.append(browser.new_context(**settings))
        tab = contexts[-1].new_page()
        tab.messages = []
        tab.on("console", lambda message: tab.messages.append(message.text))
        tab.on("pageerror", lambda error: tab.messages.append(str(error)))
        tab.on("request", lambda request: tab.messages.append(request.url))
        tab.goto(written.as_uri())
        return tab

    yield opened
    for context in contexts:
        context.close()


SHOWN = """[...document.querySelectorAll("figure img")].filter(
    image => image.checkVisibility() && image.complete && image.naturalWidth > 300
).map(image => getComputedStyle(image).filter != "none")"""
"""Whether the lightness of each visible figure is inverted."""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1400])
def test_the_browser_shows_every_figure_and_complains_of_nothing(open_page, scheme, width):
    tab = open_page(color_scheme=scheme, viewport={"width": width, "height": 800})
    assert [m for m in tab.messages if not m.startswith(("file:", "data:"))] == []
    assert tab.evaluate(SHOWN) == [scheme == "dark"] * 4
    # Wide tables scroll by themselves; the page does not.
    assert tab.evaluate("document.documentElement.scrollWidth") == width
    assert tab.evaluate("document.querySelector('h1').textContent") == "Two"


def test_figures_are_enlarged_by_mouse_and_keyboard(open_page):
    tab = open_page(viewport={"width": 1000, "height": 800})
    small = tab.locator("figure img").first.bounding_box()["width"]
    tab.locator("figure button").first.click()
    large = tab.locator("dialog img")
    assert large.bounding_box()["width"] > 1.5 * small
    tab.keyboard.press("Escape")
    assert not large.is_visible()
    tab.locator("figure button").nth(1).focus()
    tab.keyboard.press("Enter")
    assert large.is_visible()
    large.click()
    assert not large.is_visible()
    assert tab.messages[1:] == [m for m in tab.messages[1:] if m.startswith("data:")]


def test_print_is_light_and_whole(open_page):
    tab = open_page(color_scheme="dark")
    tab.emulate_media(media="print")
    assert tab.evaluate(SHOWN) == [False] * 4
    assert not tab.locator("details").first.is_visible()
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert tab.pdf().startswith(b"%PDF")


def test_raw_results_can_be_opened_and_saved(open_page):
    tab = open_page()
    tab.locator("summary", has_text="All runs").first.click()
    assert tab.locator("details table").first.is_visible()
    with tab.expect_download() as download:
        tab.locator("a[download]").first.click()
    assert download.value.suggested_filename == "results.jsonl.gz"
    with gzip.open(download.value.path(), "rt") as file:
        assert [json.loads(line) for line in file] == RECORDS
