"""Reads the tables, headings and images of a report page."""

from html.parser import HTMLParser


class Page(HTMLParser):
    """Content of a page.

    Attributes:
      tables: each a list of rows of cells, the header first.
      numeric: for each table, whether each cell of its header is aligned as a number.
      headings: (tag, text) of h1, h2 and h3.
      images: attributes of each image.
      links: every `href` and `src`.
      preformatted: text of each `pre`.
      facts: text of `dt` and `dd`, in turn.
    """

    def __init__(self):
        super().__init__()
        self.tables, self.numeric, self.headings, self.images = [], [], [], []
        self.links, self.preformatted, self.facts, self.sections = [], [], [], []
        self.tags = []
        self._text = None

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.tags.append(tag)
        self.links += [attributes[name] for name in ("href", "src") if name in attributes]
        if tag == "table":
            self.tables.append([])
            self.numeric.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag == "img":
            self.images.append(attributes)
        elif tag == "section":
            self.sections.append(attributes["id"])
        if tag == "th":
            self.numeric[-1].append(attributes.get("class") == "n")
        if tag in ("td", "th", "h1", "h2", "h3", "pre", "dt", "dd"):
            self._text = ""

    def handle_data(self, data):
        if self._text is not None:
            self._text += data

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self.tables[-1][-1].append(self._text)
        elif tag in ("h1", "h2", "h3"):
            self.headings.append((tag, self._text))
        elif tag == "pre":
            self.preformatted.append(self._text)
        elif tag in ("dt", "dd"):
            self.facts.append(self._text)
        else:
            return
        self._text = None


def parse(path):
    """Returns the parsed page of a file."""
    page = Page()
    page.feed(path.read_text(encoding="utf-8"))
    return page
