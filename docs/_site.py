"""What the site needs beyond docs/: pages from the root, and the files that pages point to.

Pages are read in the repository first, where `../results/...` is a path; in the site these files
stand under `repository/`.
"""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
FROM_ROOT = {
    "index.md": "README.md",
    "changelog.md": "CHANGELOG.md",
    "contributing.md": "CONTRIBUTING.md",
}
LINK = re.compile(r"(\]\()\.\./([^)#\s]+)")


def target(path: str) -> Path:
    """The file a path of the repository stands for: of a folder of results, its records."""
    found = ROOT / path
    return next(iter(sorted(found.rglob("results.jsonl"))), found) if found.is_dir() else found


def source(name: str) -> str:
    """A page's text as if it stood in docs/."""
    text = (ROOT / FROM_ROOT[name]).read_text()
    text = re.sub(r"\]\((?!https?:|#)", "](../", text)
    return text.replace("](../docs/", "](")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages from the root and every file that a page points to outside docs/."""
    for name in FROM_ROOT:
        files.append(File.generated(config, name, content=source(name)))
    texts = [file.content_string for file in files.documentation_pages()]
    for path in {match[2] for text in texts for match in LINK.finditer(text)}:
        inside = target(path).relative_to(ROOT).as_posix()
        if files.get_file_from_path(f"repository/{inside}") is None:
            content = (ROOT / inside).read_bytes()
            files.append(File.generated(config, f"repository/{inside}", content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Points links that lead out of docs/ at these files."""
    del page, config, files

    def moved(match: re.Match[str]) -> str:
        return f"{match[1]}repository/{target(match[2]).relative_to(ROOT).as_posix()}"

    # A number and its interval stay on one line.
    return LINK.sub(moved, markdown).replace(" ± ", "\u00a0±\u00a0")
